"""What UnionPay's words mean: its answer codes, and the fields of replies and callbacks.

The codes are those of the official table (平台接入接口规范 第5部分 附录).  `respCode` is of the message itself; in the reply to a query `origRespCode`
is of what was asked about.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.channels.reading import read_as
from guilder.channels.unionpay.sign import Value
from guilder.core.amount import Amount
from guilder.core.clock import BEIJING

OK = "00"
# A6: with a defect, and done.  42: the payer was debited, though after the time for it: a late success.
SUCCESS = frozenset({OK, "A6", "42"})
# No answer from the bank, unclear, accepted, the payer is typing: ask again.
WAITING = frozenset({"03", "04", "05", "70"})
ACCEPTED = frozenset({OK, "05"})  # of a call that does something: it will be done
NOT_EXIST = "34"
NO_FILE = "98"
# These may speak of the key itself: used, refunded or voided already.  What lives under the key decides.
ABOUT_THE_KEY = frozenset({"12", "35", "36", "45"})
# In the reply to a query these may still turn into success: the official demo asks again.
NOT_YET_FINAL = frozenset({"01", "12", "34", "60"})
# code -> our decline code, and what may be done.  What is not here is unknown: 06 busy, 37 asked too often, 74 debited and
# not credited, 99 ...
REFUSED = {
    "01": ("generic_decline", Retry.NEW_KEY),
    "02": ("try_again_later", Retry.SAME_KEY),  # the system is closed
    "10": ("processing_error", Retry.NEVER),
    "11": ("processing_error", Retry.NEVER),
    "12": ("duplicate_transaction", Retry.NEW_KEY),
    "13": ("processing_error", Retry.NEVER),
    "30": ("generic_decline", Retry.NEW_KEY),
    "31": ("service_not_allowed", Retry.NEVER),
    "32": ("service_not_allowed", Retry.NEVER),
    "33": ("invalid_amount", Retry.NEW_KEY),
    NOT_EXIST: ("processing_error", Retry.NEVER),
    "35": ("transaction_not_allowed", Retry.NEVER),
    "36": ("invalid_amount", Retry.NEVER),
    "38": ("do_not_honor", Retry.NEW_KEY),
    "39": ("try_again_later", Retry.NEW_KEY),
    "40": ("generic_decline", Retry.NEW_KEY),
    "43": ("service_not_allowed", Retry.NEVER),
    "44": ("incorrect_number", Retry.NEW_KEY),
    "45": ("transaction_not_allowed", Retry.NEVER),
    "60": ("generic_decline", Retry.NEW_KEY),
    "61": ("incorrect_number", Retry.NEW_KEY),
    "62": ("card_not_supported", Retry.NEW_KEY),
    "63": ("restricted_card", Retry.NEW_KEY),
    "64": ("insufficient_funds", Retry.NEW_KEY),
    "65": ("incorrect_pin", Retry.NEW_KEY),
    "66": ("invalid_account", Retry.NEW_KEY),
    "67": ("pin_try_exceeded", Retry.NEW_KEY),
    "68": ("card_not_supported", Retry.NEW_KEY),
    "69": ("try_again_later", Retry.NEW_KEY),
    "71": ("authentication_required", Retry.NEW_KEY),
    "72": ("card_not_supported", Retry.NEW_KEY),
    "73": ("expired_card", Retry.NEW_KEY),
    "76": ("authentication_required", Retry.NEW_KEY),
    "77": ("card_not_supported", Retry.NEW_KEY),
    "78": ("restricted_card", Retry.NEW_KEY),
    "80": ("authentication_required", Retry.NEW_KEY),
}
CURRENCY = {"": "CNY", "156": "CNY", "344": "HKD", "840": "USD", "978": "EUR"}
PAYMENT, REFUND, VOID = "01", "04", "31"


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """A verified reply or callback: the fields that matter."""

    resp_code: str
    resp_msg: str = ""
    mer_id: str = ""
    order_id: str = ""
    txn_time: str = ""
    txn_type: str = ""
    txn_sub_type: str = ""
    biz_type: str = ""
    txn_amt: str = ""
    currency_code: str = ""
    query_id: str = ""
    trace_time: str = ""
    settle_date: str = ""
    acc_no: str = ""
    orig_resp_code: str = ""
    orig_resp_msg: str = ""
    orig_qry_id: str = ""
    req_reserved: str = ""
    qr_code: str = ""
    tn: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Value]) -> "Said":
        """ValueError if it has no code, or is no UTF-8."""
        return read_as(cls, {n: bytes(fields[n]).decode() for n in cls.__struct_encode_fields__ if n in fields})

    def problem(self, code: str) -> Problem | None:
        """Why it was refused, if `code` says so for certain."""
        if code not in REFUSED:
            return None
        decline_code, retry = REFUSED[code]
        return Problem(code, self.orig_resp_msg or self.resp_msg, decline_code, retry)

    def outcome(self, code: str, memo: str | None = None) -> Outcome:
        """What `code` makes of the payment or refund that this speaks of.  ValueError if a field is not of its form."""
        state, problem = state_of(code), self.problem(code)
        done = state is State.SUCCEEDED
        return Outcome(
            state,
            key=self.order_id or None,
            channel_ref=self.query_id or None,
            amount=self.amount() if self.txn_amt else None,
            account_ref=self.mer_id or None,
            at=self.at() if done else None,
            problem=problem if state is State.FAILED else None,
            payer=masked(self.acc_no) if done else None,
            memo=memo if done or state is State.PENDING else None,
        )

    def amount(self) -> Amount:
        if not (self.txn_amt.isascii() and self.txn_amt.isdigit()) or len(self.txn_amt) > 12:
            raise ValueError(f"{self.txn_amt!r} is no amount")
        if self.currency_code not in CURRENCY:
            raise ValueError(f"{self.currency_code!r} is no currency that we know")
        return Amount(int(self.txn_amt), CURRENCY[self.currency_code])

    def at(self) -> datetime | None:
        """traceTime has no year; it lies in that of txnTime or, over New Year, in the next."""
        if not self.trace_time or not self.txn_time:
            return None
        sent = read_time(self.txn_time)
        traced = read_time(f"{sent.astimezone(BEIJING).year}{self.trace_time}")
        if traced < sent - timedelta(days=180):
            traced = read_time(f"{sent.astimezone(BEIJING).year + 1}{self.trace_time}")
        return traced


def state_of(code: str) -> State:
    """The state that an answer code tells."""
    if code in SUCCESS:
        return State.SUCCEEDED
    if code in WAITING:
        return State.PENDING
    if code == NOT_EXIST:
        return State.NOT_FOUND
    return State.FAILED if code in REFUSED else State.UNKNOWN


def read_time(text: str) -> datetime:
    """'20180614042747', said in Beijing, in UTC.  ValueError for anything else."""
    if len(text) != 14 or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no time")
    at = datetime(*(int(text[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))), tzinfo=BEIJING)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is out of the calendar") from None


def write_time(at: datetime) -> str:
    """'20180614042747', as told in Beijing."""
    return at.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def masked(account: str) -> str | None:
    """A card's number as UnionPay masks it.  Should it come whole, all but its end is taken out."""
    if not account:
        return None
    return account if "*" in account else f"*********{account[-4:]}"
