"""Transfers to other people's Alipay: what they are asked with, and what the answers mean.

Source: alipay.fund.trans.uni.transfer, alipay.fund.trans.common.query and the message alipay.fund.trans.order.changed
(opendocs.alipay.com).
"""

import re
from typing import Any

import msgspec

from guilder.channels.alipay.states import Said
from guilder.channels.model import CreatePayout, Outcome, Problem, Retry, State
from guilder.channels.reading import beijing_instant
from guilder.core.amount import Amount

TRANSFER = "alipay.fund.trans.uni.transfer"
QUERY = "alipay.fund.trans.common.query"
CHANGED = "alipay.fund.trans.order.changed"
KIND = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}
NOT_EXIST = "ORDER_NOT_EXIST"
USER_ID = re.compile(r"2088\d{12}", re.ASCII)
_LOGON_ID = re.compile(r"[^@\s]+@[^@\s]+|\+?[\d-]{5,20}", re.ASCII)  # an e-mail address or a telephone number

# REFUND: what had been sent came back.  CLOSED: nobody took it in time.  Neither has moved money in the end.
STATUS = {
    "SUCCESS": State.SUCCEEDED,
    "WAIT_PAY": State.PENDING,
    "DEALING": State.PENDING,
    "CLOSED": State.FAILED,
    "FAIL": State.FAILED,
    "REFUND": State.FAILED,
}

_NO_MONEY = ("insufficient_funds", Retry.SAME_KEY)
_NO_ACCOUNT = ("invalid_account", Retry.NEW_KEY)
_NOT_ALLOWED = ("service_not_allowed", Retry.NEVER)
_PAYEE = ("transaction_not_allowed", Retry.NEW_KEY)
_TOO_MUCH = ("invalid_amount", Retry.NEVER)
# sub_code -> our decline code, and what may be done.  What is not here is unknown; SYSTEM_ERROR is so by its own words:
# "the result cannot be told: repeat with the same out_biz_no, or query".
REFUSED = {
    "PAYER_BALANCE_NOT_ENOUGH": _NO_MONEY,
    "BALANCE_IS_NOT_ENOUGH": _NO_MONEY,
    "PAYMENT_MONEY_NOT_ENOUGH": _NO_MONEY,
    **dict.fromkeys(
        ("PAYEE_NOT_EXIST", "PAYEE_ACCOUNT_NOT_EXSIT", "PAYEE_USER_INFO_ERROR", "PAYEE_ACC_OCUPIED", "PAYER_PAYEE_CANNOT_SAME",
         "PAYEE_USER_TYPE_ERROR"),
        _NO_ACCOUNT,
    ),
    **dict.fromkeys(
        ("PAYEE_ACCOUNT_STATUS_ERROR", "PAYEE_USERINFO_STATUS_ERROR", "PERM_AML_NOT_REALNAME_REV", "PERMIT_NON_BANK_LIMIT_PAYEE",
         "PAYEE_TRUSTEESHIP_ACC_OVER_LIMIT", "TRUSTEESHIP_RECIEVE_QUOTA_LIMIT", "NO_ACCOUNT_RECEIVE_PERMISSION",
         "PAYEE_NOT_RELNAME_CERTIFY", "RELEASE_USER_FORBBIDEN_RECIEVE", "BLOCK_USER_FORBBIDEN_RECIEVE", "PERMIT_CHECK_RECEIVE_LIMIT"),
        _PAYEE,
    ),
    **dict.fromkeys(
        ("PAYER_STATUS_ERROR", "PAYER_CERTIFY_CHECK_FAIL", "PAYER_DATA_INCOMPLETE", "PAYER_CERT_EXPIRED", "PAYER_NOT_EXIST",
         "PAYER_USER_INFO_ERROR", "PAYCARD_UNABLE_PAYMENT", "INVALID_PAYER_ACCOUNT", "MONEY_PAY_CLOSED", "NO_ACCOUNT_PAYMENT_PERMISSION",
         "NO_PERMISSION_ACCOUNT", "PRODUCT_NOT_SIGN", "NOT_IN_WHITE_LIST", "PERMIT_CHECK_PERM_LIMITED",
         "PERMIT_CHECK_PERM_IDENTITY_THEFT", "PERMIT_PAYER_FORBIDDEN", "PERMIT_PAYER_LOWEST_FORBIDDEN", "BLOCK_USER_FORBBIDEN_SEND"),
        _NOT_ALLOWED,
    ),
    **dict.fromkeys(("CERT_MISS_TRANS_LIMIT", "CERT_MISS_ACC_LIMIT"), _TOO_MUCH),
    **dict.fromkeys(
        ("INVALID_PARAMETER", "MEMO_REQUIRED_IN_TRANSFER_ERROR", "REMARK_HAS_SENSITIVE_WORD"), ("processing_error", Retry.NEVER)
    ),
    "PAYMENT_INFO_INCONSISTENCY": ("duplicate_transaction", Retry.NEW_KEY),
    "PAYMENT_TIME_EXPIRE": ("processing_error", Retry.NEW_KEY),
}  # fmt: skip
_LIMITS = "EXCEED_LIMIT_"  # a family: by day, by month, by payee, too little


def order_of(ask: CreatePayout) -> dict[str, Any]:
    """biz_content of a transfer.  What the payee's `account` is shows in it, unless `account_type` says so."""
    account = ask.payee["account"]
    payee = {"identity": account, "identity_type": _identity_type(account, ask.payee.get("account_type", ""))}
    if name := ask.payee.get("name"):
        payee["name"] = name
    order: dict[str, Any] = {"out_biz_no": ask.key, "trans_amount": ask.amount.major(), **KIND, "payee_info": payee}
    order |= {"order_title": ask.description[:128], "remark": ask.description[:200]}
    return {name: value for name, value in order.items() if value}


def _identity_type(account: str, said: str) -> str:
    if said in ("user_id", "logon_id", "open_id"):
        return f"ALIPAY_{said.upper()}"
    if USER_ID.fullmatch(account):
        return "ALIPAY_USER_ID"
    return "ALIPAY_LOGON_ID" if _LOGON_ID.fullmatch(account) else "ALIPAY_OPEN_ID"


def refusal(said: Said) -> Problem | None:
    """Why a transfer was turned down, if that is certain."""
    return said.refusal() if said.not_admitted else said.failed(why(said.sub_code))


def why(code: str) -> tuple[str, Retry] | None:
    """What a code of a transfer means."""
    return _TOO_MUCH if code.startswith(_LIMITS) else REFUSED.get(code)


class Transfer(msgspec.Struct, frozen=True):
    """What a transfer's reply, a query and the message about it say.  A query has pay_date, a reply trans_date."""

    out_biz_no: str
    status: str
    order_id: str = ""
    trans_amount: str = ""
    trans_date: str = ""
    pay_date: str = ""
    error_code: str = ""
    fail_reason: str = ""

    def outcome(self) -> Outcome:
        state = STATUS.get(self.status, State.UNKNOWN)
        at = self.trans_date or self.pay_date
        return Outcome(
            state,
            key=self.out_biz_no,
            channel_ref=self.order_id or None,
            amount=Amount.from_major(self.trans_amount, "CNY") if self.trans_amount else None,
            at=beijing_instant(at) if at and state is State.SUCCEEDED else None,
            problem=self._problem() if state is State.FAILED else None,
        )

    def _problem(self) -> Problem:
        decline_code, retry = why(self.error_code) or ("generic_decline", Retry.NEW_KEY)
        if retry is Retry.SAME_KEY:
            retry = Retry.NEW_KEY  # the order itself has ended
        return Problem(self.error_code or self.status, self.fail_reason, decline_code, retry)
