"""Where merchants' calls arrive: who asks, with which key, and what was answered to that key before.

    Route(...) -> admit (Bearer or Basic) -> the key's earlier answer, or the act -> the book -> the answer, under the dials

An answer under an Idempotency-Key is kept with the book, unless the call was refused before anything was done; the same key with other
parameters is a 400, while the first call is still running a 409.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators.model import Account
from guilder.simulators.replies import Said, answer, say
from guilder.simulators.stripe import forms
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.errors import Refused

_NOT_KEPT = frozenset({400, 401, 404, 409, 429})
_REMEMBERED = 20_000
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
}  # the hosted fields call from any page


@dataclass
class Call:
    """One call of a merchant, or with the publishable key of a payer's page."""

    account: Account
    form: forms.Form
    path: dict[str, str]
    key: str
    public: bool
    address: str


@dataclass(frozen=True)
class Operation:
    """What is done at an address.  `about` finds the number and the dials of the payment that it is about."""

    method: str
    path: str
    op: str
    act: Callable[[Call], Any]
    about: Callable[[Call], tuple[str, str]]
    public: bool = False


@dataclass
class Kept:
    """What was answered to a key."""

    fingerprint: str
    status: int
    body: str


@dataclass
class Replies:
    """Answers by account and key: lately in memory, always in the book."""

    desk: Any
    recent: dict[tuple[str, str], Kept] = field(default_factory=dict)
    running: set[tuple[str, str]] = field(default_factory=set)

    def find(self, account: str, key: str) -> Kept | None:
        kept = self.recent.get((account, key))
        if kept is None:
            sql = "SELECT body FROM entry WHERE account = ? AND out_trade_no = ? AND kind = 'reply'"
            for (body,) in self.desk.book.rows(sql, account, f"key {key}"):
                kept = msgspec.json.decode(body, type=Kept)
        return kept

    def keep(self, account: str, key: str, kept: Kept) -> None:
        if len(self.recent) > _REMEMBERED:
            self.recent.clear()
        self.recent[account, key] = kept
        self.desk.book.note(
            "reply", account, f"key {key}", fingerprint=kept.fingerprint, status=kept.status, body=kept.body
        )


class Api:
    """Stripe's API, of the operations that it is given."""

    def __init__(self, channel: Stripe, operations: list[Operation]) -> None:
        self._channel, self._desk = channel, channel.desk
        self._operations = operations
        self._replies = Replies(channel.desk)

    def routes(self) -> list[Route]:
        """All addresses under /v1."""
        made = [Route(o.path, self._endpoint(o), methods=[o.method]) for o in self._operations]
        return [*made, Route("/v1/{any:path}", self._preflight, methods=["OPTIONS"])]

    async def _preflight(self, request: Request) -> Response:
        """A browser asks whether the payer's page may call."""
        return Response(status_code=204, headers=_OPEN | {"Access-Control-Allow-Methods": "GET, POST"})

    def _endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = (await request.body()).decode(errors="replace")
            if operation.method == "GET":
                await self._desk.book.commit()  # lists read the file
            try:
                call = self._admit(request, operation, body)
            except Refused as refused:
                return _dressed(refused.said(), spoiled=False, replayed=False)
            running = (call.account.id, call.key)
            if call.key and running in self._replies.running:
                busy = Refused(
                    409,
                    "idempotency_error",
                    "There is currently another in-progress request using this key.",
                    "idempotency_key_in_use",
                )
                return _dressed(busy.said(), spoiled=False, replayed=False)
            if call.key:
                self._replies.running.add(running)
            try:
                return await self._answer(operation, call, _fingerprint(operation, call, body))
            finally:
                self._replies.running.discard(running)

        return endpoint

    def _admit(self, request: Request, operation: Operation, body: str) -> Call:
        """Whose call it is.  Raises Refused."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                secret = base64.b64decode(secret).decode().partition(":")[0]
            except ValueError:
                secret = ""
        form = forms.Form(forms.read(request.url.query if operation.method == "GET" else body))
        found = self._channel.by_key(secret or form.text("key"))
        if found is None:
            raise Refused(401, "invalid_request_error", f"Invalid API Key provided: {secret[:7]}****")
        if found[1] and not operation.public:
            raise Refused(
                403,
                "invalid_request_error",
                "This API call cannot be made with a publishable API key.",
                "secret_key_required",
            )
        address = f"{request.url.scheme}://{request.url.netloc}"
        key = request.headers.get("idempotency-key", "") if operation.method == "POST" else ""
        if len(key) > 255:
            raise Refused(400, "idempotency_error", "Keys may be no longer than 255 characters.")
        return Call(found[0], form, dict(request.path_params), key, found[1], address)

    async def _answer(self, operation: Operation, call: Call, fingerprint: str) -> Response:
        replayed, refused = False, None
        try:
            number, kept = operation.about(call)
        except Refused as error:
            number, kept, refused = "", "", error

        def act() -> Said:
            nonlocal replayed
            before = self._replies.find(call.account.id, call.key) if call.key else None
            if before is not None:
                if before.fingerprint != fingerprint:
                    text = "Keys for idempotent requests can only be used with the same parameters they were first used with."
                    return Refused(400, "idempotency_error", text).said()
                replayed = True
                return Said(before.status, before.body.encode())
            try:
                if refused is not None:
                    raise refused
                content = operation.act(call)
                said = content if isinstance(content, Said) else say(content)
            except Refused as error:
                said = error.said()
            if call.key and said.status not in _NOT_KEPT:
                self._replies.keep(call.account.id, call.key, Kept(fingerprint, said.status, said.body.decode()))
            return said

        def dress(said: Said, spoiled: bool) -> Response:
            return _dressed(said, spoiled=spoiled, replayed=replayed)

        return await answer(self._desk, call.account, operation.op, number, kept, act, dress)


def _dressed(said: Said, *, spoiled: bool, replayed: bool) -> Response:
    """Stripe signs no replies: one that is spoiled is cut short."""
    headers = dict(_OPEN)
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    is_json = said.body[:1] in (b"{", b"[")
    media = "application/json" if is_json else "text/csv; charset=utf-8"
    return Response(said.body[: len(said.body) // 2] if spoiled else said.body, said.status, headers, media)


def _fingerprint(operation: Operation, call: Call, body: str) -> str:
    """Of where it went and with which parameters, in whatever order."""
    pairs = sorted(parse_qsl(body, keep_blank_values=True))
    text = f"{operation.method} {operation.path} {sorted(call.path.items())} {urlencode(pairs)}"
    return hashlib.sha256(text.encode()).hexdigest()
