"""The adapter: asks become signed calls, verified replies become outcomes.

Signatures.  Calls: `Authorization: WECHATPAY2-SHA256-RSA2048` over method, path with query, time, nonce and body, a line each.
             Replies and callbacks: over time, nonce and body; `trust` says with which key.
Keys.        `out_trade_no` and `out_refund_no` are ours and make asking twice harmless: the same order gives the same QR code.
Callbacks.   Only success is told of a payment, and only once by name; whether it was closed or failed must be asked.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.config import http_address
from guilder.channels.model import (
    Ask,
    ClosePayment,
    CreatePayment,
    CreateRefund,
    FetchStatement,
    Inbound,
    Info,
    Notice,
    Outcome,
    QrCode,
    QueryPayment,
    QueryRefund,
    State,
    Statement,
    StatementError,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.reading import read_as, read_json
from guilder.channels.signing import Signer
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.channels.wechatpay.statement import MAX_PACKED, read_statement
from guilder.channels.wechatpay.states import ABOUT_THE_KEY, NOT_THERE, REFUSED, Refund, Refusal, Transaction
from guilder.channels.wechatpay.trust import Sealed, Trust
from guilder.core.check import must, never
from guilder.core.clock import BEIJING, now, unix
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T")

INFO = Info(
    code="wechatpay",
    ways=("native",),
    currencies=frozenset({"CNY"}),
    can_close=True,
    can_cancel=False,  # reverse exists for barcodes only
    manual_capture=False,
    min_expiry_s=60,
    max_expiry_s=7200,  # a code_url lives for two hours
    zone=BEIJING,
    day_cut=time(0),
    statement_from=time(10),
    query_after_s=(5, 15, 30, 90),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
)

DOWNLOAD_TIMEOUT_S = 60.0


class _Native(msgspec.Struct, frozen=True):
    code_url: str


class _Bill(msgspec.Struct, frozen=True):
    hash_type: str
    hash_value: str
    download_url: str


class _Envelope(msgspec.Struct, frozen=True):
    id: str
    event_type: str
    resource: Sealed


class WeChatPay:
    """Speaks for one merchant account.  Raises ValueError if a key cannot be read."""

    info: ClassVar[Info] = INFO

    def __init__(
        self,
        config: WeChatConfig,
        *,
        now: Callable[[], datetime] = now,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.config = config
        self._base = http_address("base_url", config.base_url)
        self._now = now
        self._nonce = nonce
        self._signer = Signer(config.private_key)
        self._trust = Trust(config, now)

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment():
                return self._native(ask)
            case QueryPayment():
                return self._query(ask)
            case ClosePayment():
                return self._close(ask)
            case CreateRefund():
                return self._refund(ask)
            case QueryRefund():
                return self._query_refund(ask)
        never("every ask is answered")

    def _native(self, ask: CreatePayment) -> Exchange[Outcome]:
        must(ask.way == "native" and ask.amount.asset == "CNY", "the way and currency are the channel's")
        order: dict[str, Any] = {
            "appid": self.config.appid,
            "mchid": self.config.mchid,
            "description": ask.description[:127],
            "out_trade_no": ask.key,
            "time_expire": ask.expires_at.astimezone(BEIJING).isoformat(timespec="seconds"),
            "notify_url": ask.notify_url,
            "amount": {"total": ask.amount.units, "currency": "CNY"},
        }
        if ask.attach:
            order["attach"] = ask.attach
        if ask.payer_ip:
            order["scene_info"] = {"payer_client_ip": ask.payer_ip}
        reply = yield from self._call("POST", "/v3/pay/transactions/native", order)
        if reply.status == 200:
            return Outcome(State.PENDING, next=QrCode(_read(_Native, reply).code_url))
        return (yield from self._refused(reply, QueryPayment(ask.key, ask.way, self._now())))

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        path = f"/v3/pay/transactions/out-trade-no/{quote(ask.key, safe='')}?mchid={self.config.mchid}"
        return _found(Transaction, (yield from self._call("GET", path)))

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close; whatever but a plain yes is settled by asking what the order is now: paid meanwhile, closed before."""
        path = f"/v3/pay/transactions/out-trade-no/{quote(ask.key, safe='')}/close"
        reply = yield from self._call("POST", path, {"mchid": self.config.mchid})
        if reply.status == 204:
            return Outcome(State.CLOSED)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        must(ask.amount.asset == ask.payment_amount.asset == "CNY", "the currency is the channel's")
        order: dict[str, Any] = {
            "out_trade_no": ask.payment_key,
            "out_refund_no": ask.key,
            "notify_url": ask.notify_url,
            "amount": {"refund": ask.amount.units, "total": ask.payment_amount.units, "currency": "CNY"},
        }
        if ask.reason:
            order["reason"] = ask.reason[:80]
        reply = yield from self._call("POST", "/v3/refund/domestic/refunds", order)
        if reply.status == 200:
            return _read_outcome(Refund, reply)
        return (yield from self._refused(reply, QueryRefund(ask.key, ask.payment_key, ask.amount)))

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        return _found(Refund, (yield from self._call("GET", f"/v3/refund/domestic/refunds/{quote(ask.key, safe='')}")))

    def _refused(self, reply: HttpReply, query: QueryPayment | QueryRefund) -> Exchange[Outcome]:
        refusal = Refusal.read(reply)
        if refusal.code not in REFUSED:
            raise Doubtful(refusal.code, refusal.message)
        if refusal.code in ABOUT_THE_KEY:
            return (yield from look_first(refusal.problem(), lambda: self.ask(query)))
        return Outcome(State.FAILED, problem=refusal.problem())

    def _call(self, method: str, path: str, content: object = None) -> Exchange[HttpReply]:
        """One signed call.  The reply is verified and no server error; else NotSent, Silence or Doubtful is raised."""
        if self._trust.due():
            yield from self.refresh_trust()
            if self._trust.missing():
                raise NotSent("without platform certificates no reply could be believed, so nothing was asked")
        reply = yield self._signed(method, path, b"" if content is None else msgspec.json.encode(content))
        if reply.status >= 500 or reply.status == 429:
            refusal = Refusal.read(reply)
            raise Doubtful(refusal.code, refusal.message)
        if self._trust.unknown(reply.headers):
            yield from self.refresh_trust()
        if not self._trust.verifies_reply(reply):
            raise Doubtful("bad_signature", f"the reply with status {reply.status} is not verifiably WeChat Pay's")
        return reply

    def _signed(self, method: str, path: str, body: bytes = b"") -> HttpCall:
        url = path if "://" in path else self._base + path
        place = urlsplit(url)
        target = f"{place.path}?{place.query}" if place.query else place.path
        stamp, nonce = unix(self._now()), self._nonce()
        signature = self._signer.sign(f"{method}\n{target}\n{stamp}\n{nonce}\n".encode() + body + b"\n")
        headers = {
            "Authorization": f'WECHATPAY2-SHA256-RSA2048 mchid="{self.config.mchid}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{stamp}",serial_no="{self.config.serial_no}"',
            "Accept": "application/json",
            "User-Agent": "guilder",
        }
        if body:
            headers["Content-Type"] = "application/json"
        if self.config.trust == "public_key":
            headers["Wechatpay-Serial"] = self.config.public_key_id.strip()
        return HttpCall(method, url, headers, body)

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the platform certificates.  In both modes: while a merchant switches, either kind of signature comes."""
        self._trust.trying()
        try:
            reply = yield self._signed("GET", "/v3/certificates")
        except (NotSent, Silence):
            return False
        return self._trust.learn(reply)

    def notice(self, inbound: Inbound) -> Notice:
        """Verify, decrypt and read a callback: see `model.Channel`."""
        self._trust.check_notice(inbound.headers, inbound.body)
        try:
            envelope = read_as(_Envelope, read_json(inbound.body))
            content = read_json(self._trust.open(envelope.resource))
            if envelope.event_type.startswith("TRANSACTION."):
                return Notice(envelope.id, Subject.PAYMENT, read_as(Transaction, content).outcome())
            if envelope.event_type.startswith("REFUND."):
                refund = read_as(Refund, content)
                return Notice(envelope.id, Subject.REFUND, refund.outcome(), refund.out_trade_no)
        except ValueError as error:
            raise Unreadable(str(error)) from error
        raise Unreadable(f"a callback of another kind: {envelope.event_type}")

    def ack(self, stored: bool) -> HttpReply:
        """204, or a server error: on a 200 that says FAIL WeChat would not send it again."""
        if stored:
            return HttpReply(204, {}, b"")
        return HttpReply(500, {"content-type": "application/json"}, b'{"code":"FAIL","message":"not stored"}')

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """The trade bill of one day: its address and hash by a signed reply, then the file, which is not signed."""
        path = f"/v3/bill/tradebill?bill_date={ask.day.isoformat()}&bill_type=ALL&tar_type=GZIP"
        try:
            reply = yield from self._call("GET", path)
            bill = _read(_Bill, reply) if reply.status == 200 else _no_bill(reply)
            call = self._signed("GET", bill.download_url)
            file = yield replace(call, timeout_s=DOWNLOAD_TIMEOUT_S, max_bytes=MAX_PACKED)
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if file.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the download answered {file.status}")
        if bill.hash_type != "SHA1":
            raise StatementError(StatementProblem.CORRUPT, f"unknown hash {bill.hash_type!r}")
        return read_statement(ask.day, file.body, bill.hash_value)


def _no_bill(reply: HttpReply) -> _Bill:
    refusal = Refusal.read(reply)
    match refusal.code:
        case "NO_STATEMENT_EXIST":
            raise StatementError(StatementProblem.EMPTY_DAY, refusal.message)
        case "STATEMENT_CREATING":
            raise StatementError(StatementProblem.NOT_READY, refusal.message)
    raise Doubtful(refusal.code, refusal.message)


def _found(type: type[Transaction] | type[Refund], reply: HttpReply) -> Outcome:
    """The outcome of a query.  That the query itself was refused says nothing of the payment."""
    if reply.status == 200:
        return _read_outcome(type, reply)
    refusal = Refusal.read(reply)
    if reply.status == 404 and refusal.code in NOT_THERE:
        return Outcome(State.NOT_FOUND)
    raise Doubtful(refusal.code, refusal.message)


def _read_outcome(type: type[Transaction] | type[Refund], reply: HttpReply) -> Outcome:
    try:
        return read_as(type, read_json(reply.body)).outcome()
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def _read(type: type[T], reply: HttpReply) -> T:
    try:
        return read_as(type, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error
