"""What Alipay's words mean: trade states, reply codes, and the fields of replies and callbacks."""

from typing import Any

import msgspec

from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.channels.reading import beijing_instant
from guilder.core.amount import Amount

# TRADE_CLOSED is also what a wholly refunded trade becomes.  Which it is, only our own history tells: an attempt that was
# heard to succeed stays succeeded.
TRADE_STATUS = {
    "WAIT_BUYER_PAY": State.PENDING,
    "TRADE_SUCCESS": State.SUCCEEDED,
    "TRADE_FINISHED": State.SUCCEEDED,
    "TRADE_CLOSED": State.CLOSED,
}

OK = "10000"
IN_PROCESS = "10003"  # of a barcode: the payer is asked for a password
BUSINESS_FAILED = "40004"
NOT_EXIST = "ACQ.TRADE_NOT_EXIST"
CODE_SPENT = "ACQ.PAYMENT_AUTH_CODE_INVALID"  # a payer's code is good for one payment and a minute
# The gateway turned the call down before anything was done.  20000 (unavailable) and 40005 (rate limit) are not among them.
NOT_ADMITTED = frozenset({"20001", "40001", "40002", "40003", "40006"})
# These may speak of the key itself: used, paid, refunded or closed already.  What lives under the key decides.
ABOUT_THE_KEY = frozenset(
    {
        "ACQ.CONTEXT_INCONSISTENT",
        "ACQ.TRADE_HAS_SUCCESS",
        "ACQ.TRADE_HAS_CLOSE",
        "ACQ.DISCORDANT_REPEAT_REQUEST",
        "ACQ.TRADE_STATUS_ERROR",
        "ACQ.TRADE_HAS_FINISHED",
        "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
        "ACQ.TRADE_NOT_ALLOW_REFUND",
    }
)
# sub_code -> our decline code, and what may be done.  What is not here is unknown.
REFUSED = {
    "ACQ.CONTEXT_INCONSISTENT": ("duplicate_transaction", Retry.NEW_KEY),
    "ACQ.TRADE_HAS_SUCCESS": ("duplicate_transaction", Retry.NEW_KEY),
    "ACQ.TRADE_HAS_CLOSE": ("generic_decline", Retry.NEW_KEY),
    "ACQ.TRADE_HAS_FINISHED": ("processing_error", Retry.NEVER),
    "ACQ.TRADE_STATUS_ERROR": ("processing_error", Retry.NEVER),
    "ACQ.DISCORDANT_REPEAT_REQUEST": ("duplicate_transaction", Retry.NEW_KEY),
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": ("insufficient_funds", Retry.NEW_KEY),
    "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH": ("insufficient_funds", Retry.NEW_KEY),
    CODE_SPENT: ("invalid_account", Retry.NEW_KEY),
    "ACQ.EXIST_FORBIDDEN_WORD": ("processing_error", Retry.NEVER),
    "ACQ.TOTAL_FEE_EXCEED": ("invalid_amount", Retry.NEVER),
    "ACQ.ACCESS_FORBIDDEN": ("service_not_allowed", Retry.NEVER),
    "ACQ.INVALID_PARAMETER": ("processing_error", Retry.NEVER),
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": ("insufficient_funds", Retry.SAME_KEY),
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": ("invalid_amount", Retry.NEVER),
    "ACQ.TRADE_NOT_ALLOW_REFUND": ("transaction_not_allowed", Retry.NEVER),
    NOT_EXIST: ("processing_error", Retry.NEVER),
}


class Said(msgspec.Struct, frozen=True):
    """A verified reply: its codes, and the object that carries them."""

    code: str
    sub_code: str
    message: str
    node: dict[str, Any]

    @classmethod
    def of(cls, node: dict[str, Any]) -> "Said":
        """OAuth alone answers without a code when all is well."""
        words = msgspec.convert(node, _Codes)
        return cls(words.code, words.sub_code, words.sub_msg or words.msg, node)

    @property
    def word(self) -> str:
        """The code that says most."""
        return self.sub_code or self.code

    @property
    def not_admitted(self) -> bool:
        """Whether the gateway turned the call down before anything was done."""
        return self.code in NOT_ADMITTED

    def refusal(self) -> Problem | None:
        """Why the call was turned down, if that is certain."""
        if self.not_admitted:
            return Problem(self.word, self.message, "processing_error", Retry.NEVER)
        return self.failed(REFUSED.get(self.sub_code))

    def failed(self, meaning: tuple[str, Retry] | None) -> Problem | None:
        """The problem of a business failure whose sub_code means this; None if it is none, or means nothing certain."""
        if self.code != BUSINESS_FAILED or meaning is None:
            return None
        decline_code, retry = meaning
        return Problem(self.sub_code, self.message, decline_code, retry)


class _Codes(msgspec.Struct, frozen=True):
    code: str = ""
    msg: str = ""
    sub_code: str = ""
    sub_msg: str = ""


class Queried(msgspec.Struct, frozen=True):
    """alipay.trade.query"""

    out_trade_no: str
    trade_no: str
    trade_status: str
    total_amount: str
    send_pay_date: str = ""
    buyer_user_id: str = ""
    buyer_open_id: str = ""

    def outcome(self) -> Outcome:
        state = TRADE_STATUS.get(self.trade_status, State.UNKNOWN)
        return Outcome(
            state,
            key=self.out_trade_no,
            channel_ref=self.trade_no,
            amount=Amount.from_major(self.total_amount, "CNY"),
            at=beijing_instant(self.send_pay_date) if self.send_pay_date and state is State.SUCCEEDED else None,
            payer=self.buyer_user_id or self.buyer_open_id or None,
        )


class Precreated(msgspec.Struct, frozen=True):
    """alipay.trade.precreate"""

    out_trade_no: str
    qr_code: str


class Made(msgspec.Struct, frozen=True):
    """alipay.trade.create: unlike with a QR code the trade is there from now on."""

    out_trade_no: str
    trade_no: str


class Paid(msgspec.Struct, frozen=True):
    """alipay.trade.pay: with code 10000 the money has moved; with 10003 only some of this is said."""

    out_trade_no: str
    trade_no: str
    total_amount: str
    gmt_payment: str = ""
    buyer_user_id: str = ""
    buyer_open_id: str = ""

    def outcome(self) -> Outcome:
        return Outcome(
            State.SUCCEEDED,
            key=self.out_trade_no,
            channel_ref=self.trade_no,
            amount=Amount.from_major(self.total_amount, "CNY"),
            at=beijing_instant(self.gmt_payment) if self.gmt_payment else None,
            payer=self.buyer_user_id or self.buyer_open_id or None,
        )


class Owner(msgspec.Struct, frozen=True):
    """alipay.system.oauth.token: who holds the wallet.  Newer apps are told an open_id of their own only."""

    user_id: str = ""
    open_id: str = ""


class Cancelled(msgspec.Struct, frozen=True):
    """alipay.trade.cancel: `action` is close or refund, absent where there was nothing yet."""

    retry_flag: str
    action: str = ""
    trade_no: str | None = None


class Refunded(msgspec.Struct, frozen=True):
    """alipay.trade.refund: its refund_fee is the sum of all refunds of the trade, so it is not this one's amount."""

    out_trade_no: str
    trade_no: str
    fund_change: str = "N"
    gmt_refund_pay: str = ""


class RefundQueried(msgspec.Struct, frozen=True):
    """alipay.trade.fastpay.refund.query: code 10000 only means that the query worked."""

    out_request_no: str = ""
    out_trade_no: str = ""
    trade_no: str = ""
    refund_status: str = ""
    refund_amount: str = ""
    gmt_refund_pay: str = ""

    def outcome(self) -> Outcome:
        if self.refund_status not in ("", "REFUND_SUCCESS"):
            return Outcome(State.UNKNOWN, key=self.out_request_no or None)
        if not self.refund_status and not self.refund_amount:
            return Outcome(State.NOT_FOUND)
        return Outcome(
            State.SUCCEEDED,
            key=self.out_request_no or None,
            channel_ref=self.trade_no or None,
            amount=Amount.from_major(self.refund_amount, "CNY") if self.refund_amount else None,
            at=beijing_instant(self.gmt_refund_pay) if self.gmt_refund_pay else None,
        )


class Callback(msgspec.Struct, frozen=True):
    """trade_status_sync.  One is sent for every payment, close and refund; those of refunds are told by their own fields."""

    notify_id: str
    app_id: str
    out_trade_no: str
    trade_no: str
    trade_status: str
    total_amount: str
    seller_id: str | None = None
    out_biz_no: str = ""
    refund_fee: str = ""
    gmt_payment: str = ""
    gmt_refund: str = ""
    buyer_id: str = ""
    buyer_open_id: str = ""

    @property
    def of_refund(self) -> bool:
        refunded = Amount.from_major(self.refund_fee, "CNY").units if self.refund_fee else 0
        return bool(self.gmt_refund or self.out_biz_no or refunded)

    def payment(self) -> Outcome:
        state = TRADE_STATUS.get(self.trade_status, State.UNKNOWN)
        return Outcome(
            state,
            key=self.out_trade_no,
            channel_ref=self.trade_no,
            amount=Amount.from_major(self.total_amount, "CNY"),
            account_ref=self.seller_id,
            app_ref=self.app_id,
            at=beijing_instant(self.gmt_payment) if self.gmt_payment and state is State.SUCCEEDED else None,
            payer=self.buyer_id or self.buyer_open_id or None,
        )

    def refund(self) -> Outcome:
        """Its refund_fee is the sum so far, so the refund's own amount is not said.  gmt_refund has a fraction of a second."""
        return Outcome(
            State.SUCCEEDED if self.trade_status in TRADE_STATUS else State.UNKNOWN,
            key=self.out_biz_no or None,
            channel_ref=self.trade_no,
            account_ref=self.seller_id,
            app_ref=self.app_id,
            at=beijing_instant(self.gmt_refund.partition(".")[0]) if self.gmt_refund else None,
        )
