"""The telephone line: uvicorn's protocol with the connection in reach, so that a dial can drop it."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Line(HttpToolsProtocol):
    """Puts the transport into each request's scope, under `extensions["guilder.line"]["transport"]`."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {"guilder.line": {"transport": self.transport}}
