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

from guilder.channels.model import Info, Outcome, Problem, QrCode, Redirect, Retry, State
from guilder.core import ids
from guilder.core.check import must
from guilder.ledger import Account, Journal, Transfer, payable, receivable, surplus
from guilder.payments import doubts, events, fees
from guilder.payments.model import Attempt, Changes, Charge, Intent, Move, Refund
from guilder.payments.present import Face
from guilder.payments.states import (
    ATTEMPT_NEXT,
    INTENT_NEXT,
    OPEN_ATTEMPT,
    OPEN_REFUND,
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
    if outcome.amount is not None and outcome.amount.units != attempt.amount:
        return "amount_mismatch", f"the channel says {outcome.amount}, we asked for {attempt.money}"
    if outcome.state is State.SUCCEEDED and outcome.amount is None:
        return "amount_missing", "the channel says paid, and not how much"
    return None


def hear_payment(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> Case | None:
    """Apply what the channel said of an attempt; a Case if it cannot be believed (it is noted already)."""
    if outcome.state not in (State.UNKNOWN, State.NOT_FOUND):
        found = contradiction(attempt, outcome, contract)
        if found is not None:
            if outcome.state is State.SUCCEEDED and found[0] in doubts.PAID_OTHERWISE:
                _hold_back(scene, intent, attempt)
            return doubt(scene, attempt, outcome, *found)
    match outcome.state:
        case State.SUCCEEDED:
            return _paid(scene, intent, attempt, outcome, contract)
        case State.FAILED if _not_sent_again(attempt, outcome):
            _unknown(scene, intent, attempt, contract)
        case State.FAILED:
            _failed(scene, intent, attempt, outcome)
        case State.CLOSED:
            _closed(scene, intent, attempt)
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
    if about.ask_at is not None:
        about.ask_at = scene.at + timedelta(hours=1)
        _touch(scene, about)
    return case


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
        _collect(scene, intent, attempt, contract.fee_bps, owed, due)
        return None
    move_attempt(scene, attempt, A.SURPLUS)
    aside = surplus(attempt.currency)
    _book(scene, "surplus", attempt, attempt.amount, owed, aside, attempt.paid_at)
    if first and intent.late_success == "accept":
        _collect(scene, intent, attempt, contract.fee_bps, aside, due, rule="surplus_accepted")
    else:
        _give_back_surplus(scene, intent, attempt)
    return None


def _collect(
    scene: Scene, intent: Intent, attempt: Attempt, fee_bps: int, debit: Account, credit: Account, rule: str = "charge"
) -> None:
    """The success of a payment: its charge, its journal, its events."""
    charge = Charge(
        intent.book_id, ids.new_id(), intent.id, attempt.id, attempt.channel_account_id, TYPE[attempt.channel], 0,
        attempt.amount, 0, attempt.currency, attempt.channel_ref, attempt.paid_at or scene.at, scene.at, fees.of(attempt.amount, fee_bps),
    )  # fmt: skip
    scene.changes.new_charges[charge.key] = charge
    _book(scene, rule, attempt, attempt.amount, debit, credit, charge.paid_at)
    fees.keep(scene.changes, charge)
    intent.charge_id, intent.attempt_id = charge.id, attempt.id
    intent.next_action = intent.last_error = intent.cancel_wanted_at = intent.canceled_at = intent.cancel_reason = None
    move_intent(scene, intent, S.SUCCEEDED)
    events.of_charge(scene.changes, scene.face, "charge.succeeded", charge, intent, scene.at)
    events.of_intent(scene.changes, scene.face, "payment_intent.succeeded", intent, scene.at)


def _give_back_surplus(scene: Scene, intent: Intent, attempt: Attempt) -> None:
    """Open the refund of money that nobody asked for; the sweep sends it."""
    refund = Refund(
        intent.book_id, ids.new_id(), intent.id, attempt.id, None, attempt.channel_account_id, 0, R.UNKNOWN, attempt.amount,
        attempt.currency, "duplicate", {}, None, None, scene.at, 0, None, intent.root_id, intent.business_line, scene.at,
    )  # fmt: skip
    scene.changes.new_refunds[refund.key] = refund
    _move(scene, refund, "refund", None, R.UNKNOWN)


def _failed(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return  # a failure after the end says nothing new
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
    _end_of_try(scene, intent, attempt, error_of(attempt))


def _closed(scene: Scene, intent: Intent, attempt: Attempt) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return
    attempt.ask_at, attempt.close_wanted = None, False
    move_attempt(scene, attempt, A.CLOSED)
    expired = {
        "type": "invalid_request_error",
        "code": "payment_intent_payment_attempt_expired",
        "message": "The payer did not pay in time, and the channel has closed this try. Confirm again for a new one.",
    }
    _end_of_try(scene, intent, attempt, expired)


def _end_of_try(scene: Scene, intent: Intent, attempt: Attempt, error: dict[str, Any]) -> None:
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
    if outcome.next is not None:
        attempt.next_action = show_next(scene.face, intent, attempt, outcome.next)
    _ask_later(scene, attempt, contract.info)
    if intent.attempt_id != attempt.id or intent.status in (S.SUCCEEDED, S.CANCELED):
        return
    if intent.cancel_wanted_at is not None:
        attempt.close_wanted, attempt.ask_at = True, scene.at
        return
    if attempt.next_action is not None and intent.status is not S.REQUIRES_ACTION:
        intent.next_action = attempt.next_action
        move_intent(scene, intent, S.REQUIRES_ACTION)
        events.of_intent(scene.changes, scene.face, "payment_intent.requires_action", intent, scene.at)


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
    due = _scheduled(info.query_after_s, attempt.asked, attempt.created_at, at)
    return min(due, attempt.expires_at + timedelta(seconds=1))


def _scheduled(offsets: Sequence[int], asked: int, since: datetime, at: datetime) -> datetime:
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


def show_next(face: Face, intent: Intent, attempt: Attempt, step: QrCode | Redirect) -> dict[str, Any]:
    """`next_action` of the dialect (ADR 0002)."""
    page = face.pay_url(intent.book_id, intent.id)
    if isinstance(step, Redirect):
        body = {"url": step.url, "return_url": attempt.return_url, "native_url": None, "native_data": None}
        return {"type": "alipay_handle_redirect", "alipay_handle_redirect": body}
    body = {
        "data": step.data,
        "hosted_instructions_url": page,
        "image_data_url": None,
        "image_url_png": f"{page}/qr.png",
        "image_url_svg": f"{page}/qr.svg",
    }
    kind = "wechat_pay_display_qr_code" if attempt.channel == "wechatpay" else f"{attempt.channel}_display_qr_code"
    return {"type": kind, kind: body}


def hear_refund(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> Case | None:
    """Apply what the channel said of a refund."""
    if outcome.state not in (State.UNKNOWN, State.NOT_FOUND):
        found = contradiction(refund, outcome, contract)
        if found is not None and found[0] != "amount_missing":  # a refund is its own key: the amount may be left out
            return doubt(scene, refund, outcome, *found)
    if refund.state not in OPEN_REFUND:
        return _after_the_end(scene, refund, outcome)
    match outcome.state:
        case State.SUCCEEDED:
            _refunded(scene, intent, charge, refund, outcome, contract)
        case State.FAILED | State.CLOSED:
            _refund_failed(scene, intent, charge, refund, outcome, contract)
        case State.PENDING:
            if refund.state is R.UNKNOWN:
                move_refund(scene, refund, R.PENDING)
            _ask_refund_later(scene, refund, contract.info)
        case State.UNKNOWN | State.NOT_FOUND:
            _ask_refund_later(scene, refund, contract.info)
    return None


def _after_the_end(scene: Scene, refund: Refund, outcome: Outcome) -> Case | None:
    """Told twice, it counts once; the opposite of what was told before moves nothing here, and a person has to look."""
    ended = {R.SUCCEEDED: State.SUCCEEDED, R.FAILED: State.FAILED}[refund.state]
    if outcome.state is ended or outcome.state not in (State.SUCCEEDED, State.FAILED):
        return None
    summary = f"the channel says {outcome.state.value} of a refund that it had said {ended.value} of"
    return doubt(scene, refund, outcome, "refund_end_changed", summary)


def _refunded(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> None:
    refund.channel_ref, refund.done_at, refund.ask_at = outcome.channel_ref, outcome.at or scene.at, None
    if outcome.channel_ref:
        scene.changes.channel_refs.setdefault((refund.channel_account_id, "refund " + outcome.channel_ref), refund.key)
    move_refund(scene, refund, R.SUCCEEDED)
    owed = receivable(refund.channel_account_id, refund.currency)
    due = payable(refund.currency, contract.funds, refund.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    if charge is None:
        _book(scene, "surplus_refund", refund, refund.amount, surplus(refund.currency), owed, refund.done_at)
        return
    _book(scene, "refund", refund, refund.amount, due, owed, refund.done_at)
    scene.changes.charges[charge.key] = charge
    events.of_refund(scene.changes, scene.face, "refund.updated", refund, intent, scene.at)
    events.of_charge(scene.changes, scene.face, "charge.refunded", charge, intent, scene.at)


def _refund_failed(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> None:
    problem = outcome.problem
    refund.problem = {
        "reason": "unknown",
        "channel_code": problem.channel_code if problem else None,
        "message": problem.message if problem else None,
    }
    not_asked = problem is not None and problem.retry is Retry.SAME_KEY
    if not_asked or charge is None:  # nothing happened, or money that must go back whatever the channel says: ask again
        _ask_refund_later(scene, refund, contract.info)
        if not not_asked:
            why = problem.message if problem else outcome.state.value
            scene.changes.cases.append(
                Case(refund.book_id, "surplus_refund_refused", ids.mint_key(refund.id, refund.book_id),
                     f"the channel refuses to give a surplus back: {why}", doubts.evidence(outcome, scene.door))
            )  # fmt: skip
        return
    refund.ask_at = None
    move_refund(scene, refund, R.FAILED)
    charge.refunded -= refund.amount  # P4: it counts as collected again, once
    must(charge.refunded >= 0, "P4: a refund is released once")
    scene.changes.charges[charge.key] = charge
    events.of_refund(scene.changes, scene.face, "refund.failed", refund, intent, scene.at)
    events.of_charge(scene.changes, scene.face, "charge.updated", charge, intent, scene.at)


def _ask_refund_later(scene: Scene, refund: Refund, info: Info) -> None:
    refund.ask_at = _scheduled(info.refund_query_after_s, refund.asked, refund.created_at, scene.at)
    scene.changes.refunds[refund.key] = refund


def move_intent(scene: Scene, intent: Intent, to: IntentStatus) -> None:
    """Change a payment's status along the table."""
    if intent.status is to:
        scene.changes.intents[intent.key] = intent
        return
    must(to in INTENT_NEXT[intent.status], f"an intent goes from {intent.status} to {to}")
    was, intent.status = intent.status, to
    _move(scene, intent, "intent", was, to)
    scene.changes.intents[intent.key] = intent


def move_attempt(scene: Scene, attempt: Attempt, to: AttemptState) -> None:
    """Change an attempt's state along the table."""
    must(to in ATTEMPT_NEXT[attempt.state], f"an attempt goes from {attempt.state} to {to}")
    was, attempt.state = attempt.state, to
    _move(scene, attempt, "attempt", was, to)
    scene.changes.attempts[attempt.key] = attempt


def move_refund(scene: Scene, refund: Refund, to: RefundState) -> None:
    """Change a refund's state along the table."""
    must(to in REFUND_NEXT[refund.state], f"a refund goes from {refund.state} to {to}")
    was, refund.state = refund.state, to
    _move(scene, refund, "refund", was, to)
    scene.changes.refunds[refund.key] = refund


def born(scene: Scene, about: Intent | Attempt | Refund, kind: str, state: str) -> None:
    """Note the first state of something new."""
    _move(scene, about, kind, None, state)


def _move(scene: Scene, about: Intent | Attempt | Refund, kind: str, was: str | None, became: str) -> None:
    scene.changes.moves.append(Move(about.book_id, about.id, kind, was, became, scene.door, about.root_id, scene.at))


def _book(
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
