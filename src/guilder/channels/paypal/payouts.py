"""Payouts: a batch of one.  `sender_batch_id` is our key and makes asking twice harmless: the second is refused with a link to the first."""

from dataclasses import replace

import msgspec

from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.channels.paypal.money import OldMoney
from guilder.channels.paypal.objects import checked
from guilder.channels.paypal.states import BATCH_OVER, PAYOUT_STATE
from guilder.channels.reading import instant

# What a payout may know of its payee, and PayPal's word for it; exactly one is needed.
RECIPIENT = {"email": "EMAIL", "paypal_id": "PAYPAL_ID", "phone": "PHONE"}


class _Sender(msgspec.Struct, frozen=True):
    sender_batch_id: str | None = None


class _Header(msgspec.Struct, frozen=True):
    payout_batch_id: str
    batch_status: str
    sender_batch_header: _Sender = _Sender()


class _Error(msgspec.Struct, frozen=True):
    name: str = ""
    message: str = ""


class _Asked(msgspec.Struct, frozen=True):
    amount: OldMoney | None = None
    sender_item_id: str | None = None


class Item(msgspec.Struct, frozen=True):
    """One payment to one payee."""

    payout_item_id: str = ""
    payout_batch_id: str = ""
    transaction_id: str | None = None
    transaction_status: str = ""
    payout_item: _Asked = _Asked()
    payout_item_fee: OldMoney | None = None
    errors: _Error | None = None
    time_processed: str | None = None

    def outcome(self) -> Outcome:
        """ValueError where an amount or a time in it is none."""
        state = PAYOUT_STATE.get(self.transaction_status, State.UNKNOWN)
        done, asked, fee = state is State.SUCCEEDED, self.payout_item, self.payout_item_fee
        return Outcome(
            state,
            key=asked.sender_item_id,
            channel_ref=self.transaction_id or self.payout_item_id or None,
            amount=asked.amount.amount() if asked.amount else None,
            at=instant(self.time_processed) if done else None,
            problem=self._problem() if state in (State.FAILED, State.CLOSED) else None,
            memo=f"B:{checked(self.payout_batch_id)}" if self.payout_batch_id else None,
            fee=fee.amount() if fee and done else None,
        )

    def _problem(self) -> Problem:
        error = self.errors or _Error()
        return Problem(error.name or self.transaction_status, error.message, "processing_error", Retry.NEW_KEY)


class Batch(msgspec.Struct, frozen=True):
    """What a payout is in."""

    batch_header: _Header
    items: list[Item] = []

    def outcome(self) -> Outcome:
        """The item's where it is there already, else the batch's: PENDING until it is denied."""
        header = self.batch_header
        memo = f"B:{checked(header.payout_batch_id)}"
        if len(self.items) > 1:
            raise ValueError("a batch of ours has one item")
        if self.items:
            return replace(self.items[0].outcome(), memo=memo)
        over = BATCH_OVER.get(header.batch_status)
        known = header.batch_status in ("PENDING", "PROCESSING", "SUCCESS")
        return Outcome(
            over or (State.PENDING if known else State.UNKNOWN),
            key=header.sender_batch_header.sender_batch_id,
            memo=memo,
            problem=Problem(header.batch_status, "PayPal denied the payout.", "processing_error", Retry.NEW_KEY)
            if over
            else None,
        )
