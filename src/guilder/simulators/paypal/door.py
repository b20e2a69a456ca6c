"""Where merchants' calls come in: tokens, refusals, and the answer under the dials."""

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from guilder.simulators.model import Account
from guilder.simulators.paypal.channel import PayPal
from guilder.simulators.replies import Said, answer, say

TOKEN_S = 32_400
JSON = {"Content-Type": "application/json;charset=UTF-8"}
_NAMES = {400: "INVALID_REQUEST", 403: "NOT_AUTHORIZED", 404: "RESOURCE_NOT_FOUND", 422: "UNPROCESSABLE_ENTITY"}
_MESSAGES = {
    400: "Request is not well-formed, syntactically incorrect, or violates schema.",
    403: "Authorization failed due to insufficient permissions.",
    404: "The specified resource does not exist.",
    422: "The requested action could not be performed, semantically incorrect, or failed business validation.",
}


class Refused(Exception):
    """The call is refused: HTTP status, the issue, and words about it."""

    def __init__(self, status: int, issue: str, description: str = "", **more: Any) -> None:
        super().__init__(issue)
        self.status, self.issue, self.description, self.more = status, issue, description, more

    def said(self) -> Said:
        """As an answer."""
        detail = {"issue": self.issue, "description": self.description or self.issue}
        content = {
            "name": _NAMES[self.status],
            "message": _MESSAGES[self.status],
            "debug_id": f"{time.time_ns() % 16**13:013x}",
            "details": [detail],
            "links": [],
        }
        return say(content | self.more, self.status)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that was let in."""

    account: Account
    request: Request
    content: Any
    request_id: str
    address: str

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str, otherwise: str = "") -> str:
        return self.request.query_params.get(name, otherwise)


Act = Callable[[], Said]
Look = Callable[[Ask], tuple[str, str, Act]]


class Door:
    """Lets calls in and answers them."""

    def __init__(self, channel: PayPal) -> None:
        self.channel = channel
        self.desk = channel.desk

    async def token(self, request: Request) -> Response:
        """POST /v1/oauth2/token with the app's id and secret: a bearer token for nine hours."""
        account = self._app(request.headers.get("authorization", ""))
        if account is None:
            content = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return Response(msgspec.json.encode(content), 401, JSON)
        if b"grant_type=client_credentials" not in await request.body():
            content = {"error": "unsupported_grant_type", "error_description": "Grant type is not supported"}
            return Response(msgspec.json.encode(content), 400, JSON)
        content = {
            "scope": "https://uri.paypal.com/services/payments/payment",
            "access_token": self._made(account, int(time.time()) + TOKEN_S),
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",
            "expires_in": TOKEN_S,
            "nonce": f"{time.time_ns():x}",
        }
        return Response(msgspec.json.encode(content), 200, JSON)

    def _app(self, authorization: str) -> Account | None:
        scheme, _, rest = authorization.partition(" ")
        try:
            id, _, secret = base64.b64decode(rest).decode().partition(":")
        except ValueError:
            return None
        account = self.desk.book.accounts.get(id[2:15])
        if scheme.lower() != "basic" or account is None or account.channel != self.channel.name:
            return None
        config = self.channel.settings(account)
        return account if (id, secret) == (config["client_id"], config["client_secret"]) else None

    def _made(self, account: Account, until: int) -> str:
        secret = self.channel.settings(account)["client_secret"]
        proof = hashlib.sha256(f"{account.id}|{until}|{secret}".encode()).hexdigest()
        return f"A21AA{account.id}.{until}.{proof[:40]}"

    def _bearer(self, request: Request) -> Account | None:
        """Whose token this is; tokens prove themselves, so they outlive the process."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        head, _, rest = token.partition(".")
        until = rest.partition(".")[0]
        account = self.desk.book.accounts.get(head.removeprefix("A21AA"))
        if scheme.lower() != "bearer" or account is None or account.channel != self.channel.name or not until.isdigit():
            return None
        good = token == self._made(account, int(until)) and int(until) > time.time()
        return account if good else None

    async def serve(self, request: Request, op: str, look: Look) -> Response:
        """Let a call in, then do what `look` finds: (out_trade_no, the trade's dials, the act)."""
        account = self._bearer(request)
        if account is None:
            content = {"error": "invalid_token", "error_description": "Token signature verification failed"}
            return Response(msgspec.json.encode(content), 401, JSON)
        try:
            ask = Ask(
                account,
                request,
                await _content(request),
                request.headers.get("paypal-request-id", ""),
                f"{request.url.scheme}://{request.url.netloc}",
            )
            no, kept, act = look(ask)
        except Refused as refused:
            return dress(refused.said(), False)

        def refusing() -> Said:
            try:
                return act()
            except Refused as refused:
                return refused.said()

        return await answer(self.desk, account, op, no, kept, refusing, dress)


async def _content(request: Request) -> Any:
    body = await request.body()
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):  # one JSON part, as dispute calls have it
        body = body[body.find(b"\r\n\r\n") + 4 : body.rfind(b"\r\n--")]
    try:
        return msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "MALFORMED_REQUEST_JSON", "The request JSON is not well formed.") from None


def dress(said: Said, spoiled: bool) -> Response:
    """A reply; PayPal signs none.  Spoiled, it is cut short, or is a gateway's where there is nothing to cut."""
    if spoiled:
        return Response(said.body[: len(said.body) // 2], said.status if said.body else 502, JSON)
    return Response(said.body, said.status, JSON if said.body else {})
