"""Plain HTTP, for what no SDK would send: one connection, any bytes, and the answer as it came."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Got:
    """An answer; its headers have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The envelope; everything that is not 2xx has one."""
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["request-id"].startswith("req_")
        error = self.json["error"]
        assert error["type"] in {"invalid_request_error", "idempotency_error", "card_error", "api_error"}
        assert error["message"]
        return error


class Wire:
    """A key's door to one API."""

    def __init__(self, api: str, key: str) -> None:
        self.at = urlsplit(api)
        self.key = key
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, method: str, path: str, body: bytes | str = b"", *, type: str = FORM, **headers: str) -> Got:
        """One exchange; a connection that the server has closed is opened anew."""
        raw = body.encode() if isinstance(body, str) else body
        given = {"Authorization": f"Bearer {self.key}", **{n.replace("_", "-"): v for n, v in headers.items()}}
        if method == "POST":
            given |= {"Content-Type": type}
        connection = self._connection or http.client.HTTPConnection(self.at.netloc, timeout=60)
        self._connection = None
        try:
            connection.request(method, path, raw or None, given)
            answer = connection.getresponse()
            got = Got(answer.status, {n.lower(): v for n, v in answer.headers.items()}, answer.read())
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._connection = connection
        return got

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
