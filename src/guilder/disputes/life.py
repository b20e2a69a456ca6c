"""The life of a dispute: pure decisions over what a batch has locked.  D1 to D4 stand in the package's docstring."""

from uuid import UUID

import msgspec

from guilder.channels import model as channel
from guilder.core import ids
from guilder.core.amount import Amount
from guilder.disputes import events
from guilder.disputes.model import Dispute, Move
from guilder.disputes.scene import Scene
from guilder.disputes.states import DISPUTE_NEXT, ENDED
from guilder.ledger import Account, Journal, Transfer, payable, receivable
from guilder.platform.case import Case

S = channel.DisputeState


class Collected(msgspec.Struct, frozen=True):
    """The charge that is in question."""

    book_id: UUID
    charge_id: UUID
    intent_id: UUID
    attempt_id: UUID
    channel_account_id: UUID
    channel: str
    funds: str
    amount: int
    currency: str
    root_id: UUID
    business_line: str


def contradiction(of: Collected, said: channel.Dispute) -> str | None:
    """What in `said` cannot be true of the charge; None if nothing."""
    if said.amount.asset != of.currency or said.amount.units > of.amount:
        return f"the channel disputes {said.amount} of a charge of {Amount(of.amount, of.currency)}"
    return None


def hear(scene: Scene, known: Dispute | None, of: Collected, said: channel.Dispute) -> Case | None:
    """Apply what the channel said; a Case if it cannot be believed (it is noted already)."""
    if known is None:
        if wrong := contradiction(of, said):
            return _doubt(scene, of.book_id, said, "dispute_mismatch", wrong)
        known = _open(scene, of, said)
    elif known.state in ENDED:
        if said.state in ENDED and said.state is not known.state:
            summary = f"the channel says {said.state.value} of a dispute that it had said {known.state.value} of"
            return _doubt(scene, known.book_id, said, "dispute_end_changed", summary)
        return None  # told late or twice
    elif wrong := contradiction(of, said):
        return _doubt(scene, known.book_id, said, "dispute_mismatch", wrong)
    _go_on(scene, known, said)
    return None


def _open(scene: Scene, of: Collected, said: channel.Dispute) -> Dispute:
    known = Dispute(
        of.book_id, ids.new_id(), 0, S.NEEDS_RESPONSE, said.amount.units, said.amount.asset, said.reason, of.charge_id, of.intent_id,
        of.attempt_id, of.channel_account_id, of.channel, of.funds, said.ref, False, 0, 0, said.due_at, None, None, {}, of.root_id,
        of.business_line, scene.at,
    )  # fmt: skip
    scene.changes.new_disputes[of.channel_account_id, said.ref] = known
    _moved(scene, known, None)
    events.say(scene, "charge.dispute.created", known)
    days = 3 if said.due_at is None else max(0, (said.due_at - scene.at).days - 1)
    case = Case(
        of.book_id, "dispute", ids.show("dp", known.id), f"A payer disputes {said.amount} ({said.reason}): answer with evidence, or give in.",
        {"dispute": ids.show("dp", known.id), "charge": ids.show("ch", of.charge_id), "channel_ref": said.ref,
         "due": said.due_at.isoformat() if said.due_at else None},
        due_days=days,
    )  # fmt: skip
    scene.changes.cases.append(case)
    return known


def _go_on(scene: Scene, d: Dispute, said: channel.Dispute) -> None:
    scene.changes.disputes[d.channel_account_id, d.ref] = d
    before = (d.state, d.due_at, d.reason)
    d.due_at, d.reason = said.due_at or d.due_at, said.reason or d.reason
    ends = said.state in ENDED
    if said.amount.units != d.amount:
        _change_amount(scene, d, said.amount.units)
    # (D2) One that is won gives back, one that is lost takes; before that an older word may come late, and gives nothing back.
    has = said.state is S.LOST or (not ends and (d.taken or said.taken))
    if has != d.taken:
        _move_money(scene, d, said, out=has)
    if said.state is not d.state and said.state in DISPUTE_NEXT[d.state]:
        was, d.state = d.state, said.state
        _moved(scene, d, was.value)
    if ends:
        events.say(scene, "charge.dispute.closed", d)
    elif (d.state, d.due_at, d.reason) != before:
        events.say(scene, "charge.dispute.updated", d)


def _change_amount(scene: Scene, d: Dispute, units: int) -> None:
    """It is about another amount now: of what the channel has, the difference is booked."""
    more, d.amount = units - d.amount, units
    if d.taken:
        d.moves += 1
        account, owed = _ends(d)
        move = Transfer(account, owed, more) if more > 0 else Transfer(owed, account, -more)
        _book(scene, d, "dispute_taken" if more > 0 else "dispute_returned", (move,))
    events.say(scene, "charge.dispute.updated", d)


def _ends(d: Dispute) -> tuple[Account, Account]:
    return payable(d.currency, d.funds, d.channel_account_id), receivable(d.channel_account_id, d.currency)  # pyrefly: ignore[bad-argument-type]


def _book(scene: Scene, d: Dispute, rule: str, moves: tuple[Transfer, ...]) -> None:
    key = f"dispute:{ids.text(d.id)}:{d.moves}"
    scene.changes.journals.append(
        Journal(d.book_id, key, rule, moves, d.id, scene.at, d.root_id, d.business_line, carried=True)
    )


def _move_money(scene: Scene, d: Dispute, said: channel.Dispute, *, out: bool) -> None:
    d.taken, d.moves = out, d.moves + 1
    account, owed = _ends(d)
    moves = [Transfer(account, owed, d.amount) if out else Transfer(owed, account, d.amount)]
    if out and not d.fee and said.fee is not None and said.fee.units and said.fee.asset == d.currency:
        d.fee = said.fee.units
        moves.append(Transfer(account, owed, d.fee))
    _book(scene, d, "dispute_taken" if out else "dispute_returned", tuple(moves))
    events.say(scene, "charge.dispute.funds_withdrawn" if out else "charge.dispute.funds_reinstated", d)


def _doubt(scene: Scene, book_id: UUID, said: channel.Dispute, kind: str, summary: str) -> Case:
    evidence = {"door": scene.door, "channel_ref": said.ref, "state": said.state.value, "amount": str(said.amount)}
    case = Case(book_id, kind, said.ref, summary, evidence, f"{said.state.value} {said.amount}")
    scene.changes.cases.append(case)
    return case


def _moved(scene: Scene, d: Dispute, was: str | None) -> None:
    scene.changes.moves.append(Move(d.book_id, d.id, was, d.state.value, scene.door, d.root_id, scene.at))
