"""UnionPay's operations: collect (page, QR code, barcode, app), query, refund, void.

A merchant's orderId is taken once for all his orders, refunds and voids; the real one is free again the day after.
"""

import hashlib
import re
from base64 import b64decode
from dataclasses import dataclass

import msgspec

from guilder.simulators import dials, trades
from guilder.simulators.clock import beijing
from guilder.simulators.model import Account, Refund, Trade
from guilder.simulators.unionpay.channel import WORDS, UnionPay

Content = dict[str, str]
_ORDER = re.compile(r"[0-9A-Za-z]{8,40}")
_TIME = re.compile(r"\d{14}")
_AMOUNT = re.compile(r"[1-9]\d{0,11}")
_QR_NO = re.compile(r"62\d{17}")
_FORBIDDEN = re.compile(r"[&={}\[\]]")
_VALID_MS = 24 * 3_600_000
_SCANNED_MS = 180_000  # a payer who was scanned confirms so soon, or not at all
TELL_NOBODY = "http://www.specialUrl.com"
# (endpoint, txnSubType, bizType, channelType) -> way
WAYS = {
    ("frontTransReq", "01", "000201", "07"): "page",
    ("frontTransReq", "01", "000201", "08"): "wap",
    ("appTransReq", "01", "000201", "08"): "app",
    ("backTransReq", "07", "000000", "08"): "qr",
    ("backTransReq", "06", "000000", "08"): "barcode",
}


class Failed(Exception):
    """The call failed: respCode of the reply."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    def content(self) -> Content:
        """As an answer."""
        return {"respCode": self.code, "respMsg": WORDS[self.code]}


@dataclass(frozen=True, slots=True)
class Ask:
    """A verified request."""

    account: Account
    endpoint: str
    params: dict[str, str]

    def text(self, name: str, form: re.Pattern[str] | None = None) -> str:
        """A field that must be there.  Raises Failed: 13 without it, 10 if it is not of its form."""
        value = self.params.get(name, "")
        if not value:
            raise Failed("13")
        if form is not None and not form.fullmatch(value):
            raise Failed("10")
        return value

    @property
    def order(self) -> str:
        """The merchant's number of what this is about."""
        return self.text("orderId", _ORDER)


class Operations:
    """What the gateway can do."""

    def __init__(self, channel: UnionPay) -> None:
        self._channel = channel
        self._desk = channel.desk

    def look(self, ask: Ask) -> tuple[str, str, str]:
        """The name of the operation for the dials, the order it is about, and the dials of that order."""
        book, kind = self._desk.book, ask.params.get("txnType", "")
        if kind == "01":
            return "create", ask.order, _asked(ask)
        if kind in ("04", "31"):
            trade, op = self._original(ask), "refund" if kind == "04" else "cancel"
            return (op, trade.out_trade_no, trade.dials) if trade else (op, "", "")
        if kind != "00":
            return "query", "", ""
        refund = book.find_refund(ask.account.id, ask.order)
        no = refund.out_trade_no if refund else ask.order
        trade = book.find_trade(ask.account.id, no)
        return "refund_query" if refund else "query", no, trade.dials if trade else ""

    def perform(self, ask: Ask) -> Content:
        """The answer.  Raises Failed."""
        match ask.params.get("txnType"):
            case "01":
                return self._create(ask)
            case "00":
                return self._query(ask)
            case "04":
                return self._refund(ask)
            case "31":
                return self._void(ask)
            case "95":
                return {"certType": "01", "encryptPubKeyCert": self._channel.encryption_certificate()}
        raise Failed("32")

    # --- payments

    def _create(self, ask: Ask) -> Content:
        sub_type, biz_type, channel_type = (ask.params.get(n, "") for n in ("txnSubType", "bizType", "channelType"))
        way = WAYS.get((ask.endpoint, sub_type, biz_type, channel_type))
        if way is None:
            raise Failed("32")
        form = hashlib.sha256(msgspec.json.encode(ask.params, order="deterministic")).hexdigest()
        open_already = self.current(ask.account.id, ask.order)
        if open_already is not None and ask.endpoint == "frontTransReq" and open_already.fingerprint == form:
            return _shown(way, open_already)  # the payer has loaded the page again
        self._must_be_new(ask)
        now, serial = self._desk.clock.now(), self._desk.book.serial()
        reserved = ask.params.get("reqReserved", "")
        if _FORBIDDEN.search(reserved.rstrip("=")) or ask.text("currencyCode") != "156":
            raise Failed("10")
        trade = Trade(
            account=ask.account.id,
            out_trade_no=ask.order,
            channel=self._channel.name,
            channel_ref=_number(now, serial),
            token=_token(way, now, serial),
            way=way,
            amount=int(ask.text("txnAmt", _AMOUNT)),
            currency="CNY",
            description=ask.params.get("orderDesc", ""),
            attach=reserved,
            notify_url="" if ask.text("backUrl") == TELL_NOBODY else ask.text("backUrl"),
            return_url=ask.params.get("frontUrl", ""),
            fingerprint=form,
            dials=_asked(ask),
            created_at=now,
            expires_at=now + _SCANNED_MS if way == "barcode" else self._expires_at(ask, now),
            extra=msgspec.json.encode({"txn_time": ask.text("txnTime", _TIME)}).decode(),
        )
        if way == "barcode":
            ask.text("qrNo", _QR_NO)
        trades.create(self._desk, trade)
        return _shown(way, trade)

    def _must_be_new(self, ask: Ask) -> None:
        book = self._desk.book
        if book.find_trade(ask.account.id, ask.order) or book.find_refund(ask.account.id, ask.order):
            raise Failed("12")

    def _expires_at(self, ask: Ask, now: int) -> int:
        text = ask.params.get("payTimeout")
        if not text:
            return now + _VALID_MS
        at = _ms(ask.text("payTimeout", _TIME))
        if at <= now:
            raise Failed("10")
        return at

    def current(self, account: str, order: str) -> Trade | None:
        """The order of the merchant's number, closed if its time is up: with the dial late_success, paid after all."""
        trade = self._desk.book.find_trade(account, order)
        if trade is not None and trade.state == "waiting" and self._desk.clock.now() >= trade.expires_at:
            trades.close(self._desk, trade)
        return trade

    def _query(self, ask: Ask) -> Content:
        """00 says that the question was understood; origRespCode what became of the order."""
        sent, order = ask.text("txnTime", _TIME), ask.order
        refund = self._desk.book.find_refund(ask.account.id, order)
        trade = self.current(ask.account.id, refund.out_trade_no if refund else order)
        if refund is not None and trade is not None and refund.fingerprint == sent:
            code = {"SUCCESS": "00", "PROCESSING": "05"}.get(refund.state, "63")
            return {**self._channel.of_refund(trade, refund), **_original(code)}
        if trade is None or refund is not None or trade.more()["txn_time"] != sent:
            raise Failed("34")
        return {**self._channel.fact(trade), **_original(self._channel.code(trade))}

    # --- refunds

    def _original(self, ask: Ask) -> Trade | None:
        """The payment that is to be given back: by UnionPay's number, or by the merchant's with its time."""
        book, number = self._desk.book, ask.params.get("origQryId", "")
        if number:
            return book.find_trade_by_ref(ask.account.id, number)
        trade = book.find_trade(ask.account.id, ask.params.get("origOrderId", ""))
        return trade if trade and trade.more()["txn_time"] == ask.params.get("origTxnTime") else None

    def _refund(self, ask: Ask) -> Content:
        """00: accepted.  Part by part, and never more than was paid."""
        trade, amount = self._paid(ask), int(ask.text("txnAmt", _AMOUNT))
        given = trades.refunded(self._desk, trade)
        if given == trade.amount:
            raise Failed("45")
        if given + amount > trade.amount:
            raise Failed("36")
        takes_ms = int(self._channel.refund_takes_s * 1000)
        return self._give_back(ask, trade, amount, takes_ms, trades.refund_dials(self._desk, trade))

    def _void(self, ask: Ask) -> Content:
        """The whole of a payment of this settlement day, at once."""
        trade, now = self._paid(ask), self._desk.clock.now()
        given = trades.refunded(self._desk, trade)
        if given == trade.amount:
            raise Failed("45")
        if given or self._channel.settle_day(trade.paid_at) != self._channel.settle_day(now):
            raise Failed("35")
        if int(ask.text("txnAmt", _AMOUNT)) != trade.amount:
            raise Failed("36")
        return self._give_back(ask, trade, trade.amount, 0, "")

    def _paid(self, ask: Ask) -> Trade:
        self._must_be_new(ask)
        trade = self._original(ask)
        if trade is None or trade.state != "paid":
            raise Failed("35")
        return trade

    def _give_back(self, ask: Ask, trade: Trade, amount: int, takes_ms: int, kept: str) -> Content:
        now, url = self._desk.clock.now(), ask.text("backUrl")
        refund = Refund(
            account=trade.account,
            out_refund_no=ask.order,
            out_trade_no=trade.out_trade_no,
            channel_ref=_number(now, self._desk.book.serial()),
            amount=amount,
            reason=f"{ask.text('txnType')}|{ask.params.get('reqReserved', '')}",
            notify_url="" if url == TELL_NOBODY else url,
            fingerprint=ask.text("txnTime", _TIME),
            created_at=now,
            done_at=now + takes_ms,
            dials=kept,
        )
        trades.accept_refund(self._desk, trade, refund)
        return {"queryId": refund.channel_ref, "origQryId": trade.channel_ref}


def _asked(ask: Ask) -> str:
    """The dials of a new order: its reqReserved is base64 of what the merchant attaches."""
    try:
        attach = b64decode(ask.params.get("reqReserved", ""), validate=True).decode()
    except ValueError:
        attach = ""
    return dials.asked(attach, int(ask.text("txnAmt", _AMOUNT)))


def _original(code: str) -> Content:
    return {"origRespCode": code, "origRespMsg": WORDS[code]}


def _number(now: int, serial: int) -> str:
    """A queryId: 21 digits, the time, the trace number and an 8."""
    return f"{beijing(now):%Y%m%d%H%M%S}{serial % 1_000_000:06d}8"


def _token(way: str, now: int, serial: int) -> str:
    """What the payer's phone reads."""
    if way == "qr":
        return f"https://qr.95516.com/00010000/{serial:026d}"
    return f"{_number(now, serial)}" if way == "app" else f"unionpay-{way}-{serial:x}"


def _shown(way: str, trade: Trade) -> Content:
    match way:
        case "qr":
            return {"qrCode": trade.token}
        case "app":
            return {"tn": trade.token}
        case "barcode":
            return {"queryId": trade.channel_ref}
    return {"go": trade.token}


def _ms(text: str) -> int:
    """'20261121123000', Beijing, in ms.  Raises Failed on nonsense."""
    try:
        parts = [int(text[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
        return int(beijing(0).replace(*parts[:3], hour=parts[3], minute=parts[4], second=parts[5]).timestamp() * 1000)
    except ValueError:
        raise Failed("10") from None
