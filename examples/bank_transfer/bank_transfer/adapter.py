"""The adapter: asks become signed calls, replies become outcomes.

Signatures.  HMAC-SHA256 with the contract's secret, in hex.  Of a call: method, path, time and body.  Of a reply: its status, the call's own
             signature and the body, so that no reply can be passed off as the answer to another call.  Of a callback: time and body.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, TypeVar
from urllib.parse import quote

import msgspec

from bank_transfer.config import INFO, BankConfig
from bank_transfer.statement import read_statement
from bank_transfer.states import ABSENT, REFUSED, USED, Error, Event, Order, Refund
from guilder.channels import model as port
from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.config import http_address
from guilder.channels.info import Info
from guilder.channels.reading import read_as, read_json
from guilder.core.check import never
from guilder.core.clock import now, unix
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T", Order, Refund)
TOLERANCE_S = 300
MAX_FILE = 200 << 20


class BankTransfer:
    """Speaks for one customer of the bank.  Raises ValueError if its configuration cannot be right."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: BankConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._base = http_address("base_url", config.base_url)
        self._now = now

    def ask(self, ask: port.Ask) -> Exchange[port.Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: port.Ask) -> Exchange[port.Outcome]:
        match ask:
            case port.CreatePayment():
                return self._create(ask)
            case port.QueryPayment():
                return self._look(f"/bank/orders/{quote(ask.key)}", Order)
            case port.ClosePayment():
                return self._close(ask)
            case port.CreateRefund():
                return self._refund(ask)
            case port.QueryRefund():
                return self._look(f"/bank/refunds/{quote(ask.key)}", Refund)
        never("every ask that the channel is declared for is answered")

    def _create(self, ask: port.CreatePayment) -> Exchange[port.Outcome]:
        """Open a number for an order.  The order's number makes it once."""
        reply = yield from self._call("POST", "/bank/orders", {
            "order_no": ask.key, "amount": ask.amount.units, "currency": ask.amount.asset, "description": ask.description[:140],
            "notify_url": ask.notify_url, "expires_at": unix(ask.expires_at) * 1000, "attach": ask.attach or "",
        })  # fmt: skip
        if reply.status == 200:
            order = _read(Order, reply)
            said = order.outcome()
            return replace(said, next=order.instructions()) if said.state is port.State.PENDING else said
        return (yield from self._refused(reply, port.QueryPayment(ask.key, ask.way, self._now())))

    def _close(self, ask: port.ClosePayment) -> Exchange[port.Outcome]:
        """The bank answers with the order as it is then: closed, or paid before."""
        reply = yield from self._call("POST", f"/bank/orders/{quote(ask.key)}/close", {})
        return _read(Order, reply).outcome() if reply.status == 200 else _absent(reply)

    def _refund(self, ask: port.CreateRefund) -> Exchange[port.Outcome]:
        """A transfer back to where the money came from.  The refund's number makes it once."""
        reply = yield from self._call("POST", "/bank/refunds", {
            "refund_no": ask.key, "order_no": ask.payment_key, "amount": ask.amount.units, "currency": ask.amount.asset,
            "reason": (ask.reason or "")[:140], "notify_url": ask.notify_url,
        })  # fmt: skip
        if reply.status == 200:
            return _read(Refund, reply).outcome()
        return (yield from self._refused(reply, port.QueryRefund(ask.key, ask.payment_key, ask.amount)))

    def _look(self, path: str, type: type[T]) -> Exchange[port.Outcome]:
        reply = yield from self._call("GET", path)
        return _read(type, reply).outcome() if reply.status == 200 else _absent(reply)

    def _refused(self, reply: HttpReply, query: port.QueryPayment | port.QueryRefund) -> Exchange[port.Outcome]:
        """C1: only a listed code says that nothing was done; of a number used before, what lives under it decides."""
        error = _error(reply)
        if error.code == USED:
            return (yield from look_first(error.problem(port.Retry.NEW_KEY), lambda: self.ask(query)))
        if error.code not in REFUSED:
            raise Doubtful(error.code, error.message)
        return port.Outcome(port.State.FAILED, problem=error.problem(REFUSED[error.code]))

    def _call(self, method: str, path: str, content: object = None, max_bytes: int = 1 << 20) -> Exchange[HttpReply]:
        """One signed call.  The reply is the bank's, and an answer to this very call; else NotSent, Silence or Doubtful is raised."""
        body = b"" if content is None else msgspec.json.encode(content)
        at = str(unix(self._now()))
        signature = self._sign(method, path, at, body=body)
        headers = {"X-Bank-Customer": self.config.customer, "X-Bank-Time": at, "X-Bank-Signature": signature}
        if content is not None:
            headers["Content-Type"] = "application/json"
        reply = yield HttpCall(method, self._base + path, headers, body, max_bytes=max_bytes)
        expected = self._sign(str(reply.status), signature, body=reply.body)
        if not _equal(expected, reply.headers.get("x-bank-signature", "")):
            raise Doubtful("signature", "the reply is not signed by the bank")
        if reply.status >= 500:
            raise Doubtful(str(reply.status))
        return reply

    def _sign(self, *parts: str, body: bytes) -> str:
        message = "\n".join([*parts, ""]).encode() + body
        return hmac.new(self.config.secret.encode(), message, hashlib.sha256).hexdigest()

    def refresh_trust(self) -> Exchange[bool]:
        """The bank hands out no keys by call."""
        if False:
            yield  # an exchange without a call
        return False

    def notice(self, inbound: port.Inbound) -> port.Notice:
        """Signature before meaning: see `model.Channel`."""
        at = inbound.headers.get("x-bank-time", "")
        if not _equal(self._sign(at, body=inbound.body), inbound.headers.get("x-bank-signature", "")):
            raise port.BadSignature("the callback is not signed by the bank")
        if abs(unix(inbound.received_at or self._now()) - int(at)) > TOLERANCE_S:
            raise port.BadSignature(f"the callback is more than {TOLERANCE_S} seconds old")
        try:
            event = read_as(Event, read_json(inbound.body))
            if event.order is not None:
                return port.Notice(event.id, port.Subject.PAYMENT, event.order.outcome())
            if event.refund is not None:
                return port.Notice(event.id, port.Subject.REFUND, event.refund.outcome(), event.refund.order_no)
        except ValueError as error:
            raise port.Unreadable(str(error)) from error
        raise port.Unreadable("an event about nothing")

    def ack(self, stored: bool) -> HttpReply:
        """204, or it comes again."""
        return HttpReply(204 if stored else 500, {}, b"")

    def statement(self, ask: port.FetchStatement) -> Exchange[port.Statement]:
        """The day's file, once the bank has closed it."""
        if ask.kind is not port.StatementKind.TRADES:
            raise port.StatementError(port.StatementProblem.UNKNOWN, f"the bank is not asked for {ask.kind}")
        try:
            reply = yield from self._call("GET", f"/bank/statements/{ask.day.isoformat()}", max_bytes=MAX_FILE)
            if reply.status == 200:
                return read_statement(ask.day, reply.body)
            code = _error(reply).code
        except (NotSent, Silence, Doubtful) as error:
            raise port.StatementError(port.StatementProblem.UNKNOWN, f"no answer: {error}") from error
        known = {"NOT_READY": port.StatementProblem.NOT_READY, "NO_ENTRIES": port.StatementProblem.EMPTY_DAY}
        raise port.StatementError(known.get(code, port.StatementProblem.UNKNOWN), code)


def _equal(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _absent(reply: HttpReply) -> port.Outcome:
    error = _error(reply)
    if error.code in ABSENT:
        return port.Outcome(port.State.NOT_FOUND)
    raise Doubtful(error.code, error.message)


def _error(reply: HttpReply) -> Error:
    try:
        return read_as(Error, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def _read(type: type[T], reply: HttpReply) -> T:
    try:
        return read_as(type, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error
