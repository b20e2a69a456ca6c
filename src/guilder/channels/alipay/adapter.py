"""The adapter: asks become signed calls to the one gateway address, verified replies become outcomes.

Page.       No call at all: the payer's browser is sent to a signed address.  Neither there nor with a QR code does Alipay know
            the trade before the payer has opened it, so "there is no such trade" means "not yet".
Keys.       `out_trade_no` and `out_request_no` are ours and make asking twice harmless.
Replies.    HTTP 200 always; `code` and `sub_code` tell.  What is not signed tells nothing: see `sign`.
Callbacks.  Refunds send the same kind as payments do; their own fields tell them apart.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, time
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from guilder.channels.alipay.config import AlipayConfig
from guilder.channels.alipay.sign import members, signed_text
from guilder.channels.alipay.statement import MAX_PACKED, read_statement
from guilder.channels.alipay.states import (
    ABOUT_THE_KEY,
    BUSINESS_FAILED,
    NOT_EXIST,
    OK,
    Callback,
    Cancelled,
    Precreated,
    Queried,
    Refunded,
    RefundQueried,
    Said,
)
from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.config import http_address
from guilder.channels.model import (
    Ask,
    BadSignature,
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
    Redirect,
    State,
    Statement,
    StatementError,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.reading import beijing_instant, each_once, read_as
from guilder.channels.signing import Signer, Verifier
from guilder.core.check import must, never
from guilder.core.clock import BEIJING, now
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T")

INFO = Info(
    code="alipay",
    ways=("page", "precreate"),
    currencies=frozenset({"CNY"}),
    can_close=True,
    can_cancel=True,
    manual_capture=False,
    min_expiry_s=60,
    max_expiry_s=7200,  # a QR code lives for two hours
    zone=BEIJING,
    day_cut=time(0),
    statement_from=time(9),
    query_after_s=(5, 15, 30, 90),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
)

_NOTICE_UNSIGNED = frozenset({"sign", "sign_type"})
_MAX_FIELDS = 200
_IN_SUBJECT = str.maketrans("/=&", "   ")  # "special characters such as / = & must not be used"
_DOWNLOAD_TIMEOUT_S = 60.0


class Alipay:
    """Speaks for one app of one seller.  Raises ValueError if a key cannot be read."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: AlipayConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._gateway = http_address("gateway", config.gateway)
        self._now = now
        self._signer = Signer(config.private_key)
        self._verifier = Verifier.read(config.alipay_public_key, "alipay_public_key")

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment(way="page"):
                return self._page(ask)
            case CreatePayment():
                return self._precreate(ask)
            case QueryPayment():
                return self._query(ask)
            case ClosePayment(cancel=True):
                return self._cancel(ask)
            case ClosePayment():
                return self._close(ask)
            case CreateRefund():
                return self._refund(ask)
            case QueryRefund():
                return self._query_refund(ask)
        never("every ask is answered")

    def _page(self, ask: CreatePayment) -> Exchange[Outcome]:
        order = {**self._order(ask), "product_code": "FAST_INSTANT_TRADE_PAY"}
        further = {"notify_url": ask.notify_url, "return_url": ask.return_url or ""}
        params = self._signed("alipay.trade.page.pay", order, further)
        if False:
            yield  # an exchange without a call
        return Outcome(State.PENDING, next=Redirect(f"{self._gateway}?{urlencode(params)}"))

    def _precreate(self, ask: CreatePayment) -> Exchange[Outcome]:
        must(ask.way == "precreate", "the way is the channel's")
        said = yield from self._call("alipay.trade.precreate", self._order(ask), {"notify_url": ask.notify_url})
        if said.code == OK:
            made = _read(Precreated, said)
            return Outcome(State.PENDING, key=made.out_trade_no, next=QrCode(made.qr_code))
        return (yield from self._refused(said, QueryPayment(ask.key, ask.way, self._now())))

    def _order(self, ask: CreatePayment) -> dict[str, Any]:
        must(ask.amount.asset == "CNY", "the currency is the channel's")
        order = {
            "out_trade_no": ask.key,
            "total_amount": ask.amount.major(),
            "subject": ask.description.translate(_IN_SUBJECT)[:256],
            "seller_id": self.config.seller_id,
            "time_expire": ask.expires_at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        }
        if ask.attach:
            order["passback_params"] = quote(ask.attach, safe="")  # "must be url-encoded", says its documentation
        return order

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        said = yield from self._call("alipay.trade.query", {"out_trade_no": ask.key})
        return _found(Queried, said)

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close; whatever but a plain yes is settled by asking what the trade is now: paid meanwhile, closed before."""
        said = yield from self._call("alipay.trade.close", {"out_trade_no": ask.key})
        if said.code == OK:
            return Outcome(State.CLOSED)
        if said.sub_code == NOT_EXIST:
            return Outcome(State.NOT_FOUND)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))

    def _cancel(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close, or give back what was paid: in both cases nobody will have paid."""
        said = yield from self._call("alipay.trade.cancel", {"out_trade_no": ask.key})
        if said.code == OK:
            done = _read(Cancelled, said)
            if done.retry_flag != "N":
                return Outcome(State.UNKNOWN)
            return Outcome(State.CLOSED, channel_ref=done.trade_no) if done.action else Outcome(State.NOT_FOUND)
        if said.sub_code == NOT_EXIST:
            return Outcome(State.NOT_FOUND)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        """Give back.  The callback goes where the payment's goes, so `ask.notify_url` is not said."""
        must(ask.amount.asset == ask.payment_amount.asset == "CNY", "the currency is the channel's")
        order = {"out_trade_no": ask.payment_key, "out_request_no": ask.key, "refund_amount": ask.amount.major()}
        if ask.reason:
            order["refund_reason"] = ask.reason[:256]
        query = QueryRefund(ask.key, ask.payment_key, ask.amount)
        said = yield from self._call("alipay.trade.refund", order)
        if said.code != OK:
            return (yield from self._refused(said, query))
        done = _read(Refunded, said)
        if done.fund_change != "Y":  # done before under this key, or not done: only the query tells
            found = yield from self.ask(query)
            return found if found.state is not State.NOT_FOUND else Outcome(State.UNKNOWN)
        at = _read_time(done.gmt_refund_pay)
        return Outcome(State.SUCCEEDED, channel_ref=done.trade_no, at=at)

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        question = {
            "out_trade_no": ask.payment_key,
            "out_request_no": ask.key,
            "query_options": ["gmt_refund_pay"],
        }
        said = yield from self._call("alipay.trade.fastpay.refund.query", question)
        return _found(RefundQueried, said)

    def _refused(self, said: Said, query: QueryPayment | QueryRefund) -> Exchange[Outcome]:
        problem = said.refusal()
        if problem is None:
            raise Doubtful(said.word, said.message)
        if said.sub_code in ABOUT_THE_KEY:
            return (yield from look_first(problem, lambda: self.ask(query)))
        return Outcome(State.FAILED, problem=problem)

    def _call(
        self, method: str, content: Mapping[str, Any], further: Mapping[str, str] | None = None
    ) -> Exchange[Said]:
        """One signed call and what its verified reply said; else NotSent, Silence or Doubtful is raised."""
        params = self._signed(method, content, further or {})
        body = urlencode({"biz_content": params.pop("biz_content")}).encode()
        # As the official SDK does: the gateway must know `charset` before it reads the body.
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8", "User-Agent": "guilder"}
        reply = yield HttpCall("POST", f"{self._gateway}?{urlencode(params)}", headers, body)
        if reply.status != 200:
            raise Doubtful(f"HTTP_{reply.status}")
        return self._heard(method, reply.body)

    def _heard(self, method: str, body: bytes) -> Said:
        try:
            said = members(body.decode())
            name = next(n for n in (method.replace(".", "_") + "_response", "error_response") if n in said)
            node, text = said[name]
            words = Said.of(read_as(dict[str, Any], node))
            signature = read_as(str, said.get("sign", ("", ""))[0])
        except (ValueError, StopIteration) as error:
            raise Doubtful("unreadable", str(error)) from error
        if not self._verifier.verify(text.encode(), signature):
            raise Doubtful("bad_signature", f"{words.word}: the reply is not verifiably Alipay's")
        return words

    def _signed(self, method: str, content: Mapping[str, Any], further: Mapping[str, str]) -> dict[str, str]:
        params = {
            "app_id": self.config.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": self._now().astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            **{name: value for name, value in further.items() if value},
            "biz_content": msgspec.json.encode(content).decode(),
        }
        params["sign"] = self._signer.sign(signed_text(params))
        return params

    def refresh_trust(self) -> Exchange[bool]:
        """Alipay's key is part of the configuration: there is nothing to fetch."""
        if False:
            yield  # an exchange without a call
        return False

    def notice(self, inbound: Inbound) -> Notice:
        """Verify and read a callback: see `model.Channel`."""
        try:
            pairs = parse_qsl(
                inbound.body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
            params = each_once(pairs)
            text = signed_text(params, _NOTICE_UNSIGNED)
        except ValueError as error:
            raise BadSignature(f"not a form: {error}") from error
        if params.get("sign_type") != "RSA2" or not self._verifier.verify(text, params.get("sign", "")):
            raise BadSignature("the signature does not verify")
        try:
            said = read_as(Callback, params)
            if said.of_refund:
                return Notice(said.notify_id, Subject.REFUND, said.refund(), said.out_trade_no)
            return Notice(said.notify_id, Subject.PAYMENT, said.payment())
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def ack(self, stored: bool) -> HttpReply:
        """The word `success`, and nothing else; any other answer is a no."""
        return HttpReply(200, {"content-type": "text/plain"}, b"success" if stored else b"fail")

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """The trade bill of one day: its address by a signed reply, then the zip, which is not signed."""
        question = {"bill_type": "trade", "bill_date": ask.day.isoformat()}
        try:
            said = yield from self._call("alipay.data.dataservice.bill.downloadurl.query", question)
            url = _bill_url(said)
            call = HttpCall("GET", url, {"User-Agent": "guilder"}, timeout_s=_DOWNLOAD_TIMEOUT_S, max_bytes=MAX_PACKED)
            file = yield call
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if file.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the download answered {file.status}")
        return read_statement(ask.day, file.body)


def _bill_url(said: Said) -> str:
    if said.code == OK and isinstance(url := said.node.get("bill_download_url"), str) and url:
        return url
    if said.code == BUSINESS_FAILED and said.sub_code == "isp.bill_not_exist":
        raise StatementError(StatementProblem.EMPTY_DAY, said.message)
    raise Doubtful(said.word, said.message)


def _found(type: type[Queried] | type[RefundQueried], said: Said) -> Outcome:
    """The outcome of a query.  That the query itself was refused says nothing of the payment."""
    if said.code == OK:
        try:
            return read_as(type, said.node).outcome()
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error
    if said.code == BUSINESS_FAILED and said.sub_code == NOT_EXIST:
        return Outcome(State.NOT_FOUND)
    raise Doubtful(said.word, said.message)


def _read(type: type[T], said: Said) -> T:
    try:
        return read_as(type, said.node)
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def _read_time(text: str) -> datetime | None:
    try:
        return beijing_instant(text) if text else None
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error
