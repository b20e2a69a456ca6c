"""The door: how a call gets in.  OAuth2 by client credentials; the token is kept until it is stale or refused.

A token is a cache and no state that matters: without one nothing was asked, so that is NotSent.  A call that is refused for its token
(401) is repeated once with a fresh one and the same PayPal-Request-Id.  PayPal signs no reply: TLS vouches for them.
"""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from guilder.channels.conclude import Doubtful
from guilder.channels.paypal.config import PayPalConfig
from guilder.channels.paypal.states import Refusal
from guilder.channels.reading import read_as, read_json
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T")
STALE_S = 60  # a token that ends within a minute is fetched anew


class _Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


class Door:
    """Makes calls for one REST app."""

    def __init__(self, config: PayPalConfig, now: Callable[[], datetime]) -> None:
        self._base = config.base_url.rstrip("/")
        self._basic = base64.b64encode(f"{config.client_id}:{config.client_secret}".encode()).decode()
        self._now = now
        self._token = ""
        self._until: datetime | None = None  # of the token; None: there is none

    def call(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        key: str = "",
        form: tuple[str, bytes] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Exchange[HttpReply]:
        """One call; `key` is its PayPal-Request-Id, `form` a body that is no JSON (its type, its bytes).

        A server error, 409 and 429 raise Doubtful: they say nothing of what happened."""
        kind, body = form or ("application/json", b"" if content is None else msgspec.json.encode(content))
        headers = {"Accept": "application/json", "User-Agent": "guilder", "Prefer": "return=representation"}
        if body:
            headers["Content-Type"] = kind
        if key:
            headers["PayPal-Request-Id"] = key
        for _ in ("with the token that is known", "with a fresh one"):
            token = yield from self._enter()
            bearer = headers | {"Authorization": f"Bearer {token}"}
            reply = yield HttpCall(method, self._base + path, bearer, body, timeout_s=timeout_s, max_bytes=max_bytes)
            if reply.status != 401:
                break
            self._forget(token)
        if reply.status >= 500 or reply.status in (401, 408, 409, 429):
            refusal = Refusal.read(reply)
            raise Doubtful(refusal.code, refusal.message)
        return reply

    def _enter(self) -> Exchange[str]:
        """A token: the one that is known, or a new one."""
        if self._until is not None and self._now() < self._until:
            return self._token
        headers = {
            "Authorization": f"Basic {self._basic}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "guilder",
        }
        call = HttpCall("POST", f"{self._base}/v1/oauth2/token", headers, b"grant_type=client_credentials")
        try:
            reply = yield call
            if reply.status != 200:
                raise NotSent(f"PayPal gives no token ({reply.status}), so nothing was asked")
            token = read_as(_Token, read_json(reply.body))
            if not token.access_token.isascii() or not token.access_token.isprintable():
                raise ValueError("the token is none")
            until = self._now() + timedelta(seconds=min(token.expires_in, 1 << 20) - STALE_S)
        except (Silence, ValueError) as error:
            raise NotSent("PayPal gave no token, so nothing was asked") from error
        self._token, self._until = token.access_token, until
        return self._token

    def _forget(self, token: str) -> None:
        if self._token == token:
            self._until = None


def read(type: type[T], reply: HttpReply) -> T:
    """The reply's content.  Doubtful if it is not of that form."""
    try:
        return read_as(type, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def read_with(look: Callable[[], T]) -> T:
    """What `look` makes of a reply; Doubtful if an amount or a time in it is none."""
    try:
        return look()
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def one(reply: HttpReply, *statuses: int) -> HttpReply:
    """The reply, if it has one of these statuses; else Doubtful with what it says."""
    if reply.status not in statuses:
        refusal = Refusal.read(reply)
        raise Doubtful(refusal.code, refusal.message)
    return reply


def multipart(name: str, content: Any) -> tuple[str, bytes]:
    """One JSON part of a form, as the dispute calls want it."""
    edge = "guilder-7MA4YWxkTrZu0gW"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: application/json\r\n\r\n'
    return (
        f"multipart/form-data; boundary={edge}",
        head.encode() + msgspec.json.encode(content) + f"\r\n--{edge}--\r\n".encode(),
    )
