"""The adapter: asks become signed calls to the one gateway address, verified replies become outcomes.

Ways.       page, wap and app take no call at all: the payer's browser or app is handed a signed order.  Neither there nor with a
            QR code does Alipay know the trade before the payer has opened it, so "there is no such trade" means "not yet".
            jsapi and mini make the trade first, and barcode pays it at once or asks the payer for a password (10003).
Keys.       `out_trade_no`, `out_request_no` and `out_biz_no` are ours and make asking twice harmless.
Replies.    HTTP 200 always; `code` and `sub_code` tell.  What is not signed tells nothing: see `sign` and `trust`.
Callbacks.  Refunds send the same kind as payments do; their own fields tell them apart.  Transfers send a message of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, time
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode

from guilder.channels.alipay import payouts
from guilder.channels.alipay.config import AlipayConfig
from guilder.channels.alipay.funds import read_funds
from guilder.channels.alipay.line import Line
from guilder.channels.alipay.statement import MAX_PACKED, read_statement
from guilder.channels.alipay.states import (
    ABOUT_THE_KEY,
    BUSINESS_FAILED,
    CODE_SPENT,
    IN_PROCESS,
    NOT_EXIST,
    OK,
    Callback,
    Cancelled,
    Made,
    Owner,
    Paid,
    Precreated,
    Queried,
    Refunded,
    RefundQueried,
    Said,
)
from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.info import Info, Operation, Way
from guilder.channels.model import (
    Ask,
    ClosePayment,
    CreatePayment,
    CreatePayout,
    CreateRefund,
    FetchStatement,
    IdentifyPayer,
    Inbound,
    Next,
    Notice,
    Outcome,
    Problem,
    QrCode,
    QueryPayment,
    QueryPayout,
    QueryRefund,
    Redirect,
    Sdk,
    State,
    Statement,
    StatementError,
    StatementKind,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.reading import beijing_instant, read_as, read_json
from guilder.core.check import must, never
from guilder.core.clock import BEIJING, now
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T")

_COUNTER = ("store_id", "terminal_id", "operator_id")
INFO = Info(
    code="alipay",
    title="Alipay",
    titles={"zh": "支付宝"},
    ways=(
        Way("page", "alipay", "web", "redirect"),
        Way("precreate", "alipay", "qr", "qr", takes=_COUNTER),
        Way("wap", "alipay", "wap", "redirect", takes=("quit_url",)),
        Way("app", "alipay", "app", "sdk"),
        Way("jsapi", "alipay", "jsapi", "sdk", needs=("buyer_id",), takes=("app_id", *_COUNTER)),
        Way("mini", "alipay", "mini", "sdk", needs=("buyer_id",), takes=("app_id", *_COUNTER)),
        Way(
            "barcode", "alipay", "barcode", "nothing", needs=("auth_code",), takes=_COUNTER,
            query_after_s=(3, 6, 11, 16, 26, 36), max_expiry_s=45,
            scans=r"(?:2[5-9]|30)\d{14,22}",
        ),
    ),
    currencies=frozenset({"CNY"}),
    operations=frozenset({Operation.CLOSE, Operation.CANCEL, Operation.REFUND, Operation.PAYOUT, Operation.IDENTIFY}),
    min_expiry_s=60,
    max_expiry_s=7200,  # a QR code lives for two hours
    zone=BEIJING,
    day_cut=time(0),
    statement_from=time(9),
    query_after_s=(5, 15, 30, 90),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    statements=("trades", "funds"),
    payee=("account", "name?", "account_type?"),
    extra={
        "buyer_id": "2088... or, with newer apps, the open_id that the wallet's OAuth tells",
        "payouts": "From 0.10 yuan. Alipay wants mode certificate for them, and a name with an account that is an e-mail address or a telephone number.",
    },
)  # fmt: skip

# Ways that only need a signed order -> method, product code.
_HANDED = {
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
}
_BILLS = {StatementKind.TRADES: ("trade", read_statement), StatementKind.FUNDS: ("signcustomer", read_funds)}
_CANCELS = 3  # times that a cancel is tried at once before whoever asked may come again
_IN_SUBJECT = str.maketrans("/=&", "   ")  # "special characters such as / = & must not be used"
_DOWNLOAD_TIMEOUT_S = 60.0


class Alipay:
    """Speaks for one app of one seller.  Raises ValueError if a key cannot be read."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: AlipayConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._now = now
        self._line = Line(config, now)

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment():
                return self._create(ask)
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
            case CreatePayout():
                return self._pay_out(ask)
            case QueryPayout():
                return self._query_payout(ask)
            case IdentifyPayer():
                return self._identify(ask)
        never("every ask that the channel is declared for is answered")

    # --- payments

    def _create(self, ask: CreatePayment) -> Exchange[Outcome]:
        match ask.way:
            case "page" | "wap" | "app":
                return self._hand(ask)
            case "precreate":
                return self._precreate(ask)
            case "jsapi" | "mini":
                return self._make(ask)
            case "barcode":
                return self._scanned(ask)
        never("the way is the channel's")

    def _hand(self, ask: CreatePayment) -> Exchange[Outcome]:
        """Nothing is asked: what the payer is handed makes the trade."""
        method, product_code = _HANDED[ask.way]
        order = {**self._order(ask), "product_code": product_code}
        further = {"notify_url": ask.notify_url}
        if ask.way == "app":
            handed: Next = Sdk("alipay_app", {"order_string": self._line.order_string(method, order, further)})
        else:
            further["return_url"] = ask.return_url or ""
            handed = Redirect(self._line.address(method, order, further))
        if False:
            yield  # an exchange without a call
        return Outcome(State.PENDING, next=handed)

    def _precreate(self, ask: CreatePayment) -> Exchange[Outcome]:
        said = yield from self._line.call("alipay.trade.precreate", self._order(ask), {"notify_url": ask.notify_url})
        if said.code == OK:
            made = _read(Precreated, said)
            return Outcome(State.PENDING, key=made.out_trade_no, next=QrCode(made.qr_code))
        return (yield from self._refused(said, QueryPayment(ask.key, ask.way, self._now())))

    def _make(self, ask: CreatePayment) -> Exchange[Outcome]:
        """Make the trade for a payer who is known; the wallet's page or mini program opens it by its number."""
        order = {**self._order(ask), **_buyer(ask.given), "product_code": "JSAPI_PAY"}
        said = yield from self._line.call("alipay.trade.create", order, {"notify_url": ask.notify_url})
        if said.code == OK:
            made = _read(Made, said)
            handed = Sdk("alipay_jsapi", {"trade_no": made.trade_no})
            return Outcome(State.PENDING, key=made.out_trade_no, channel_ref=made.trade_no, next=handed)
        return (yield from self._refused(said, QueryPayment(ask.key, ask.way, self._now())))

    def _scanned(self, ask: CreatePayment) -> Exchange[Outcome]:
        """The payer's code was scanned: paid at once, or (10003) the payer is asked for a password."""
        order = {**self._order(ask), "scene": "bar_code", "auth_code": ask.given["auth_code"]}
        del order["time_expire"]
        order["timeout_express"] = "1m"  # the least there is; whoever waits gives up before
        said = yield from self._line.call("alipay.trade.pay", order, {"notify_url": ask.notify_url})
        if said.code == OK:
            return _outcome(Paid, said)
        if said.code == IN_PROCESS:
            return Outcome(State.PENDING)
        query = QueryPayment(ask.key, ask.way, self._now())
        if said.sub_code == CODE_SPENT and (problem := said.refusal()):  # perhaps by an earlier ask of this payment
            return (yield from look_first(problem, lambda: self.ask(query)))
        return (yield from self._refused(said, query))

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
        return order | {name: value for name, value in ask.given.items() if value and name in (*_COUNTER, "quit_url")}

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        said = yield from self._line.call("alipay.trade.query", {"out_trade_no": ask.key})
        return _found(Queried, said)

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close; whatever but a plain yes is settled by asking what the trade is now: paid meanwhile, closed before."""
        said = yield from self._line.call("alipay.trade.close", {"out_trade_no": ask.key})
        if said.code == OK:
            return Outcome(State.CLOSED)
        if said.sub_code == NOT_EXIST:
            return Outcome(State.NOT_FOUND)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))

    def _cancel(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Close, or give back what was paid: in both cases nobody will have paid.  Repeated while Alipay says so."""
        for _ in range(_CANCELS):
            said = yield from self._line.call("alipay.trade.cancel", {"out_trade_no": ask.key})
            if said.sub_code == NOT_EXIST:
                return Outcome(State.NOT_FOUND)
            if said.code != OK:
                return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at)))
            done = _read(Cancelled, said)
            if done.retry_flag == "N":
                return Outcome(State.CLOSED, channel_ref=done.trade_no) if done.action else Outcome(State.NOT_FOUND)
            if done.retry_flag != "Y":
                break
        return Outcome(State.UNKNOWN)

    # --- refunds

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        """Give back.  The callback goes where the payment's goes, so `ask.notify_url` is not said."""
        must(ask.amount.asset == ask.payment_amount.asset == "CNY", "the currency is the channel's")
        order = {"out_trade_no": ask.payment_key, "out_request_no": ask.key, "refund_amount": ask.amount.major()}
        if ask.reason:
            order["refund_reason"] = ask.reason[:256]
        query = QueryRefund(ask.key, ask.payment_key, ask.amount)
        said = yield from self._line.call("alipay.trade.refund", order)
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
        said = yield from self._line.call("alipay.trade.fastpay.refund.query", question)
        return _found(RefundQueried, said)

    def _refused(self, said: Said, query: QueryPayment | QueryRefund) -> Exchange[Outcome]:
        problem = said.refusal()
        if problem is None:
            raise Doubtful(said.word, said.message)
        if said.sub_code in ABOUT_THE_KEY:
            return (yield from look_first(problem, lambda: self.ask(query)))
        return Outcome(State.FAILED, problem=problem)

    # --- payouts

    def _pay_out(self, ask: CreatePayout) -> Exchange[Outcome]:
        """Send.  Before a refusal is believed, what lives under the key is looked at: it may have been sent by an earlier ask."""
        must(ask.amount.asset == "CNY", "the currency is the channel's")
        order = payouts.order_of(ask)
        if ask.attach:
            order["passback_params"] = quote(ask.attach, safe="")
        said = yield from self._line.call(payouts.TRANSFER, order, {"notify_url": ask.notify_url})
        if said.code == OK:
            return _outcome(payouts.Transfer, said)
        problem = payouts.refusal(said)
        if problem is None:
            raise Doubtful(said.word, said.message)
        return (yield from look_first(problem, lambda: self.ask(QueryPayout(ask.key, ask.amount, ask.created_at))))

    def _query_payout(self, ask: QueryPayout) -> Exchange[Outcome]:
        said = yield from self._line.call(payouts.QUERY, {"out_biz_no": ask.key, **payouts.KIND})
        return _found(payouts.Transfer, said)

    # --- payers

    def identify_url(self, back: str, state: str) -> str:
        """Where the wallet's browser is sent to learn who its owner is; it comes back to `back` with `auth_code` and `state`."""
        asked = {"app_id": self.config.app_id, "scope": "auth_base", "redirect_uri": back, "state": state}
        return f"{self.config.oauth_url}?{urlencode(asked)}"

    def _identify(self, ask: IdentifyPayer) -> Exchange[Outcome]:
        further = {"grant_type": "authorization_code", "code": ask.code}
        said = yield from self._line.call("alipay.system.oauth.token", None, further)
        if said.code in ("", OK):
            owner = _read(Owner, said)
            if payer := owner.user_id or owner.open_id:
                return Outcome(State.SUCCEEDED, payer=payer)
        if said.sub_code.startswith("isv.code-"):
            return Outcome(State.FAILED, problem=Problem(said.sub_code, said.message, "authentication_required"))
        raise Doubtful(said.word, said.message)

    # --- what Alipay tells by itself

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the certificate that a callback names; keys are part of the configuration, and there is nothing to fetch."""
        return self._line.learn()

    def notice(self, inbound: Inbound) -> Notice:
        """Verify and read a callback: see `model.Channel`."""
        params = self._line.heard(inbound)
        try:
            if method := params.get("msg_method"):
                return _message(method, params)
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
        """A bill of one day: its address by a signed reply, then the zip, which is not signed."""
        bill, read = _BILLS[ask.kind]
        question = {"bill_type": bill, "bill_date": ask.day.isoformat()}
        try:
            said = yield from self._line.call("alipay.data.dataservice.bill.downloadurl.query", question)
            url = _bill_url(said)
            call = HttpCall("GET", url, {"User-Agent": "guilder"}, timeout_s=_DOWNLOAD_TIMEOUT_S, max_bytes=MAX_PACKED)
            file = yield call
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if file.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the download answered {file.status}")
        return read(ask.day, file.body)


def _buyer(given: Mapping[str, str]) -> dict[str, str]:
    """Who pays.  An open_id is known to one app only: the mini program's, where one is named, else ours."""
    buyer, app = given["buyer_id"], given.get("app_id", "")
    said = {"op_app_id": app} if app else {}
    if payouts.USER_ID.fullmatch(buyer):
        return said | {"buyer_id": buyer}
    return said | {"op_buyer_open_id" if app else "buyer_open_id": buyer}


def _message(method: str, params: Mapping[str, str]) -> Notice:
    """A message about a transfer.  It comes to the address that is set for the app on Alipay's platform."""
    if method != payouts.CHANGED:
        raise ValueError(f"nothing is known of {method}")
    outcome = replace(
        read_as(payouts.Transfer, read_json(params.get("biz_content", ""))).outcome(), app_ref=params.get("app_id", "?")
    )
    if not (event_id := params.get("notify_id", "")):
        raise ValueError("the message has no notify_id")
    return Notice(event_id, Subject.PAYOUT, outcome)


def _bill_url(said: Said) -> str:
    if said.code == OK and isinstance(url := said.node.get("bill_download_url"), str) and url:
        return url
    if said.code == BUSINESS_FAILED and said.sub_code == "isp.bill_not_exist":
        raise StatementError(StatementProblem.EMPTY_DAY, said.message)
    raise Doubtful(said.word, said.message)


_Told = type[Queried] | type[RefundQueried] | type[Paid] | type[payouts.Transfer]


def _found(type: _Told, said: Said) -> Outcome:
    """The outcome of a query.  That the query itself was refused says nothing of the payment."""
    if said.code == OK:
        return _outcome(type, said)
    if said.code == BUSINESS_FAILED and said.sub_code in (NOT_EXIST, payouts.NOT_EXIST):
        return Outcome(State.NOT_FOUND)
    raise Doubtful(said.word, said.message)


def _outcome(type: _Told, said: Said) -> Outcome:
    try:
        return read_as(type, said.node).outcome()
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


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
