"""The bank's words as data.  What is not listed is unknown, never a failure (C1)."""

from datetime import UTC, datetime

import msgspec

from guilder.channels.model import Outcome, Problem, Retry, Sdk, State
from guilder.core.amount import Amount

ORDER = {
    "OPEN": State.PENDING,
    "PART": State.PENDING,  # something has come, and not all of it
    "PAID": State.SUCCEEDED,  # all of it, or more: `received` says
    "SHORT": State.SUCCEEDED,  # ended with less than was due: `received` says, and the core makes a case of it
    "CLOSED": State.CLOSED,
}
REFUND = {"PROCESSING": State.PENDING, "DONE": State.SUCCEEDED, "RETURNED": State.FAILED}
REFUSED = {  # codes that say that nothing was done
    "TOO_MUCH": Retry.NEVER,
    "NOT_PAID": Retry.NEVER,
    "INVALID": Retry.NEVER,
}
ABSENT = frozenset({"NO_SUCH_ORDER", "NO_SUCH_REFUND"})
USED = "NUMBER_USED"  # for something else: what lives under it decides


class Error(msgspec.Struct, frozen=True):
    """Why the bank refused."""

    code: str
    message: str = ""

    def problem(self, retry: Retry) -> Problem:
        return Problem(self.code, self.message, retry=retry)


class Order(msgspec.Struct, frozen=True):
    """An order, and the number that was opened for it."""

    order_no: str
    bank_ref: str
    customer: str
    state: str
    account_number: str
    bank_name: str
    amount: int
    received: int
    currency: str
    paid_at: int = 0
    payer: str = ""

    def outcome(self) -> Outcome:
        state = ORDER.get(self.state, State.UNKNOWN)
        units = self.received if state is State.SUCCEEDED else self.amount
        return Outcome(
            state, self.order_no, self.bank_ref, Amount(units, self.currency), self.customer,
            at=_at(self.paid_at), payer=self.payer or None,
        )  # fmt: skip

    def instructions(self) -> Sdk:
        """What the payer is shown."""
        shown = {"bank_name": self.bank_name, "account_number": self.account_number, "reference": self.order_no}
        return Sdk(
            "display_bank_transfer_instructions", shown | {"amount_due": Amount(self.amount, self.currency).major()}
        )


class Refund(msgspec.Struct, frozen=True):
    """A transfer back."""

    refund_no: str
    order_no: str
    bank_ref: str
    customer: str
    state: str
    amount: int
    currency: str
    done_at: int = 0

    def outcome(self) -> Outcome:
        state = REFUND.get(self.state, State.UNKNOWN)
        no = (
            Problem(self.state, "The payer's bank sent it back.", retry=Retry.NEW_KEY)
            if state is State.FAILED
            else None
        )
        amount = Amount(self.amount, self.currency)
        return Outcome(state, self.refund_no, self.bank_ref, amount, self.customer, at=_at(self.done_at), problem=no)


class Event(msgspec.Struct, frozen=True):
    """A callback: one of the two has changed."""

    id: str
    order: Order | None = None
    refund: Refund | None = None


def _at(ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(ms // 1000, UTC) if ms else None
    except (OverflowError, OSError) as error:
        raise ValueError("out of the calendar") from error
