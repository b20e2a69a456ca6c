"""The life of a payment: pure decisions over what a batch has locked.

Each function changes the objects it is given and notes in `Changes` what must be written.  Nothing here awaits, so a batch equals its
items one at a time, in order: the next item sees what this one did.

    P1  A journal is noted in the same breath as the state that it books.
    P2  An intent succeeds once: the first success makes its charge, every further one is a surplus and goes back.
    P3  Only an answer of the channel ends an attempt; silence never does.
    P4  Refunds that are done or on their way never exceed the charge.
    P5  What contradicts the attempt (amount, currency, account, key) credits nothing and becomes a case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.channels.info import Info
from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.core import ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.ledger import Account, Journal, Transfer, payable, receivable, surplus
from guilder.payments import doubts, events, fees, pledges, steps
from guilder.payments.model import Attempt, Changes, Charge, Intent, Move, Refund
from guilder.payments.present import Face
from guilder.payments.states import (
    ATTEMPT_NEXT,
    INTENT_NEXT,
    OPEN_ATTEMPT,
    REFUND_NEXT,
    AttemptState,
    IntentStatus,
    RefundState,
)
from guilder.payments.ways import TYPE
from guilder.platform.case import Case

A, S, R = AttemptState, IntentStatus, RefundState


@dataclass(frozen=True, slots=True)
class Contract:
    """What a decision needs to know of the channel account."""

    account_id: UUID
    account_ref: str
    app_ref: str
    funds: str
    info: Info
    fee_bps: int = 0  # of each charge, for the platform


class Scene(msgspec.Struct, frozen=True):
    """One item's surroundings: where decisions are noted, how things are shown, what time it is, which door it came through."""

    changes: Changes
    face: Face
    at: datetime
    door: str


def contradiction(attempt: Attempt | Refund, outcome: Outcome, contract: Contract) -> tuple[str, str] | None:
    """(P5) What in `outcome` cannot be true of what we asked: a case's kind and a sentence; None if nothing."""
    key = ids.mint_key(attempt.id, attempt.book_id)
    if outcome.key is not None and outcome.key != key:
        return "key_mismatch", f"the channel speaks of {outcome.key}, not of {key}"
    if contract.account_id != attempt.channel_account_id:
        asked, told = ids.show("ca", attempt.channel_account_id), ids.show("ca", contract.account_id)
        return "account_mismatch", f"channel account {told} speaks of what {asked} was asked for"
    if outcome.account_ref is not None and outcome.account_ref != contract.account_ref:
        return "account_mismatch", f"the channel names account {outcome.account_ref}, not {contract.account_ref}"
    if outcome.app_ref is not None and outcome.app_ref != contract.app_ref:
        return "account_mismatch", f"the channel names application {outcome.app_ref}, not {contract.app_ref}"
    if outcome.amount is not None and outcome.amount.asset != attempt.currency:
        return "currency_mismatch", f"the channel says {outcome.amount}, we asked for {attempt.money}"
    if (
        outcome.state is State.SUCCEEDED
        and isinstance(attempt, Attempt)
        and attempt.came is not None
        and not attempt.paid_at
    ):
        aside = Amount(attempt.came, attempt.currency)
        return "amount_mismatch", f"the channel says {outcome.amount}, and {aside} lies aside for it"
    if outcome.amount is not None and outcome.amount.units not in _told(attempt, outcome):
        return (
            "amount_mismatch",
            f"the channel says {outcome.amount}, we asked for {Amount(attempt.due, attempt.currency)}",
        )
    if outcome.state is State.SUCCEEDED and outcome.amount is None:
        return "amount_missing", "the channel says paid, and not how much"
    return None


def _told(about: Attempt | Refund, outcome: Outcome) -> tuple[int, ...]:
    """The amounts that an answer may name: what is collected; before it is, what the order is for too."""
    if outcome.state is not State.SUCCEEDED:
        return (about.due, about.amount)
    return (about.moved if isinstance(about, Attempt) and about.paid_at is not None else about.due,)


def hear_payment(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> Case | None:
    """Apply what the channel said of an attempt; a Case if it cannot be believed (it is noted already)."""
    if outcome.state not in (State.UNKNOWN, State.NOT_FOUND):
        found = contradiction(attempt, outcome, contract)
        if found is not None:
            if outcome.state is State.SUCCEEDED and found[0] in doubts.PAID_OTHERWISE:
                _hold_back(scene, intent, attempt)
            return doubt(scene, attempt, outcome, *found)
    if outcome.memo is not None and outcome.memo != attempt.memo:
        attempt.memo = outcome.memo
        scene.changes.attempts[attempt.key] = attempt
    match outcome.state:
        case State.AUTHORISED:
            return _held(scene, intent, attempt, outcome, contract)
        case State.SUCCEEDED:
            return _paid(scene, intent, attempt, outcome, contract)
        case State.FAILED if _not_sent_again(attempt, outcome):
            _unknown(scene, intent, attempt, contract)
        case State.FAILED if scene.door == "capture" and attempt.state is A.AUTHORISED:
            _not_captured(scene, intent, attempt, outcome, contract)
        case State.FAILED:
            _failed(scene, intent, attempt, outcome)
        case State.CLOSED:
            return _closed(scene, intent, attempt, outcome)
        case State.PENDING:
            _pending(scene, intent, attempt, outcome, contract)
        case State.UNKNOWN | State.NOT_FOUND:
            _unknown(scene, intent, attempt, contract)
    return None


def _hold_back(scene: Scene, intent: Intent, attempt: Attempt) -> None:
    """Money moved, and not as we asked: nobody may pay again until a person has looked."""
    if attempt.state is A.PENDING:
        move_attempt(scene, attempt, A.UNKNOWN)
    if intent.attempt_id == attempt.id and intent.status is S.REQUIRES_ACTION and attempt.state is A.UNKNOWN:
        intent.next_action = attempt.next_action = None
        move_intent(scene, intent, S.PROCESSING)
        events.of_intent(scene.changes, scene.face, "payment_intent.processing", intent, scene.at)


def _not_sent_again(attempt: Attempt, outcome: Outcome) -> bool:
    """(P3) Whether a request that never left says nothing of this attempt, because an earlier one may have arrived."""
    not_sent = outcome.problem is not None and outcome.problem.retry is Retry.SAME_KEY
    return not_sent and (attempt.state is not A.UNKNOWN or attempt.asked > 0)


def doubt(scene: Scene, about: Attempt | Refund, outcome: Outcome, kind: str, summary: str) -> Case:
    """Note a case, and ask again later: nothing else changes."""
    case = doubts.case_of(about, outcome, kind, summary, scene.door)
    scene.changes.cases.append(case)
    if about.ask_at is not None and scene.door != "callback":  # what is told to us unasked delays nothing
        about.ask_at = scene.at + timedelta(hours=1)
        _touch(scene, about)
    return case


def _held(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> Case | None:
    """The payer's money is held for us; it is captured by a call, or let go when the hold ends."""
    if attempt.state not in OPEN_ATTEMPT:
        return doubt(
            scene, attempt, outcome, "late_hold", "the channel holds money for a try that has ended: let it go there"
        )
    if not attempt.hold:
        return doubt(scene, attempt, outcome, "held_not_collected", "the channel holds what it was to collect")
    if attempt.state is not A.AUTHORISED:
        attempt.expires_at = (scene.at + timedelta(seconds=contract.info.hold_s)).replace(microsecond=0)
        move_attempt(scene, attempt, A.AUTHORISED)
    _ask_later(scene, attempt, contract.info)
    decides = intent.attempt_id == attempt.id and attempt.capture is None and intent.cancel_wanted_at is None
    if decides and intent.status in (S.PROCESSING, S.REQUIRES_ACTION):
        intent.next_action = attempt.next_action = None
        move_intent(scene, intent, S.REQUIRES_CAPTURE)
        events.of_intent(scene.changes, scene.face, "payment_intent.amount_capturable_updated", intent, scene.at)
    return None


def _paid(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> Case | None:
    if attempt.state in (A.SUCCEEDED, A.SURPLUS):
        if outcome.channel_ref and attempt.channel_ref and outcome.channel_ref != attempt.channel_ref:
            summary = f"the channel names a second payment, {outcome.channel_ref}, beside {attempt.channel_ref}"
            return doubt(scene, attempt, outcome, "second_channel_ref", summary)
        return None  # told twice, it counts once
    # What was paid pays for the payment as it is now: a try of another amount, from before an update, pays for nothing.
    first = intent.status is not S.SUCCEEDED and (attempt.amount, attempt.currency) == (intent.amount, intent.currency)
    in_time = attempt.state in OPEN_ATTEMPT and intent.status is not S.CANCELED
    attempt.channel_ref = outcome.channel_ref
    attempt.paid_at = outcome.at or scene.at
    attempt.ask_at, attempt.close_wanted = None, False
    if outcome.channel_ref:
        scene.changes.channel_refs[attempt.channel_account_id, outcome.channel_ref] = attempt.key
    owed = receivable(attempt.channel_account_id, attempt.currency)
    due = payable(attempt.currency, contract.funds, attempt.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    if first and in_time:
        move_attempt(scene, attempt, A.SUCCEEDED)
        collect(scene, intent, attempt, contract.fee_bps, owed, due)
        return None
    move_attempt(scene, attempt, A.SURPLUS)
    aside = surplus(attempt.currency)
    book(scene, "surplus", attempt, attempt.due, owed, aside, attempt.paid_at)
    if first and intent.late_success == "accept":
        collect(scene, intent, attempt, contract.fee_bps, aside, due, rule="surplus_accepted")
    else:
        give_back_surplus(scene, intent, attempt)
    return None


def collect(
    scene: Scene, intent: Intent, attempt: Attempt, fee_bps: int, debit: Account, credit: Account, rule: str = "charge"
) -> None:
    """The success of a payment: its charge, its journal, its events."""
    charge = Charge(
        intent.book_id, ids.new_id(), intent.id, attempt.id, attempt.channel_account_id, TYPE[attempt.channel, attempt.way],
        0, attempt.due, 0, attempt.currency, attempt.channel_ref, attempt.paid_at or scene.at, scene.at, fees.of(attempt.due, fee_bps),
    )  # fmt: skip
    scene.changes.new_charges[charge.key] = charge
    book(scene, rule, attempt, attempt.due, debit, credit, charge.paid_at)
    fees.keep(scene.changes, charge)
    pledges.keep(scene.changes, intent, charge)
    intent.charge_id, intent.attempt_id, intent.received = charge.id, attempt.id, charge.amount
    intent.next_action = intent.last_error = intent.cancel_wanted_at = intent.canceled_at = intent.cancel_reason = None
    move_intent(scene, intent, S.SUCCEEDED)
    events.of_charge(scene.changes, scene.face, "charge.succeeded", charge, intent, scene.at)
    events.of_intent(scene.changes, scene.face, "payment_intent.succeeded", intent, scene.at)


def give_back_surplus(scene: Scene, intent: Intent, attempt: Attempt) -> Refund:
    """Open the refund of money that nobody asked for; the sweep sends it."""
    refund = Refund(
        intent.book_id, ids.new_id(), intent.id, attempt.id, None, attempt.channel_account_id, 0, R.UNKNOWN, attempt.moved,
        attempt.currency, "duplicate", {}, None, None, scene.at, 0, None, intent.root_id, intent.business_line, scene.at,
    )  # fmt: skip
    scene.changes.new_refunds[refund.key] = refund
    note_move(scene, refund, "refund", None, R.UNKNOWN)
    return refund


def _failed(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return  # a failure after the end says nothing new
    fail(scene, attempt, outcome)
    end_of_try(scene, intent, attempt, error_of(attempt))


def fail(scene: Scene, attempt: Attempt, outcome: Outcome) -> None:
    """A try has failed, and why; what becomes of its payment is another matter."""
    problem = outcome.problem or Problem("unsaid", "The channel refused and did not say why.")
    declined = problem.retry is not Retry.SAME_KEY
    attempt.problem = {
        "code": "payment_method_provider_decline" if declined else "processing_error",
        "decline_code": problem.decline_code,
        "message": problem.message if declined else f"{problem.message} Nothing was charged; try again.",
        "channel_code": problem.channel_code,
    }
    attempt.ask_at, attempt.close_wanted = None, False
    move_attempt(scene, attempt, A.FAILED)


def _not_captured(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> None:
    """The channel refuses to collect what it holds: it still holds it.  It may be captured again, or let go."""
    attempt.capture, problem = (
        None,
        outcome.problem or Problem("unsaid", "The channel refused to collect, and did not say why."),
    )
    attempt.problem = {
        "code": "processing_error", "message": problem.message, "decline_code": problem.decline_code, "channel_code": problem.channel_code,
    }  # fmt: skip
    _ask_later(scene, attempt, contract.info)
    if intent.attempt_id == attempt.id and intent.status is S.PROCESSING:
        intent.last_error = error_of(attempt)
        move_intent(scene, intent, S.REQUIRES_CAPTURE)
        events.of_intent(scene.changes, scene.face, "payment_intent.amount_capturable_updated", intent, scene.at)


def _closed(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome) -> Case | None:
    if attempt.state in (A.SUCCEEDED, A.SURPLUS) and outcome.problem is not None and scene.door == "close":
        summary = "it was cancelled at the channel, which gave back what was paid, while we heard that it was paid"
        return doubt(scene, attempt, outcome, "reversed_after_success", summary)
    if attempt.state not in OPEN_ATTEMPT:
        return None
    attempt.ask_at, attempt.close_wanted = None, False
    move_attempt(scene, attempt, A.CLOSED)
    expired = {
        "type": "invalid_request_error",
        "code": "payment_intent_payment_attempt_expired",
        "message": "The payer did not pay in time, and the channel has closed this try. Confirm again for a new one.",
    }
    end_of_try(scene, intent, attempt, expired)
    return None


def end_of_try(scene: Scene, intent: Intent, attempt: Attempt, error: dict[str, Any]) -> None:
    """An attempt has ended without money: the payment asks for another, or ends if it was to end."""
    if intent.attempt_id != attempt.id or intent.status in (S.SUCCEEDED, S.CANCELED):
        return  # a newer try decides
    intent.next_action = None
    over = intent.expires_at is not None and intent.expires_at <= scene.at
    if over and intent.cancel_wanted_at is None:
        intent.cancel_wanted_at, intent.cancel_reason = scene.at, "expired"
    if intent.cancel_wanted_at is not None:
        scene.changes.intents[intent.key] = intent
        return  # it ends when no try is open: see `see_to_others`
    intent.last_error = error
    intent.method_id = None
    move_intent(scene, intent, S.REQUIRES_PAYMENT_METHOD)
    events.of_intent(scene.changes, scene.face, "payment_intent.payment_failed", intent, scene.at)


def see_to_others(scene: Scene, attempts: Iterable[Attempt], intent: Intent) -> None:
    """A payment that is paid for, or is to end, needs no open try: they are closed at their channels.  One that is to end does when none is
    open."""
    still_open = [a for a in attempts if a.intent_id == intent.id and a.state in OPEN_ATTEMPT]
    if intent.status is not S.SUCCEEDED and intent.cancel_wanted_at is None:
        return
    for other in still_open:
        if not other.close_wanted:
            other.close_wanted, other.ask_at = True, scene.at
            scene.changes.attempts[other.key] = other
    if intent.status is not S.SUCCEEDED and not still_open:
        cancel(scene, intent, intent.cancel_reason or "expired")


def cancel(scene: Scene, intent: Intent, reason: str) -> None:
    """It can be paid no more; nothing is open at a channel."""
    intent.cancel_reason, intent.canceled_at, intent.cancel_wanted_at = reason, scene.at, None
    intent.next_action = None
    move_intent(scene, intent, S.CANCELED)
    events.of_intent(scene.changes, scene.face, "payment_intent.canceled", intent, scene.at)


def _pending(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return
    if attempt.state is A.UNKNOWN:
        move_attempt(scene, attempt, A.PENDING)
    if outcome.next is not None and attempt.state is A.PENDING:
        attempt.next_action = steps.show(scene.face, intent, attempt, outcome.next)
    _ask_later(scene, attempt, contract.info)
    if scene.door == "callback":  # the payer has done his part: some channels collect when they are asked next
        attempt.ask_at = scene.at
    if intent.attempt_id != attempt.id or intent.status in (S.SUCCEEDED, S.CANCELED):
        return
    if intent.cancel_wanted_at is not None:
        attempt.close_wanted, attempt.ask_at = True, scene.at
        return
    if attempt.next_action is not None and intent.status in (
        S.PROCESSING,
        S.REQUIRES_PAYMENT_METHOD,
        S.REQUIRES_CONFIRMATION,
    ):
        intent.next_action = steps.told(attempt.next_action)
        move_intent(scene, intent, S.REQUIRES_ACTION)
        events.of_intent(scene.changes, scene.face, "payment_intent.requires_action", intent, scene.at)
    elif attempt.next_action is not None and outcome.next is not None and intent.status is S.REQUIRES_ACTION:
        intent.next_action = steps.told(attempt.next_action)  # the front has it now: our page goes on
        scene.changes.intents[intent.key] = intent


def _unknown(scene: Scene, intent: Intent, attempt: Attempt, contract: Contract) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return
    _ask_later(scene, attempt, contract.info)
    first_time = attempt.state is A.UNKNOWN and scene.door == "reply" and intent.attempt_id == attempt.id
    if first_time and intent.status is S.PROCESSING:
        events.of_intent(scene.changes, scene.face, "payment_intent.processing", intent, scene.at)
        scene.changes.intents[intent.key] = intent


def _ask_later(scene: Scene, attempt: Attempt, info: Info) -> None:
    """When to ask the channel next: its own schedule until the expiry, then ever more slowly, and never not at all."""
    attempt.ask_at = next_ask(attempt, info, scene.at)
    scene.changes.attempts[attempt.key] = attempt
    if scene.at - attempt.expires_at > timedelta(days=1):
        summary = f"a day after its expiry the channel has not said what became of it ({attempt.state.value})"
        scene.changes.cases.append(
            Case(
                attempt.book_id,
                "unresolved_attempt",
                ids.mint_key(attempt.id, attempt.book_id),
                summary,
                {"asked": attempt.asked},
            )
        )


def next_ask(attempt: Attempt, info: Info, at: datetime) -> datetime:
    """The next instant of the channel's query schedule; the expiry itself is one."""
    past = at - attempt.expires_at
    if past >= timedelta(0):
        return at + timedelta(minutes=1 if past < timedelta(hours=1) else 60)
    if attempt.state is A.AUTHORISED and attempt.capture is None and not attempt.close_wanted:
        return min(at + timedelta(hours=6), attempt.expires_at)  # until it is captured or ends, nothing happens
    due = scheduled(info.asks_after(attempt.way), attempt.asked, attempt.created_at, at)
    return min(due, attempt.expires_at + timedelta(seconds=1))


def scheduled(offsets: Sequence[int], asked: int, since: datetime, at: datetime) -> datetime:
    """The next instant of a schedule that is told in seconds after `since`; its last step repeats."""
    if asked < len(offsets):
        return max(since + timedelta(seconds=offsets[asked]), at + timedelta(seconds=1))
    return at + timedelta(seconds=offsets[-1])


def error_of(attempt: Attempt) -> dict[str, Any]:
    """The `last_payment_error` of a failed attempt."""
    problem = attempt.problem or {}
    return {
        "type": "card_error",
        "code": problem.get("code", "payment_method_provider_decline"),
        "decline_code": problem.get("decline_code"),
        "message": problem.get("message") or "The payment was declined.",
        "network_decline_code": problem.get("channel_code"),
    }


def move_intent(scene: Scene, intent: Intent, to: IntentStatus) -> None:
    """Change a payment's status along the table."""
    if intent.status is to:
        scene.changes.intents[intent.key] = intent
        return
    must(to in INTENT_NEXT[intent.status], f"an intent goes from {intent.status} to {to}")
    was, intent.status = intent.status, to
    note_move(scene, intent, "intent", was, to)
    scene.changes.intents[intent.key] = intent


def move_attempt(scene: Scene, attempt: Attempt, to: AttemptState) -> None:
    """Change an attempt's state along the table."""
    must(to in ATTEMPT_NEXT[attempt.state], f"an attempt goes from {attempt.state} to {to}")
    was, attempt.state = attempt.state, to
    note_move(scene, attempt, "attempt", was, to)
    scene.changes.attempts[attempt.key] = attempt


def move_refund(scene: Scene, refund: Refund, to: RefundState) -> None:
    """Change a refund's state along the table."""
    must(to in REFUND_NEXT[refund.state], f"a refund goes from {refund.state} to {to}")
    was, refund.state = refund.state, to
    note_move(scene, refund, "refund", was, to)
    scene.changes.refunds[refund.key] = refund


def born(scene: Scene, about: Intent | Attempt | Refund, kind: str, state: str) -> None:
    """Note the first state of something new."""
    note_move(scene, about, kind, None, state)


def note_move(scene: Scene, about: Intent | Attempt | Refund, kind: str, was: str | None, became: str) -> None:
    scene.changes.moves.append(Move(about.book_id, about.id, kind, was, became, scene.door, about.root_id, scene.at))


def book(
    scene: Scene, rule: str, about: Attempt | Refund, units: int, debit: Account, credit: Account, at: datetime
) -> None:
    scene.changes.journals.append(
        Journal(about.book_id, f"{rule}:{ids.text(about.id)}", rule, (Transfer(debit, credit, units),), about.id, at,
                about.root_id, about.business_line, carried=True)
    )  # fmt: skip


def _touch(scene: Scene, about: Attempt | Refund) -> None:
    if isinstance(about, Attempt):
        scene.changes.attempts[about.key] = about
    else:
        scene.changes.refunds[about.key] = about
