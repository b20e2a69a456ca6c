"""One payment in memory, lived through by the very functions that the lanes fold with, thousands of times a second."""

from typing import Any

from changed import replace
from guilder.channels.model import Outcome, State
from guilder.core import clock, ids
from guilder.core.amount import cny
from guilder.ledger import Journal
from guilder.payments import cancel, life, life_refund
from guilder.payments import confirm as confirming
from guilder.payments import refund as refunding
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, Changes, Charge, Move, Refund
from guilder.payments.states import CANCELABLE, OPEN_ATTEMPT, OPEN_REFUND, AttemptState, IntentStatus, RefundState
from guilder.platform.approval import Rules
from guilder.platform.case import Case
from guilder.platform.outbox import Event
from payments.promises import MOVES
from payments.scenes import Desk, an_env, said


class Room:
    """An intent and all that belongs to it.  Each step is a batch of one."""

    def __init__(self, late_success: str = "refund", funds: str = "platform") -> None:
        self.desk = Desk(an_env(), funds=funds)
        self.intent = self.desk.intent(late_success=late_success)
        self.attempts: list[Attempt] = []
        self.refunds: list[Refund] = []
        self.charges: list[Charge] = []
        self.journals: list[Journal] = []
        self.events: list[Event] = []
        self.moves: list[Move] = []
        self.cases: list[Case] = []

    # steps

    def begin(self) -> Any:
        fold = confirming._Fold({self.intent.key: self.intent}, {a.key: a for a in self.attempts})
        wish = self.desk.begin(self.intent.id)
        result = fold.begin(wish, fold.plan(wish.item))
        self._keep(fold.changes)
        return result

    def hear(self, attempt: Attempt, outcome: Outcome, door: str = "callback", **contract: Any) -> Case | None:
        scene = self._scene(door)
        contracted = replace(self.desk.contract, **contract)
        case = life.hear_payment(scene, self.intent, attempt, outcome, contracted)
        life.see_to_others(scene, self.attempts, self.intent)
        self._keep(scene.changes)
        return case

    def refund(self, units: int | None = None) -> Any:
        fold = refunding._Fold(
            {self.intent.key: self.intent}, {a.key: a for a in self.attempts}, {(c.book_id, c.intent_id): c for c in self.charges},
            {r.key: r for r in self.refunds}, Rules(),
        )  # fmt: skip
        result = fold.begin(self.desk.wish_refund(self.intent.id, units))
        self._keep(fold.changes)
        return result

    def hear_refund(self, refund: Refund, outcome: Outcome, door: str = "callback") -> Case | None:
        scene = self._scene(door)
        charge = self.charges[0] if refund.charge_id else None
        case = life_refund.hear_refund(scene, self.intent, charge, refund, outcome, self.desk.contract)
        self._keep(scene.changes)
        return case

    def cancel(self) -> Any:
        scene = self._scene("api")
        result = cancel._begin(
            scene, self.intent, {a.key: a for a in self.attempts}, self.desk.cancel(self.intent.id).item
        )
        self._keep(scene.changes)
        return result

    def say(self, about: Attempt | Refund, word: str, door: str = "callback") -> Case | None:
        """What a channel says, by one word."""
        outcome = said(about, State.SUCCEEDED, amount=cny(7)) if word == "wrong amount" else said(about, State(word))
        return self.hear(about, outcome, door) if isinstance(about, Attempt) else self.hear_refund(about, outcome, door)

    def _scene(self, door: str) -> Scene:
        return Scene(Changes(by=self.desk.by()), self.desk.face, clock.now(), door)

    def _keep(self, changes: Changes) -> None:
        self.attempts += changes.new_attempts.values()
        self.refunds += changes.new_refunds.values()
        self.charges += changes.new_charges.values()
        self.journals += changes.journals
        self.events += changes.events
        self.moves += changes.moves
        self.cases += changes.cases
        assert self.broken() == [], "after every step"

    # what can be seen

    @property
    def booked(self) -> list[str]:
        """The journals, by their rule."""
        return [j.rule for j in self.journals]

    @property
    def balances(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for t in (t for j in self.journals for t in j.transfers):
            for account, units in ((t.debit, -t.units), (t.credit, t.units)):
                head = account.code.partition(":")[0]
                sums[head] = sums.get(head, 0) + units
        return {code: units for code, units in sums.items() if units}

    def broken(self) -> list[str]:
        """The promises that do not hold at this moment."""
        paid = [a for a in self.attempts if a.paid_at is not None]
        surplus = [a for a in self.attempts if a.state is AttemptState.SURPLUS]
        given_back = [r for r in self.refunds if r.charge_id is None]
        about = {(j.rule, j.about) for j in self.journals}
        booked = {j.about for j in self.journals if j.rule in ("charge", "surplus")}
        refunded = sum(r.amount for r in self.refunds if r.charge_id and r.state is not RefundState.FAILED)
        outstanding = sum(r.amount for r in given_back if r.state is not RefundState.SUCCEEDED)
        open_now = [a for a in self.attempts if a.state in OPEN_ATTEMPT]
        over = self.intent.status not in CANCELABLE
        waits = self.intent.status in (IntentStatus.PROCESSING, IntentStatus.REQUIRES_ACTION)
        holds = {
            "P1 what is paid is booked, and nothing else": {a.id for a in paid} == booked,
            "P1 every key once": len({j.key for j in self.journals}) == len(self.journals),
            "P1 refunds that are done are booked": {r.id for r in self.refunds if r.state is RefundState.SUCCEEDED}
            == {id for rule, id in about if rule in ("refund", "surplus_refund")},
            "P2 one charge, if and only if it succeeded": len(self.charges) == (self.intent.status is IntentStatus.SUCCEEDED),
            "P2 a surplus is accepted or goes back": {a.id for a in surplus}
            == {r.attempt_id for r in given_back} | {id for rule, id in about if rule == "surplus_accepted"},
            "P2 a surplus goes back once": len(given_back) == len({r.attempt_id for r in given_back}),
            "P4 the charge counts its refunds": not self.charges or self.charges[0].refunded == refunded <= self.charges[0].amount,
            "the surplus account holds what has yet to go back": self.balances.get("surplus", 0) == outstanding,
            "what is open is asked about, and nothing else": all((a.ask_at is not None) == (a in open_now) for a in self.attempts)
            and all((r.ask_at is not None) == (r.state in OPEN_REFUND) for r in self.refunds),
            "a wish to cancel waits only for what is open": self.intent.cancel_wanted_at is None or bool(open_now),
            "what is over is closed everywhere": not over or all(a.close_wanted for a in open_now),
            "who waits waits for an open try": not waits or any(a.id == self.intent.attempt_id for a in open_now),
            "G8 moves are in the tables": all((m.was, m.became) in MOVES[m.kind] for m in self.moves),
            "versions count events": all(
                [e.object_version for e in self.events if e.object_id == id] == list(range(first, first + n))
                for id, first, n in self._counts()
            ),
        }  # fmt: skip
        return [promise for promise, held in holds.items() if not held]

    def _counts(self) -> list[tuple[Any, int, int]]:
        ids_ = {e.object_id for e in self.events}
        return [(id, 1, sum(e.object_id == id for e in self.events)) for id in ids_]


def contradictions(attempt: Attempt) -> dict[str, tuple[Outcome, dict[str, Any]]]:
    """Successes that cannot be true of this attempt, by the kind of case that they are."""
    true = said(attempt, State.SUCCEEDED)
    return {
        "amount_mismatch": (replace(true, amount=cny(attempt.amount - 1)), {}),
        "amount_missing": (replace(true, amount=None), {}),
        "currency_mismatch": (replace(true, amount=replace(cny(attempt.amount), asset="USD")), {}),
        "key_mismatch": (replace(true, key=ids.mint_key(ids.new_id(), attempt.book_id)), {}),
        "account_mismatch": (replace(true, account_ref="1900000002"), {}),
        "account_mismatch (app)": (replace(true, app_ref="wx2"), {}),
        "account_mismatch (ours)": (true, {"account_id": ids.new_id()}),
    }
