"""State tables, what an outcome makes of a payment, and which rule books which event: by asking the code that decides.

Nothing is described here: payments are made in memory, `payments.life` is told what a channel said, and the result is written down.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from guilder.channels.model import Credit, Outcome, Problem, QrCode, Retry, State
from guilder.channels.registry import CHANNELS
from guilder.core.amount import cny
from guilder.ledger import chart
from guilder.payments import life, life_aside, life_refund
from guilder.payments.life import Contract, Scene
from guilder.payments.model import Attempt, Changes, Charge, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.states import (
    ASIDE_NEXT,
    ATTEMPT_NEXT,
    INTENT_NEXT,
    REFUND_NEXT,
    AsideState,
    AttemptState,
    IntentStatus,
    RefundState,
)
from guilder.platform.crypto import Keyring
from guilder.platform.environment import Cache, Env
from guilder.platform.settings import Settings
from guilder.trades.states import TRADE_NEXT, TradeStatus

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BOOK, ACCOUNT = UUID(int=7 << 64), UUID(int=9 << 64)
A, S, R = AttemptState, IntentStatus, RefundState


async def _revision() -> int:
    return 0


def _face() -> Face:
    """A face that renders: no database and no network is behind it, and rendering needs neither."""
    keyring = Keyring.load(base64.b64encode(bytes(32)).decode(), Path())
    nothing: Any = None
    return Face(Env("test", Settings(), nothing, nothing, keyring, Cache(_revision)))


@dataclass
class Stage:
    """One payment with one attempt, and what becomes of them."""

    intent: Intent
    attempt: Attempt
    charge: Charge | None
    refund: Refund | None
    changes: Changes
    scene: Scene
    contract: Contract

    def hear(self, outcome: Outcome) -> None:
        """The channel says something of the attempt."""
        life.hear_payment(self.scene, self.intent, self.attempt, outcome, self.contract)
        life.see_to_others(self.scene, [self.attempt], self.intent)

    def hear_refund(self, outcome: Outcome) -> None:
        """The channel says something of the refund."""
        assert self.refund is not None
        life_refund.hear_refund(self.scene, self.intent, self.charge, self.refund, outcome, self.contract)

    @property
    def events(self) -> list[str]:
        return [e.type for e in self.changes.events]


def stage(
    attempt: AttemptState = A.UNKNOWN,
    intent: IntentStatus = S.PROCESSING,
    *,
    door: str = "reply",
    late_success: str = "refund",
    funds: chart.Funds = "platform",
    expired: bool = False,
    cancel_wanted: bool = False,
    refund_of: str = "",
    fee_bps: int = 0,
) -> Stage:
    """Set one up.  `refund_of`: 'charge' or 'surplus' is being given back."""
    ids = [UUID(int=n << 64) for n in range(1, 6)]
    made = NOW - timedelta(minutes=3)
    i = Intent(
        BOOK, ids[0], 1, intent, 1250, "CNY", None, None, "wechat_pay", ["wechat_pay"], ids[1], None, None, {}, {}, None, None, None,
        made if cancel_wanted else None, None, made if expired else None, late_success, ids[4], "", made,
    )  # fmt: skip
    a = Attempt(
        BOOK, ids[1], ids[0], ACCOUNT, "wechatpay", "native", attempt, 1250, "CNY", None, None, None, None, None, NOW, 0, False,
        NOW + timedelta(hours=1), None, ids[4], "", made,
    )  # fmt: skip
    charge = Charge(BOOK, ids[2], ids[0], ids[1], ACCOUNT, "wechat_pay", 1, 1250, 500, "CNY", "4200…", made, made)
    refund = Refund(
        BOOK, ids[3], ids[0], ids[1], ids[2] if refund_of == "charge" else None, ACCOUNT, 1, R.UNKNOWN, 500, "CNY", None, {}, None, None,
        NOW, 0, None, ids[4], "", made,
    )  # fmt: skip
    changes = Changes()
    contract = Contract(ACCOUNT, "1900000001", "wx1", funds, CHANNELS["wechatpay"].info, fee_bps)
    return Stage(
        i, a, charge if refund_of == "charge" else None, refund if refund_of else None, changes, Scene(changes, _face(), NOW, door), contract
    )  # fmt: skip


PAID = Outcome(State.SUCCEEDED, channel_ref="4200…", amount=cny(1250), at=NOW)
DECLINED = Outcome(State.FAILED, problem=Problem("NOTENOUGH", "Not enough money.", "insufficient_funds", Retry.NEW_KEY))
SAID: dict[str, Outcome] = {
    "accepted, with a code to show": Outcome(State.PENDING, next=QrCode("weixin://…")),
    "silence, a server error, a reply that does not verify": Outcome(State.UNKNOWN),
    "not found": Outcome(State.NOT_FOUND),
    "paid": PAID,
    "refused": DECLINED,
    "not sent: nothing left this machine": Outcome(State.FAILED, problem=Problem("", "Unreachable.", retry=Retry.SAME_KEY)),
    "closed": Outcome(State.CLOSED),
}  # fmt: skip


def states_page() -> str:
    """docs/reference/states.md."""
    parts = [
        "# States",
        "The tables of `payments/states.py`, and what `payments/life.py` makes of what a channel says.",
        _machine("Payment (intent), as the API shows it", INTENT_NEXT, S.REQUIRES_PAYMENT_METHOD),
        _machine("Attempt: one try at one channel", ATTEMPT_NEXT, A.UNKNOWN),
        "`unknown` is where asking begins and where silence leads: money may have moved. Only evidence ends it: the channel's answer, "
        "its signed callback, its statement. `surplus` is a success after the end, or a second one: it is booked and given back.",
        _machine("Refund", REFUND_NEXT, R.UNKNOWN),
        _machine("Trade: what was bought (`trades/states.py`)", TRADE_NEXT, TradeStatus.OPEN),
        _machine("Aside: money that no charge stands for", ASIDE_NEXT, AsideState.WAITS),
        _outcomes(),
    ]
    return "\n\n".join(parts)


def _machine(title: str, following: dict[Any, frozenset[Any]], first: StrEnum) -> str:
    lines = [f"## {title}", "", "```mermaid", "stateDiagram-v2", "    direction LR", f"    [*] --> {first.value}"]
    for state, after in following.items():
        lines += [f"    {state.value} --> {next.value}" for next in sorted(after, key=list(following).index)]
        if not after:
            lines.append(f"    {state.value} --> [*]")
    lines += ["```", "", "| from | to |", "|---|---|"]
    for state, after in following.items():
        names = ", ".join(f"`{n.value}`" for n in sorted(after, key=list(following).index))
        lines.append(f"| `{state.value}` | {names or 'nothing: it is final'} |")
    return "\n".join(lines)


def _outcomes() -> str:
    rows = []
    for said, outcome in SAID.items():
        for attempt, intent in (
            (A.UNKNOWN, S.PROCESSING), (A.PENDING, S.REQUIRES_ACTION), (A.CLOSED, S.REQUIRES_PAYMENT_METHOD),
            (A.CLOSED, S.CANCELED), (A.SUCCEEDED, S.SUCCEEDED),
        ):  # fmt: skip
            rows.append(_row(said, stage(attempt, intent, door="reply" if attempt is A.UNKNOWN else "query"), outcome))
    rows += [
        _row("paid (rule `late_success = accept`)", stage(A.CLOSED, S.CANCELED, late_success="accept"), PAID),
        _row("paid, and another try has paid already", stage(A.PENDING, S.SUCCEEDED), PAID),
        _row("closed, and a cancel was asked for", stage(A.PENDING, S.REQUIRES_ACTION, cancel_wanted=True), SAID["closed"]),
        _row("closed, and the payment's own time is over", stage(A.PENDING, S.REQUIRES_ACTION, expired=True), SAID["closed"]),
        _row("paid, with another amount", stage(A.PENDING, S.REQUIRES_ACTION), Outcome(State.SUCCEEDED, amount=cny(1))),
        _row("paid, of another account", stage(A.PENDING, S.REQUIRES_ACTION), Outcome(State.SUCCEEDED, amount=cny(1250), account_ref="1")),
    ]  # fmt: skip
    head = "| the channel says | attempt | payment (intent) | events | booked |\n|---|---|---|---|---|"
    why = (
        "## What an outcome at the channel makes of a payment\n\n"
        "One row for each thing that a channel can say, whichever way it is said: as the reply, in a callback, or when it is asked. "
        "A state that does not change stands alone. A QR code that is shown is `requires_action`, an unknown is `processing`. "
        "In every combination that is not listed nothing changes: what was said is in the journal of channel calls, and an open attempt "
        "is asked about again."
    )
    return "\n".join([why, "", head, *(r for r in rows if r)])


def _row(said: str, s: Stage, outcome: Outcome) -> str:
    attempt, intent = s.attempt.state, s.intent.status
    s.hear(outcome)
    booked = [f"`{j.rule}`" for j in s.changes.journals] + [f"case `{c.kind}`" for c in s.changes.cases]
    if s.changes.new_refunds:
        booked.append("a refund is opened")
    if not booked and not s.events and s.attempt.state is attempt and s.intent.status is intent:
        return ""
    events = ", ".join(f"`{e}`" for e in s.events)
    return f"| {said} | {_step(attempt, s.attempt.state)} | {_step(intent, s.intent.status)} | {events} | {', '.join(booked)} |"


def _step(was: StrEnum, became: StrEnum) -> str:
    return f"`{was.value}`" if was is became else f"`{was.value}` → `{became.value}`"


@dataclass(frozen=True)
class Booking:
    """Something that happens, acted out to see what is booked."""

    what: str
    act: Callable[[], Stage]


def _paid(**options: Any) -> Stage:
    s = stage(A.PENDING, S.REQUIRES_ACTION, **options)
    s.hear(PAID)
    return s


def _late(**options: Any) -> Stage:
    s = stage(A.CLOSED, S.CANCELED, door="callback", **options)
    s.hear(PAID)
    return s


def _given_back(of: str, outcome: Outcome, **options: Any) -> Stage:
    s = stage(A.SUCCEEDED, S.SUCCEEDED, refund_of=of, **options)
    s.hear_refund(outcome)
    return s


def _in_parts(*units: int) -> Stage:
    s = stage(A.PENDING, S.REQUIRES_ACTION, door="callback")
    in_parts = replace(s.contract, info=replace(s.contract.info, collects_in_parts=True))
    credits = tuple(Credit(str(n), cny(n), NOW) for n in units)
    life_aside.hear(s.scene, s.intent, s.attempt, Outcome(State.PENDING, credits=credits), in_parts)
    return s


def _rest_is_back() -> Stage:
    s = _in_parts(1300)
    [s.refund] = s.changes.new_refunds.values()
    s.changes.journals.clear()
    s.changes.events.clear()
    s.hear_refund(replace(GIVEN, amount=cny(50)))
    return s


def _applied() -> Stage:
    s = _in_parts(400)
    s.changes.journals.clear()
    [one] = s.changes.lying.values()
    life_aside.apply(s.scene, one, "platform", {})
    return s


def _given_elsewhere(payer: str) -> Stage:
    s = _given_back("charge", REFUSED)
    s.changes.journals.clear()
    s.changes.events.clear()
    assert s.charge is not None and s.refund is not None
    life_refund.given_elsewhere(s.scene, s.intent, s.charge, s.refund, payer, "platform")
    return s


GIVEN = Outcome(State.SUCCEEDED, amount=cny(500), channel_ref="5000…", at=NOW)
REFUSED = Outcome(State.FAILED, problem=Problem("NOT_ENOUGH", "No.", retry=Retry.NEW_KEY))
BOOKINGS = (
    Booking("a payment is paid", _paid),
    Booking(
        "the same, where the channel settles to the merchant (`funds = merchant`)", lambda: _paid(funds="merchant")
    ),
    Booking("a payment of a merchant that pays a fee is paid", lambda: _paid(fee_bps=60)),
    Booking("a payment is paid after its end, or twice", _late),
    Booking("the same under the merchant's rule `late_success = accept`", lambda: _late(late_success="accept")),
    Booking("a surplus has been given back", lambda: _given_back("surplus", GIVEN)),
    Booking("a refund is done", lambda: _given_back("charge", GIVEN)),
    Booking(
        "the same, where the channel settles to the merchant", lambda: _given_back("charge", GIVEN, funds="merchant")
    ),
    Booking("another sum than was asked for lies aside: a part, or by a person's decision", lambda: _in_parts(400)),
    Booking("what lies aside pays for its payment", lambda: _in_parts(400, 850)),
    Booking("what is left of it has gone back", _rest_is_back),
    Booking("it is the merchant's, by a person's decision", _applied),
    Booking("a refund is refused by the channel", lambda: _given_back("charge", REFUSED)),
    Booking(
        "the platform has given it back by another road; the second is in its book",
        lambda: _given_elsewhere("platform"),
    ),
    Booking("the merchant has", lambda: _given_elsewhere("merchant")),
)


def journals_page() -> str:
    """docs/reference/journals.md."""
    lines = [
        "# The book: accounts, and what is booked when", "", "Balance = credits - debits. `normal` is the side on which an account grows, as it is shown to people.",
        "", "## Chart of accounts", "", "| account | normal | floor | means |", "|---|---|---|---|",
    ]  # fmt: skip
    for code, rule in chart.RULES.items():
        floor = "none" if rule.floor is None else str(rule.floor)
        lines.append(f"| `{code}` | {rule.normal} | {floor} | {rule.means} |")
    lines += [
        "",
        "## Journal rule per event",
        "",
        "| what happened | rule | debit | credit | events |",
        "|---|---|---|---|---|",
    ]
    for booking in BOOKINGS:
        s = booking.act()
        events = ", ".join(f"`{e}`" for e in s.events) or "none"
        journals = [
            (f"`{j.rule}`", _code(t.debit), _code(t.credit or t.debit)) for j in s.changes.journals for t in j.transfers
        ]
        for order in (j.order for j in s.changes.journals if j.order):
            journals.append(
                (f"`{order.rule}`, in the platform's book, ordered", "`clearing:<book>`", _code(order.credit))
            )
        for number, (rule, debit, credit) in enumerate(journals or [("none", "", "")]):
            first = number == 0
            lines.append(
                f"| {booking.what if first else ''} | {rule} | {debit} | {credit} | {events if first else ''} |"
            )
    lines += [
        "",
        "A payment of a trade books `trade_pledge` beside its charge, `payable` to `pledged`; what is dealt out of that stands in [trades](../guide/trades.md).",
        "",
        "The key of a journal is its rule and the id of the attempt or refund (of a fee, the charge): one key makes one journal, however often it is heard.",
    ]
    return "\n".join(lines)


def _code(account: chart.Account) -> str:
    name, colon, _ = account.code.partition(":")
    whose = "book" if name == "clearing" else "channel account"
    return f"`{name}{f':<{whose}>' if colon else ''}`"
