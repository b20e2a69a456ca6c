"""Hook steps: what plug-ins do later, and how it is undone.  A row for each, written with its try, looked at until its try has ended.

    before_asking   begun ------------------> kept | undone       begun: it may have been done
    after_answer    waits --> done ---------> kept | undone
    on_success      waits --> kept                                or skipped, if the try ends without money

A worker claims what is due for a while (`due_at` is the lease), runs the plug-in outside of any transaction, and writes down what came of
it; whoever dies in between is followed by the next, so everything is done at least once (K1, K2).
"""

import asyncio
import logging
from collections.abc import Sequence
from importlib.metadata import entry_points

from guilder.core import ids
from guilder.payments import hooks, store
from guilder.payments.hooks import Plugin, Point
from guilder.payments.model import Attempt, Intent
from guilder.payments.states import AttemptState
from guilder.platform import case, telemetry
from guilder.platform.case import Case
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.outbox import Heard, Subscription
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.hooks")
AT_ONCE = 32
LEASE_S = 60  # longer than a plug-in may take here
LATER_S = 30.0
AGAIN_S = (1, 2, 5, 15, 60, 300)  # after a failure
PATIENCE = 6  # failures in a row, then a person is told
WITHOUT_MONEY = frozenset({AttemptState.FAILED, AttemptState.CLOSED, AttemptState.SURPLUS})


def installed() -> list[Plugin]:
    """The plug-ins of other packages.  One that cannot be loaded, or is none, is left out and said."""
    found: list[Plugin] = []
    for entry in sorted(entry_points(group=hooks.GROUP), key=lambda e: e.name):
        try:
            plugin = entry.load()
        except Exception:
            log.exception("the plug-in %s cannot be loaded, and is left out", entry.value)
            continue
        if not isinstance(plugin, Plugin) or plugin.name != entry.name:
            log.error("the plug-in %s is left out: %s is no Plugin of that name", entry.name, entry.value)
            continue
        found.append(plugin)
    return found


def subscriptions() -> tuple[Subscription, ...]:
    """Who listens, so that steps are looked at when their payment moves; nobody, where there are none."""
    types = ("payment_intent.requires_action", "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
             "payment_intent.amount_capturable_updated")  # fmt: skip
    wanted = any(True for p in hooks.plugins() for _ in p.steps())
    return (Subscription("hooks", types, _hurry),) if wanted else ()


async def _hurry(tx: Tx, heard: list[Heard]) -> None:
    await tx.run(Q.hurry_steps, [e.book_id for e in heard], [e.object_id for e in heard])


def next_of(point: str, state: str, attempt: AttemptState, *, paid: bool) -> str:
    """What is to be done about a step now: 'do', 'undo', 'wait', or the state in which it ends.  `paid`: the try has its charge, be it that a
    late success was accepted."""
    if attempt in WITHOUT_MONEY and not paid:
        return "skipped" if state == "waits" else "undo"
    if point == Point.ON_SUCCESS:
        return "do" if paid else "wait"
    if state == "waits":
        return "wait" if attempt is AttemptState.UNKNOWN else "do"
    return "kept" if paid else "wait"


async def sweep(rt: Env) -> int:
    """Look at the steps that are due; how many there were."""
    rows = await rt.db.transact(lambda tx: tx.rows(Q.claim_steps, AT_ONCE, LEASE_S))
    if rows:
        keys = {(r["book_id"], r["intent_id"]) for r in rows}
        intents, attempts = await rt.db.transact(lambda tx: _read(tx, list(keys)))
        await asyncio.gather(*(_look(rt, r, intents, attempts) for r in rows))
    return len(rows)


async def _read(
    tx: Tx, keys: Sequence[store.BookKey]
) -> tuple[dict[store.BookKey, Intent], dict[store.BookKey, Attempt]]:
    intents, _ = await store.look(tx, keys)
    return intents, await store.attempts(tx, keys)


async def _look(rt: Env, r: Row, intents: dict[store.BookKey, Intent], attempts: dict[store.BookKey, Attempt]) -> None:
    attempt, intent = attempts[r["book_id"], r["attempt_id"]], intents[r["book_id"], r["intent_id"]]
    act = next_of(r["point"], r["state"], attempt.state, paid=r["paid"])
    if act == "wait":
        return await _note(rt, r, r["state"], min(LATER_S, 2.0 ** min(r["looked"], 8)), 0, None)
    if act not in ("do", "undo"):
        return await _note(rt, r, act, None, 0, None)
    plugin = hooks.plugin(r["plugin"])
    step = None if plugin is None else plugin.step(r["point"])
    try:
        if step is None:
            raise LookupError(f"the plug-in {r['plugin']} is not installed any more, or has no such step")
        work = step.do if act == "do" else step.undo
        if work is not None:
            async with asyncio.timeout(LEASE_S / 2):
                await work(hooks.seen(rt.name, intent, intent.method_type or "", attempt))
    except Exception as error:
        await _again(rt, r, act, error)
        return
    telemetry.HOOKS.labels(r["plugin"], r["point"], "undone" if act == "undo" else "done").inc()
    state = "undone" if act == "undo" else "kept" if r["point"] == Point.ON_SUCCESS else "done"
    await _note(rt, r, state, 1.0 if state == "done" else None, 0, None)


async def _again(rt: Env, r: Row, act: str, error: Exception) -> None:
    """(K3) It is tried again for as long as it takes, and after a while a person is told."""
    failed = r["failed"] + 1
    telemetry.HOOKS.labels(r["plugin"], r["point"], "failed").inc()
    log.warning("the plug-in %s could not %s %s: %r", r["plugin"], act, r["point"].replace("_", " "), error)
    await _note(rt, r, r["state"], AGAIN_S[min(failed, len(AGAIN_S)) - 1], failed, repr(error)[:500])
    if failed == PATIENCE:
        shown = ids.show("at", r["attempt_id"])
        summary = f"The plug-in {r['plugin']} could not {act} its step {r['point']} of {shown}, {failed} times: {error!r}. It is tried again."
        evidence = {"plugin": r["plugin"], "point": r["point"], "act": act, "attempt": shown}
        await case.open_one(rt.db, Case(r["book_id"], "hook_failed", f"{shown} {r['plugin']}", summary[:500], evidence))


async def _note(rt: Env, r: Row, state: str, later_s: float | None, failed: int, why: str | None) -> None:
    key = r["book_id"], r["attempt_id"], r["plugin"], r["point"]
    await rt.db.transact(lambda tx: tx.run(Q.note_step, *key, state, later_s, failed, why))


LOOPS = (Loop("payments.steps", 0.5, sweep, full=AT_ONCE),)
