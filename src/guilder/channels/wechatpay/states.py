"""What WeChat Pay's words mean: trade states, refund states, error codes, and the objects that carry them."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.channels.reading import instant, read_as, read_json
from guilder.core.amount import INT64, Amount
from guilder.core.exchange import HttpReply

# REFUND: the money came, and some of it went back since; refunds are followed on their own.
TRADE_STATE = {
    "SUCCESS": State.SUCCEEDED,
    "REFUND": State.SUCCEEDED,
    "NOTPAY": State.PENDING,
    "USERPAYING": State.PENDING,
    "ACCEPT": State.PENDING,
    "CLOSED": State.CLOSED,
    "REVOKED": State.CLOSED,
    "PAYERROR": State.FAILED,
}
REFUND_STATE = {
    "SUCCESS": State.SUCCEEDED,
    "PROCESSING": State.PENDING,
    "CLOSED": State.CLOSED,
    "ABNORMAL": State.FAILED,
}
ABNORMAL = Problem("ABNORMAL", "The payer's account takes no money; give it back by hand.", "do_not_honor", Retry.NEVER)
PAYERROR = Problem("PAYERROR", "The payment failed at the payer's bank.", "generic_decline", Retry.NEW_KEY)

NOT_THERE = frozenset({"ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"})
# These may speak of the key itself: used, paid or closed already.  What lives under the key decides.
ABOUT_THE_KEY = frozenset({"OUT_TRADE_NO_USED", "INVALID_REQUEST", "ORDER_CLOSED", "ORDERPAID", "TRADE_ERROR"})
# Code -> our decline code, and what may be done.  What is not here is unknown, and so is every 429 and 5xx.
REFUSED = {
    "PARAM_ERROR": ("processing_error", Retry.NEVER),
    "INVALID_REQUEST": ("processing_error", Retry.NEVER),
    "SIGN_ERROR": ("processing_error", Retry.NEVER),
    "APPID_MCHID_NOT_MATCH": ("processing_error", Retry.NEVER),
    "MCH_NOT_EXISTS": ("processing_error", Retry.NEVER),
    "ORDER_NOT_EXIST": ("processing_error", Retry.NEVER),
    "RESOURCE_NOT_EXISTS": ("processing_error", Retry.NEVER),
    "NO_AUTH": ("service_not_allowed", Retry.NEVER),
    "NOAUTH": ("service_not_allowed", Retry.NEVER),
    "OUT_TRADE_NO_USED": ("duplicate_transaction", Retry.NEW_KEY),
    "ORDERPAID": ("duplicate_transaction", Retry.NEW_KEY),
    "ORDER_CLOSED": ("generic_decline", Retry.NEW_KEY),
    "TRADE_ERROR": ("generic_decline", Retry.NEW_KEY),
    "RULE_LIMIT": ("transaction_not_allowed", Retry.NEW_KEY),
    "ACCOUNT_ERROR": ("do_not_honor", Retry.NEW_KEY),
    "ACCOUNTERROR": ("do_not_honor", Retry.NEW_KEY),
    "USER_ACCOUNT_ABNORMAL": ("do_not_honor", Retry.NEVER),
    "NOT_ENOUGH": ("insufficient_funds", Retry.SAME_KEY),
}

Fen = Annotated[int, msgspec.Meta(ge=0, le=INT64)]


class _Total(msgspec.Struct, frozen=True):
    total: Fen | None = None
    currency: str = "CNY"


class _Payer(msgspec.Struct, frozen=True):
    openid: str | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A payment, in replies and callbacks alike.  Unpaid ones leave most of it out."""

    mchid: str
    appid: str
    out_trade_no: str
    trade_state: str
    transaction_id: str | None = None
    success_time: str | None = None
    amount: _Total | None = None
    payer: _Payer | None = None

    def outcome(self) -> Outcome:
        total = self.amount
        return Outcome(
            TRADE_STATE.get(self.trade_state, State.UNKNOWN),
            key=self.out_trade_no,
            channel_ref=self.transaction_id,
            amount=None if total is None or total.total is None else Amount(total.total, total.currency),
            account_ref=self.mchid,
            app_ref=self.appid,
            at=instant(self.success_time),
            problem=PAYERROR if self.trade_state == "PAYERROR" else None,
            payer=None if self.payer is None else self.payer.openid,
        )


class _Refunded(msgspec.Struct, frozen=True):
    refund: Fen
    currency: str = "CNY"  # callbacks leave it out


class Refund(msgspec.Struct, frozen=True):
    """A refund, in replies (`status`) and callbacks (`refund_status`)."""

    out_refund_no: str
    out_trade_no: str
    refund_id: str
    amount: _Refunded
    status: str | None = None
    refund_status: str | None = None
    success_time: str | None = None
    mchid: str | None = None

    def outcome(self) -> Outcome:
        word = self.status or self.refund_status or ""
        return Outcome(
            REFUND_STATE.get(word, State.UNKNOWN),
            key=self.out_refund_no,
            channel_ref=self.refund_id,
            amount=Amount(self.amount.refund, self.amount.currency),
            account_ref=self.mchid,
            at=instant(self.success_time),
            problem=ABNORMAL if word == "ABNORMAL" else None,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply: {"code", "message"}."""

    code: str
    message: str

    @classmethod
    def read(cls, reply: HttpReply) -> "Refusal":
        """From any reply that is no success; one that cannot be read has its status for a code."""
        try:
            said: Any = read_json(reply.body)
            return cls(read_as(str, said["code"]), read_as(str, said.get("message", "")))
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls(f"HTTP_{reply.status}", "")

    def problem(self) -> Problem:
        decline_code, retry = REFUSED[self.code]
        return Problem(self.code, self.message, decline_code, retry)
