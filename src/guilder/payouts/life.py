"""The life of a payout: pure decisions over what a batch has locked.  O1 to O3 stand in the package's docstring."""

from datetime import timedelta

from guilder.channels.info import Info
from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.core import ids
from guilder.core.check import must
from guilder.ledger import Journal, Transfer, capture, hold, payable, receivable, release
from guilder.payments import doubts, steps
from guilder.payments.life import Contract, scheduled
from guilder.payouts import events
from guilder.payouts.model import Changes, Move, Payout
from guilder.payouts.scene import Scene
from guilder.payouts.states import OPEN_PAYOUT, PAYOUT_NEXT, PayoutState
from guilder.platform.case import Case

S = PayoutState


def held(p: Payout) -> Journal:
    """(O1) The journal without which no payout begins."""
    account = payable(p.currency, p.funds, p.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    return _journal(p, "payout_held", hold(account, p.amount, p.id), covered=True)


def hear(scene: Scene, p: Payout, outcome: Outcome, contract: Contract) -> Case | None:
    """Apply what the channel said; a Case if it cannot be believed (it is noted already)."""
    if outcome.state not in (State.UNKNOWN, State.NOT_FOUND) and (found := contradiction(p, outcome, contract)):
        return _doubt(scene, p, outcome, *found)
    if outcome.memo is not None:
        p.memo = outcome.memo
    if outcome.channel_ref is not None:
        p.channel_ref = outcome.channel_ref
    scene.changes.payouts[p.key] = p
    if p.state not in OPEN_PAYOUT:
        return _after_the_end(scene, p, outcome)
    match outcome.state:
        case State.SUCCEEDED:
            _paid(scene, p, outcome)
        case State.FAILED | State.CLOSED:
            _failed(scene, p, outcome, contract.info)
        case State.PENDING | State.AUTHORISED:
            if p.state is S.UNKNOWN:
                move(scene, p, S.PENDING)
                if outcome.next is not None:
                    p.next_action = steps.sdk(outcome.next)
                events.say(scene, "payout.updated", p)
            _later(scene, p, contract.info)
        case State.UNKNOWN | State.NOT_FOUND:
            _later(scene, p, contract.info)
    return None


def contradiction(p: Payout, outcome: Outcome, contract: Contract) -> tuple[str, str] | None:
    """What in `outcome` cannot be true of what we asked: a case's kind and a sentence; None if nothing."""
    key = ids.mint_key(p.id, p.book_id)
    if outcome.key is not None and outcome.key != key:
        return "key_mismatch", f"the channel speaks of {outcome.key}, not of {key}"
    if contract.account_id != p.channel_account_id or outcome.account_ref not in (None, contract.account_ref):
        return "account_mismatch", f"the channel names account {outcome.account_ref or contract.account_ref}"
    if outcome.app_ref not in (None, contract.app_ref):
        return "account_mismatch", f"the channel names application {outcome.app_ref}, not {contract.app_ref}"
    if outcome.amount is not None and outcome.amount != p.money:
        return "amount_mismatch", f"the channel says {outcome.amount}, we asked for {p.money}"
    return None


def _paid(scene: Scene, p: Payout, outcome: Outcome) -> None:
    p.done_at, p.ask_at, p.next_action, p.problem = outcome.at or scene.at, None, None, None
    move(scene, p, S.PAID)
    account = payable(p.currency, p.funds, p.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    owed = receivable(p.channel_account_id, p.currency)
    scene.changes.journals.append(_journal(p, "payout", capture(p.id, account, owed, p.amount)))
    events.say(scene, "payout.paid", p)


def _failed(scene: Scene, p: Payout, outcome: Outcome, info: Info) -> None:
    """(O2) A request that never left says nothing of an earlier one that may have."""
    problem = outcome.problem or Problem("unsaid", "The channel refused and did not say why.")
    if problem.retry is Retry.SAME_KEY:
        _later(scene, p, info)
        return
    _note_problem(p, problem)
    p.ask_at, p.next_action = None, None
    move(scene, p, S.FAILED)
    account = payable(p.currency, p.funds, p.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    scene.changes.journals.append(_journal(p, "payout_failed", release(p.id, account, p.amount)))
    events.say(scene, "payout.failed", p)


def _after_the_end(scene: Scene, p: Payout, outcome: Outcome) -> Case | None:
    """Told twice, it counts once.  Paid and then failed: it came back.  Failed and then paid: a person has to look."""
    repeated = scene.door == "reply" or (outcome.problem is not None and outcome.problem.retry is Retry.SAME_KEY)
    if outcome.state in (State.FAILED, State.CLOSED) and p.state is S.PAID and not repeated:
        _note_problem(p, outcome.problem or Problem("returned", "The payee's side sent it back."))
        move(scene, p, S.RETURNED)
        account = payable(p.currency, p.funds, p.channel_account_id)  # pyrefly: ignore[bad-argument-type]
        back = Transfer(receivable(p.channel_account_id, p.currency), account, p.amount)
        scene.changes.journals.append(_journal(p, "payout_returned", back))
        events.say(scene, "payout.failed", p)
        return None
    if outcome.state is State.SUCCEEDED and p.state is S.FAILED:
        return _doubt(scene, p, outcome, "payout_end_changed", "the channel says paid of a payout that it had refused")
    return None


def _note_problem(p: Payout, problem: Problem) -> None:
    p.problem = {"code": problem.decline_code, "message": problem.message, "channel_code": problem.channel_code}


def _doubt(scene: Scene, p: Payout, outcome: Outcome, kind: str, summary: str) -> Case:
    """A case, and ask again later: nothing else changes."""
    moved = outcome.state is State.SUCCEEDED
    money = {
        "of": "refund", "channel_account": ids.show("ca", p.channel_account_id), "asset": p.currency,
        "units": outcome.amount.units if outcome.amount else None, "payout": ids.show("po", p.id),
    }  # fmt: skip
    case = Case(
        p.book_id, kind, ids.mint_key(p.id, p.book_id), summary, doubts.evidence(outcome, scene.door) | money,
        f"{outcome.state.value} {outcome.amount} {outcome.channel_ref}", moved, doubts.PROPOSAL if moved else None,
    )  # fmt: skip
    scene.changes.cases.append(case)
    if p.ask_at is not None:
        p.ask_at = scene.at + timedelta(hours=1)
        scene.changes.payouts[p.key] = p
    return case


def _later(scene: Scene, p: Payout, info: Info) -> None:
    if scene.at - p.created_at > timedelta(days=1):
        summary = f"a day later the channel has not said what became of it ({p.state.value})"
        scene.changes.cases.append(
            Case(p.book_id, "unresolved_payout", ids.mint_key(p.id, p.book_id), summary, {"asked": p.asked})
        )
    p.ask_at = scheduled(info.payout_query_after_s, p.asked, p.created_at, scene.at)
    scene.changes.payouts[p.key] = p


def born(scene: Scene, p: Payout) -> None:
    """Note the first state of a new one."""
    _moved(scene.changes, p, None, scene)


def move(scene: Scene, p: Payout, to: PayoutState) -> None:
    """Change a payout's state along the table."""
    must(to in PAYOUT_NEXT[p.state], f"a payout goes from {p.state} to {to}")
    was, p.state = p.state, to
    _moved(scene.changes, p, was, scene)
    scene.changes.payouts[p.key] = p


def _moved(changes: Changes, p: Payout, was: PayoutState | None, scene: Scene) -> None:
    changes.moves.append(
        Move(p.book_id, p.id, was.value if was else None, p.state.value, scene.door, p.root_id, scene.at)
    )


def _journal(p: Payout, rule: str, transfer: Transfer, *, covered: bool = False) -> Journal:
    at = p.created_at if covered else p.done_at or p.created_at
    return Journal(
        p.book_id,
        f"{rule}:{ids.text(p.id)}",
        rule,
        (transfer,),
        p.id,
        at,
        p.root_id,
        p.business_line,
        carried=True,
        covered=covered,
    )
