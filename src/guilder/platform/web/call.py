"""One call: who asks, what for, and under which key.  And the answer, where a handler has its bytes already."""

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any, Protocol

import msgspec

from guilder.core.errors import Invalid, Unauthenticated

VERSION = "2026-10-28.endive"  # of Stripe's API, pinned: what stripe-python 16.1.0 sends
MAX_KEY = 255

_VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z_]{1,40})?")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")
_canonical = msgspec.json.Encoder(order="sorted")


class Principal(Protocol):
    """Whoever the key belongs to, as the application knows them; this layer only looks at what they may do."""

    @property
    def scopes(self) -> Container[str]: ...

    @property
    def own(self) -> Container[str]: ...

    @property
    def names_account(self) -> bool: ...

    @property
    def at_platform(self) -> bool: ...


class Answer:
    """An answer that exists as bytes already, such as one that was stored under an idempotency key.

    A 200 is expanded as any other answer if the call asks for it; what was stored expanded stays as it is.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}


class Call:
    """What a handler knows of its request beside the parameters.

    `principal` is what `authenticate` returned; `only_own`: it may do this with what is its own, and with nothing else.  `path` holds the ids of the path.  `on_expanded`, if a handler sets it, is
    awaited with the answer's final bytes before they go out, when `expand` changed them: who stored the answer stores it anew.
    """

    __slots__ = (
        "_fingerprint", "_given", "expand", "headers", "idempotency_key", "method", "on_expanded", "only_own", "path", "principal",
        "remote_ip", "request_id", "target", "traceparent",
    )  # fmt: skip

    def __init__(
        self, method: str, target: str, *, headers: Mapping[str, str], remote_ip: str = "", request_id: str = ""
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.remote_ip = remote_ip
        self.request_id = request_id
        self.path: Mapping[str, str] = {}
        self.principal: Any = None
        self.only_own = False  # the caller may do this with what is his own alone
        self.idempotency_key: str | None = None
        self.traceparent: str | None = None
        self.expand: tuple[str, ...] = ()
        self.on_expanded: Callable[[bytes], Awaitable[None]] | None = None
        self._given: object = None
        self._fingerprint: bytes | None = None

    @property
    def fingerprint(self) -> bytes:
        """sha256 over method, path and the parameters as read: equal for equal requests, be they form or JSON, in any order."""
        if self._fingerprint is None:
            parts = (self.method.encode(), self.target.encode(), _canonical.encode((self._given, self.expand)))
            self._fingerprint = hashlib.sha256(b"\n".join(parts)).digest()
        return self._fingerprint

    def given(self, params: object) -> None:
        """Note the parameters as read."""
        self._given = params

    def read_headers(self) -> None:
        """Take in the headers of the dialect.  Invalid for a malformed version or key, or for another account."""
        headers = self.headers
        if (version := headers.get("stripe-version")) and not _VERSION.fullmatch(version):
            raise Invalid(f"Invalid Stripe-Version. This server answers in {VERSION}.", code="api_version_invalid")
        if "stripe-account" in headers and not getattr(self.principal, "names_account", False):
            raise Invalid(
                "The header Stripe-Account is refused: connected accounts are not supported. Use the account's own key.",
                code="parameter_unsupported",
                param="Stripe-Account",
            )
        if self.method != "GET" and (key := headers.get("idempotency-key")) is not None:
            if not _PRINTABLE.fullmatch(key):
                raise Invalid(
                    f"An Idempotency-Key has 1 to {MAX_KEY} printable ASCII characters.",
                    code="idempotency_key_invalid",
                    param="Idempotency-Key",
                )
            self.idempotency_key = key
        if (parent := headers.get("traceparent")) and _TRACEPARENT.fullmatch(parent):
            self.traceparent = parent


def api_key(headers: Mapping[str, str]) -> str:
    """The key of `Authorization: Bearer <key>`, or of Basic with the key as user name and no password.  Unauthenticated
    without one."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    match kind.lower():
        case "bearer" if value:
            return value
        case "basic":
            try:
                user = base64.b64decode(value, validate=True).decode("ascii").partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                user = ""
            if user:
                return user
    raise Unauthenticated
