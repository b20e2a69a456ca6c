"""Hooks: what packages of your own add to the flow of a payment.

    before_routing   a question    says facts that rules may use (`hooks["stock.region"]`), or refuses; it does nothing
    before_asking    a step        the try is written down; its channel is asked once every step has agreed
    after_answer     a step        the channel has answered for the first time
    on_success       a step        the payer has paid

A package names its `Plugin` by an entry point of the group `guilder.hooks`:

    [project.entry-points."guilder.hooks"]
    stock = "shop_stock:PLUGIN"

Invariants.  Tests carry these names (`test_K1_...`).

    K1  A step that may have been done is undone, at least once, when its try ends without money.
    K2  What follows a success is done at least once for each try that succeeded, and for no other.
    K3  What a plug-in says late, or not at all, loses no money and stops no payment; but a step that `must` agree keeps its channel unasked.
    K4  No plug-in runs inside a transaction.

So `do` and `undo` may come twice, and `undo` for what was never done: make them by the try's id (`Payment.attempt`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from guilder.channels.model import Outcome, Problem, State
from guilder.core import ids
from guilder.core.check import must
from guilder.core.errors import CardError
from guilder.payments.model import Attempt, Intent
from guilder.platform import db, telemetry

GROUP = "guilder.hooks"
LONGEST_S = 3.0  # of a question or step that a payer waits for: all of them, and the channel, have to fit into a lease
LOOK_S = 5  # a new step is looked at after so long, or when its payment moves
log = logging.getLogger("guilder.hooks")


class Payment(msgspec.Struct, frozen=True):
    """What a plug-in sees.  `attempt` and what follows are empty before there is a try."""

    environment: str  # 'test', 'live'
    merchant: str  # 'acct_…'
    payment_intent: str  # 'pi_…'
    amount: int  # minor units
    currency: str  # 'CNY'
    type: str  # 'wechat_pay'
    metadata: Mapping[str, str]
    attempt: str = ""  # 'at_…'
    channel: str = ""
    channel_account: str = ""  # 'ca_…'
    state: str = ""  # of the try: 'unknown', 'pending', 'succeeded', 'failed' …


@dataclass(frozen=True, slots=True)
class Refusal:
    """This payment is not to be collected.  `message` is for the shop, `code` a decline code of Stripe's."""

    message: str
    code: str = "generic_decline"


Answer = Mapping[str, str] | Refusal | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before a payment is routed: facts for rules, a refusal, or nothing.  It must change nothing."""

    ask: Callable[[Payment], Awaitable[Answer]]
    must: bool = False  # without an answer the payment is refused, for now
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done, and how it is undone.  Only `before_asking` may refuse, and only there `must` means anything."""

    do: Callable[[Payment], Awaitable[Refusal | None]]
    undo: Callable[[Payment], Awaitable[None]] | None = None
    must: bool = False
    timeout_s: float = 1.0


class Point(StrEnum):
    BEFORE_ASKING = "before_asking"
    AFTER_ANSWER = "after_answer"
    ON_SUCCESS = "on_success"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A package's part in the flow."""

    name: str
    before_routing: Question | None = None
    before_asking: Step | None = None
    after_answer: Step | None = None
    on_success: Step | None = None

    def steps(self) -> Iterator[tuple[Point, Step]]:
        """Its steps, by their points."""
        for point, step in zip(Point, (self.before_asking, self.after_answer, self.on_success), strict=True):
            if step is not None:
                yield point, step

    def step(self, point: str) -> Step | None:
        return next((step for p, step in self.steps() if p == point), None)


class Planned(msgspec.Struct, frozen=True):
    """A row of payments.step, in the order of its columns."""

    book_id: UUID
    attempt_id: UUID
    plugin: str
    point: str
    state: str
    due_at: datetime
    looked: int = 0
    failed: int = 0
    why: str | None = None


class Refused(CardError):
    """A plug-in keeps this payment from being collected. Nothing was charged."""

    code = "refused_by_hook"


_plugins: list[Plugin] = []


def register(plugins: Sequence[Plugin]) -> None:
    """Make them known, in the order in which they are asked.  Called once, by the composition root."""
    for p in plugins:
        asked_in_line = [q for q in (p.before_routing, p.before_asking) if q is not None]
        must(all(0 < q.timeout_s <= LONGEST_S for q in asked_in_line), f"{p.name}: a payer waits {LONGEST_S} s at most")
        must(not (p.on_success and p.on_success.undo), f"{p.name}: what follows a success is undone by no try's end")
    must(len({p.name for p in plugins}) == len(plugins), "each plug-in has a name of its own")
    _plugins[:] = plugins


def plugin(name: str) -> Plugin | None:
    return next((p for p in _plugins if p.name == name), None)


def plugins() -> Sequence[Plugin]:
    return _plugins


def asks_before_routing() -> bool:
    return any(p.before_routing is not None for p in _plugins)


def planned(attempt: Attempt) -> list[Planned]:
    """The steps of a new try: written down with it, so that whatever dies, each is looked at again (K1, K2)."""
    due = attempt.created_at + timedelta(seconds=LOOK_S)
    return [
        Planned(attempt.book_id, attempt.id, p.name, point, "begun" if point is Point.BEFORE_ASKING else "waits", due)
        for p in _plugins
        for point, _ in p.steps()
    ]


def seen(environment: str, intent: Intent, type: str, attempt: Attempt | None = None) -> Payment:
    """A payment as plug-ins see it."""
    tried = ("", "", "", "") if attempt is None else (
        ids.show("at", attempt.id), attempt.channel, ids.show("ca", attempt.channel_account_id), attempt.state.value
    )  # fmt: skip
    return Payment(
        environment, ids.show("acct", intent.book_id), ids.show("pi", intent.id), intent.amount, intent.currency, type, intent.metadata, *tried
    )  # fmt: skip


async def before_routing(payment: Payment) -> dict[str, str]:
    """What the plug-ins say of a payment that is to be routed.  Raises Refused."""
    db.outside()
    facts: dict[str, str] = {}
    for p in _plugins:
        question = p.before_routing
        if question is None:
            continue
        try:
            async with asyncio.timeout(question.timeout_s):
                said = await question.ask(payment)
        except Exception as error:
            _failed(p, "before_routing", error)
            if question.must:
                raise Refused(
                    f"{p.name} has to agree to this payment, and did not answer. Nothing was charged; try again.",
                    code="hook_not_answering",
                ) from error
            continue
        if isinstance(said, Refusal):
            telemetry.HOOKS.labels(p.name, "before_routing", "refused").inc()
            raise Refused(f"{p.name} refuses this payment: {said.message}", details={"decline_code": said.code})
        telemetry.HOOKS.labels(p.name, "before_routing", "done").inc()
        facts |= {f"{p.name}.{name}": str(value) for name, value in (said or {}).items()}
    return facts


async def before_asking(payment: Payment) -> Outcome | None:
    """Have the steps done that come before a channel is asked: None, or what becomes of the try instead."""
    db.outside()
    for p in _plugins:
        step = p.before_asking
        if step is None:
            continue
        try:
            async with asyncio.timeout(step.timeout_s):
                refusal = await step.do(payment)
        except Exception as error:
            _failed(p, Point.BEFORE_ASKING, error)
            if not step.must:
                continue
            refusal = Refusal("It has to agree to this payment, and did not answer. Try again.", "try_again_later")
        if refusal is not None:
            telemetry.HOOKS.labels(p.name, Point.BEFORE_ASKING, "refused").inc()
            return Outcome(
                State.FAILED, problem=Problem(f"hook:{p.name}", f"{p.name}: {refusal.message}", refusal.code)
            )
        telemetry.HOOKS.labels(p.name, Point.BEFORE_ASKING, "done").inc()
    return None


def _failed(p: Plugin, point: str, error: Exception) -> None:
    telemetry.HOOKS.labels(p.name, point, "failed").inc()
    log.warning("the plug-in %s failed %s: %r", p.name, point.replace("_", " "), error)
