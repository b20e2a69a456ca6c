"""The adapter: asks become signed calls (`caller`), verified replies become outcomes (`states`).

Keys.        `out_trade_no`, `out_refund_no` and `out_bill_no` are ours and make asking twice harmless: the same order gives the same
             QR code.
Callbacks.   Only success is told of a payment, and only once by name; whether it was closed or failed must be asked.  Of an order
             whose payer was scanned nothing is told at all.
Barcodes.    A code pays once, so a repeated ask may be refused although the first has taken the money: every refusal asks what lives
             under the key.  Such an order cannot be closed; it is reversed, which also gives back what was paid.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.info import Info
from guilder.channels.model import (
    Ask,
    ClosePayment,
    CreatePayment,
    CreatePayout,
    CreateRefund,
    FetchStatement,
    IdentifyPayer,
    Inbound,
    Notice,
    Outcome,
    Problem,
    QueryPayment,
    QueryPayout,
    QueryRefund,
    RescueRefund,
    Retry,
    State,
    Statement,
    StatementError,
    StatementKind,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.reading import read_as, read_json
from guilder.channels.wechatpay import identity, orders, payouts
from guilder.channels.wechatpay.caller import Caller, read
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.channels.wechatpay.files import MAX_PACKED
from guilder.channels.wechatpay.funds import read_funds
from guilder.channels.wechatpay.info import INFO
from guilder.channels.wechatpay.statement import read_statement
from guilder.channels.wechatpay.states import ABOUT_THE_KEY, NOT_THERE, REFUSED, Refund, Refusal, Transaction, Transfer
from guilder.channels.wechatpay.trust import Sealed
from guilder.core.check import must, never
from guilder.core.clock import now
from guilder.core.exchange import Exchange, HttpReply, NotSent, Silence

DOWNLOAD_TIMEOUT_S = 60.0
REVERSE_AFTER = timedelta(seconds=15)  # WeChat Pay asks to wait so long after the payment
REFUNDS = "/v3/refund/domestic/refunds"
EARLY = Problem("too_early", "An order is not reversed within 15 seconds.", "processing_error", Retry.SAME_KEY)


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
        self._now = now
        self._caller = Caller(config, now, nonce)
        self._trust = self._caller.trust

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return self._ours(conclude(ask, self._answer(ask)))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment():
                return self._create(ask)
            case QueryPayment():
                return self._query(ask)
            case ClosePayment():
                return self._reverse(ask) if ask.way == "codepay" else self._close(ask)
            case CreateRefund():
                return self._refund(ask)
            case QueryRefund():
                return self._query_refund(ask)
            case RescueRefund():
                return self._rescue(ask)
            case CreatePayout():
                return payouts.transfer(self._caller, ask)
            case QueryPayout():
                return payouts.query(self._caller, ask)
            case IdentifyPayer():
                return identity.identify(self.config, ask)
        never("every ask that is declared is answered")

    def _ours(self, exchange: Exchange[Outcome]) -> Exchange[Outcome]:
        """Whichever of the merchant's applications an outcome names, it is the account's."""
        return self._named((yield from exchange))

    def _named(self, outcome: Outcome) -> Outcome:
        others = (self.config.mini_appid, self.config.app_appid)
        return replace(outcome, app_ref=self.config.appid) if outcome.app_ref and outcome.app_ref in others else outcome

    # --- payments

    def _create(self, ask: CreatePayment) -> Exchange[Outcome]:
        must(
            any(way.name == ask.way for way in INFO.ways) and ask.amount.asset == "CNY",
            "the way and currency are the channel's",
        )
        path = orders.place(self.config, orders.PATH.get(ask.way, ask.way))
        reply = yield from self._caller.call("POST", path, orders.order(self.config, ask))
        if reply.status == 200:
            if ask.way == "codepay":
                return _read_outcome(Transaction, reply)
            return Outcome(State.PENDING, next=orders.shown(self._caller, ask, reply))
        query = QueryPayment(ask.key, ask.way, self._now())
        if ask.way == "codepay":
            return (yield from self._not_paid_at_once(Refusal.read(reply), query))
        return (yield from self._refused(reply, query))

    def _not_paid_at_once(self, refusal: Refusal, query: QueryPayment) -> Exchange[Outcome]:
        """A scanned payer is asked for his password, or could not pay."""
        if refusal.code == "USERPAYING":
            return Outcome(State.PENDING)
        if refusal.code not in REFUSED:
            raise Doubtful(refusal.code, refusal.message)
        problem = refusal.problem()
        if problem.retry is Retry.SAME_KEY:  # the code is spent: the same order cannot be asked again
            problem = replace(problem, retry=Retry.NEW_KEY)
        return (yield from look_first(problem, lambda: self.ask(query)))

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        path = orders.place(self.config, f"out-trade-no/{quote(ask.key, safe='')}?{orders.whose(self.config)}")
        return _found(Transaction, (yield from self._caller.call("GET", path)))

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close; whatever but a plain yes is settled by asking what the order is now: paid meanwhile, closed before."""
        path = orders.place(self.config, f"out-trade-no/{quote(ask.key, safe='')}/close")
        reply = yield from self._caller.call("POST", path, orders.names(self.config))
        if reply.status == 204:
            return Outcome(State.CLOSED)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))

    def _reverse(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Reverse, once it may be: CLOSED, whether or not it was paid.  Unless it is to be cancelled, one that was paid stays so."""
        if self._now() - ask.created_at < REVERSE_AFTER:
            return Outcome(State.UNKNOWN, problem=EARLY)
        query = QueryPayment(ask.key, ask.way, ask.created_at)
        if not ask.cancel:
            found = yield from self.ask(query)
            if found.state is not State.PENDING:
                return found
        path = orders.place(self.config, f"out-trade-no/{quote(ask.key, safe='')}/reverse")
        reply = yield from self._caller.call("POST", path, orders.names(self.config, ask.way))
        if reply.status in (200, 204):
            return Outcome(State.CLOSED)
        found = yield from self.ask(query)
        if found.state is State.SUCCEEDED and ask.cancel:
            refusal = Refusal.read(reply)
            raise Doubtful(refusal.code, refusal.message)  # paid, and not given back: it is to be reversed again
        return found

    # --- refunds

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        must(ask.amount.asset == ask.payment_amount.asset == "CNY", "the currency is the channel's")
        order: dict[str, Any] = {
            **orders.sub(self.config),
            "out_trade_no": ask.payment_key,
            "out_refund_no": ask.key,
            "notify_url": ask.notify_url,
            "amount": {"refund": ask.amount.units, "total": ask.payment_amount.units, "currency": "CNY"},
        }
        if ask.reason:
            order["reason"] = ask.reason[:80]
        reply = yield from self._caller.call("POST", REFUNDS, order)
        if reply.status == 200:
            return _read_outcome(Refund, reply)
        return (yield from self._refused(reply, QueryRefund(ask.key, ask.payment_key, ask.amount)))

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        sub = f"?sub_mchid={self.config.sub_mchid}" if self.config.mode == "partner" else ""
        path = f"{REFUNDS}/{quote(ask.key, safe='')}{sub}"
        return _found(Refund, (yield from self._caller.call("GET", path)))

    def _rescue(self, ask: RescueRefund) -> Exchange[Outcome]:
        """Of a refund that ended ABNORMAL: to the payer's bank card, or to the merchant's account."""
        yield from self._caller.ready()
        to_payer = ask.to.get("type") == "payer"
        order: dict[str, Any] = {
            **orders.sub(self.config),
            "out_refund_no": ask.key,
            "type": "USER_BANK_CARD" if to_payer else "MERCHANT_BANK_CARD",
        }
        sealed_by = ""
        if to_payer:
            try:
                sealed_by, [account, name] = self._trust.seal(ask.to.get("account", ""), ask.to.get("name", ""))
            except ValueError:
                return Outcome(
                    State.FAILED, problem=Problem("PARAM_ERROR", "The card or name is too long to be sealed.")
                )
            order |= {"bank_type": ask.to.get("bank", ""), "bank_account": account, "real_name": name}
        path = f"{REFUNDS}/{quote(ask.refund_ref, safe='')}/apply-abnormal-refund"
        reply = yield from self._caller.call("POST", path, order, sealed_by=sealed_by)
        if reply.status == 200:
            return _read_outcome(Refund, reply)
        refusal = Refusal.read(reply)
        if refusal.code not in REFUSED:
            raise Doubtful(refusal.code, refusal.message)
        return Outcome(State.FAILED, problem=refusal.problem())

    def _refused(self, reply: HttpReply, query: QueryPayment | QueryRefund) -> Exchange[Outcome]:
        refusal = Refusal.read(reply)
        if refusal.code not in REFUSED:
            raise Doubtful(refusal.code, refusal.message)
        if refusal.code in ABOUT_THE_KEY:
            return (yield from look_first(refusal.problem(), lambda: self.ask(query)))
        return Outcome(State.FAILED, problem=refusal.problem())

    # --- what comes by itself, and what is fetched

    def identify_url(self, back_to: str, state: str) -> str:
        """Where a page inside WeChat sends its reader to find out who pays: back to `back_to`, with `code` (IdentifyPayer) and
        `state`."""
        return identity.address(self.config, back_to, state)

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the platform certificates: see `model.Channel`."""
        return self._caller.refresh_trust()

    def notice(self, inbound: Inbound) -> Notice:
        """Verify, decrypt and read a callback: see `model.Channel`."""
        self._trust.check_notice(inbound.headers, inbound.body)
        try:
            envelope = read_as(_Envelope, read_json(inbound.body))
            content = read_json(self._trust.open(envelope.resource))
            if envelope.event_type.startswith("TRANSACTION."):
                return Notice(envelope.id, Subject.PAYMENT, self._named(read_as(Transaction, content).outcome()))
            if envelope.event_type.startswith("REFUND."):
                refund = read_as(Refund, content)
                return Notice(envelope.id, Subject.REFUND, refund.outcome(), refund.out_trade_no)
            if envelope.event_type.startswith("MCHTRANSFER.BILL."):
                return Notice(envelope.id, Subject.PAYOUT, self._named(read_as(Transfer, content).outcome()))
        except ValueError as error:
            raise Unreadable(str(error)) from error
        raise Unreadable(f"a callback of another kind: {envelope.event_type}")

    def ack(self, stored: bool) -> HttpReply:
        """204, or a server error: on a 200 that says FAIL WeChat would not send it again."""
        if stored:
            return HttpReply(204, {}, b"")
        return HttpReply(500, {"content-type": "application/json"}, b'{"code":"FAIL","message":"not stored"}')

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """One day's bill: its address and hash by a signed reply, then the file, which is not signed."""
        try:
            reply = yield from self._caller.call("GET", self._bill(ask))
            bill = read(_Bill, reply) if reply.status == 200 else _no_bill(reply)
            call = self._caller.signed("GET", bill.download_url)
            file = yield replace(call, timeout_s=DOWNLOAD_TIMEOUT_S, max_bytes=MAX_PACKED)
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        except ValueError as error:  # of the address, which is no URL
            raise StatementError(StatementProblem.UNKNOWN, f"no address: {error}") from error
        if file.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the download answered {file.status}")
        if bill.hash_type != "SHA1":
            raise StatementError(StatementProblem.CORRUPT, f"unknown hash {bill.hash_type!r}")
        reader = read_funds if ask.kind is StatementKind.FUNDS else read_statement
        return reader(ask.day, file.body, bill.hash_value)

    def _bill(self, ask: FetchStatement) -> str:
        day = f"bill_date={ask.day.isoformat()}"
        if ask.kind is StatementKind.TRADES:
            sub = f"&sub_mchid={self.config.sub_mchid}" if self.config.mode == "partner" else ""
            return f"/v3/bill/tradebill?{day}&bill_type=ALL&tar_type=GZIP{sub}"
        if self.config.mode == "partner":
            why = "in partner mode the funds are the merchant's, and the service provider's own bill does not tell of them"
            raise StatementError(StatementProblem.EMPTY_DAY, why)
        return f"/v3/bill/fundflowbill?{day}&account_type=BASIC&tar_type=GZIP"


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
