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
NO_TRANSFER = frozenset({"NOT_FOUND"})
# These may speak of the key itself: used, paid or closed already.  What lives under the key decides.
ABOUT_THE_KEY = frozenset({"OUT_TRADE_NO_USED", "INVALID_REQUEST", "ORDER_CLOSED", "ORDERPAID", "TRADE_ERROR"})
# Of a payer's code, which is good once: asked again, the same order may meet them although it was paid.
CODE_SPENT = frozenset({"AUTH_CODE_EXPIRE", "AUTHCODEEXPIRE", "AUTH_CODE_INVALID"})
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
    **dict.fromkeys(CODE_SPENT, ("invalid_auth_code", Retry.NEW_KEY)),
}

TRANSFER_STATE = {
    "ACCEPTED": State.PENDING,
    "PROCESSING": State.PENDING,
    "WAIT_USER_CONFIRM": State.PENDING,
    "TRANSFERING": State.PENDING,
    "SUCCESS": State.SUCCEEDED,
    "FAIL": State.FAILED,
    "CANCELING": State.PENDING,
    "CANCELLED": State.CLOSED,
}
# Why a transfer has failed, where that says more than that it has.
UNPAID = {
    "NAME_NOT_CORRECT": "incorrect_name",
    "REAL_NAME_CHECK_FAIL": "incorrect_name",
    "ID_CARD_NOT_CORRECT": "incorrect_name",
    "OVERDUE_CLOSE": "expired",
    "ACCOUNT_FROZEN": "account_closed",
    "ACCOUNT_NOT_EXIST": "account_closed",
    "OPENID_INVALID": "account_closed",
    "NOT_ENOUGH": "insufficient_funds",
}

Named = Annotated[str, msgspec.Meta(min_length=1)]  # a key of ours
Fen = Annotated[int, msgspec.Meta(ge=0, le=INT64)]


class _Total(msgspec.Struct, frozen=True):
    total: Fen | None = None
    currency: str = "CNY"


class _Payer(msgspec.Struct, frozen=True):
    openid: str | None = None
    sp_openid: str | None = None
    sub_openid: str | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A payment, in replies and callbacks alike: a merchant's own, or one that a service provider asked for.  Unpaid ones leave most
    of it out."""

    out_trade_no: Named
    trade_state: str
    mchid: str | None = None
    appid: str | None = None
    sp_appid: str | None = None
    sub_mchid: str | None = None
    transaction_id: str | None = None
    success_time: str | None = None
    amount: _Total | None = None
    payer: _Payer | None = None

    def outcome(self) -> Outcome:
        account, app = self.sub_mchid or self.mchid, self.sp_appid or self.appid
        if account is None or app is None:
            raise ValueError("it does not say whose payment it is")
        total, payer = self.amount, self.payer or _Payer()
        return Outcome(
            TRADE_STATE.get(self.trade_state, State.UNKNOWN),
            key=self.out_trade_no,
            channel_ref=self.transaction_id,
            amount=None if total is None or total.total is None else Amount(total.total, total.currency),
            account_ref=account,
            app_ref=app,
            at=instant(self.success_time),
            problem=PAYERROR if self.trade_state == "PAYERROR" else None,
            payer=payer.sub_openid or payer.openid or payer.sp_openid,
        )


class _Refunded(msgspec.Struct, frozen=True):
    refund: Fen
    currency: str = "CNY"  # callbacks leave it out


class Refund(msgspec.Struct, frozen=True):
    """A refund, in replies (`status`) and callbacks (`refund_status`)."""

    out_refund_no: Named
    out_trade_no: Named
    refund_id: str
    amount: _Refunded
    status: str | None = None
    refund_status: str | None = None
    success_time: str | None = None
    mchid: str | None = None
    sub_mchid: str | None = None

    def outcome(self) -> Outcome:
        word = self.status or self.refund_status or ""
        return Outcome(
            REFUND_STATE.get(word, State.UNKNOWN),
            key=self.out_refund_no,
            channel_ref=self.refund_id,
            amount=Amount(self.amount.refund, self.amount.currency),
            account_ref=self.sub_mchid or self.mchid,
            at=instant(self.success_time),
            problem=ABNORMAL if word == "ABNORMAL" else None,
        )


class Transfer(msgspec.Struct, frozen=True):
    """A payout.  The reply to a new one leaves out whose it is and how much; only that has what opens the payee's page."""

    out_bill_no: str
    state: str
    transfer_bill_no: str | None = None
    mch_id: str | None = None
    appid: str | None = None
    transfer_amount: Fen | None = None
    openid: str | None = None
    package_info: str | None = None
    fail_reason: str | None = None
    update_time: str | None = None

    def outcome(self) -> Outcome:
        state = TRANSFER_STATE.get(self.state, State.UNKNOWN)
        why = self.fail_reason or "FAIL"
        failed = Problem(why, "The transfer failed.", UNPAID.get(why, "could_not_process"), Retry.NEW_KEY)
        return Outcome(
            state,
            key=self.out_bill_no,
            channel_ref=self.transfer_bill_no,
            amount=None if self.transfer_amount is None else Amount(self.transfer_amount, "CNY"),
            account_ref=self.mch_id,
            app_ref=self.appid,
            at=instant(self.update_time) if state is State.SUCCEEDED else None,
            problem=failed if state is State.FAILED else None,
            payer=self.openid,
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
