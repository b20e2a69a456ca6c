"""A proxy in front of PostgreSQL's socket that cuts a connection exactly at its COMMIT.

Own code because the moment matters: `before` the bytes reach the server, or `after` it has answered and before the client hears.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

COMMIT = b"COMMIT\x00"
ONLY = b"(only)"  # in a parameter: this statement is its whole transaction, and commits it
Cut = Literal["before", "at once", "after"]


class Proxy:
    """`cut` is done once, at the next COMMIT; `away`: no new connection is taken; `asked`: connections that asked about types."""

    def __init__(self, dsn: dict[str, Any], folder: Path) -> None:
        self.server = f"{dsn['host']}/.s.PGSQL.{dsn['port']}"
        self.socket = folder / f".s.PGSQL.{dsn['port']}"
        self.dsn = dsn | {"host": str(folder)}
        self.cut: Cut | None = None
        self.away = False
        self.cuts = 0
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            return writer.close()
        up_reader, up_writer = await asyncio.open_unix_connection(self.server)
        down = asyncio.create_task(self._down(up_reader, writer))
        try:
            while data := await reader.read(65_536):
                self.asked += b"typeinfo_tree(" in data
                commits = data.endswith(COMMIT) or (data.startswith(b"B") and ONLY in data)
                cut = self.cut if commits else None
                if cut is not None:
                    self.cut, self.cuts = None, self.cuts + 1
                if cut == "after":
                    down.cancel()
                    await asyncio.gather(down, return_exceptions=True)
                if cut != "before":
                    up_writer.write(data)
                    await up_writer.drain()
                if cut == "after":
                    await up_reader.read(65_536)  # it has answered; nobody hears
                if cut is not None:
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            down.cancel()
            up_writer.close()
            writer.close()

    async def _down(self, up: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await up.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(dsn: dict[str, Any]) -> AsyncIterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix="guilder-", dir="/tmp") as folder:
        proxy = Proxy(dsn, Path(folder))
        serving: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            serving.add(task)
            await proxy.serve(reader, writer)
            serving.discard(task)

        server = await asyncio.start_unix_server(serve, proxy.socket)
        yield proxy
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
