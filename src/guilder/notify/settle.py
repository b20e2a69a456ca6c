"""Settle: take note of what tries came to, many in one commit.

A delivery ends, or waits for its next try.  An endpoint whose tries all fail is failing; after days of that, or when it says 410,
it is disabled, and somebody is told: a case for the operators, and the event `webhook_endpoint.disabled`, which the merchant finds
in `GET /v1/events` and gets at the other endpoints that want it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from guilder.core import clock, ids
from guilder.notify.model import Delivery, Endpoint, Tried, columns, endpoint
from guilder.notify.present import webhook_endpoint
from guilder.notify.schedule import Policy, State, next_state
from guilder.platform import case, context, outbox, telemetry
from guilder.platform.case import Case
from guilder.platform.db import Tx
from guilder.platform.failpoints import reach
from guilder.platform.outbox import Event
from guilder.platform.sql import load
from guilder.platform.web.answer import encode

Q = load(__package__)
log = logging.getLogger("guilder.notify")


async def settle_many(tx: Tx, tried: Sequence[Tried], *, policy: Policy, livemode: bool) -> list[None]:
    """Write the tries, move their deliveries on (N5), and look after the endpoints.  Answers None for each."""
    states = [next_state(policy, t.delivery.tries, t.reply, t.at, t.spread) for t in tried]
    tx.write(
        Q.insert_tries,
        [
            (t.delivery.book_id, t.delivery.endpoint_id, t.delivery.event_id, t.delivery.fence, t.at, t.reply.took_ms, t.reply.status,
             t.reply.error, t.reply.response)
            for t in tried
        ],
    )  # fmt: skip
    tx.write(
        Q.settle_deliveries,
        [t.delivery.book_id for t in tried],
        [t.delivery.endpoint_id for t in tried],
        [t.delivery.event_id for t in tried],
        [t.delivery.fence for t in tried],
        [state for state, _ in states],
        [at for _, at in states],
    )
    for t, (state, _) in zip(tried, states, strict=True):
        _tell(t, state)
    await _note_health(tx, tried, policy, livemode)
    reach("ob.before_mark")
    return [None] * len(tried)


async def _note_health(tx: Tx, tried: Sequence[Tried], policy: Policy, livemode: bool) -> None:
    """N7.  Nothing to write where all is well: an endpoint that was healthy and answered."""
    news: dict[tuple[bytes, bytes], tuple[Delivery, bool, datetime]] = {}
    gone = set()
    for t in tried:
        d = t.delivery
        key = d.book_id.bytes, d.endpoint_id.bytes
        if t.reply.status == 410:
            gone.add(d.endpoint_id)
        if not t.reply.ok:
            news.setdefault(key, (d, True, t.at))
        elif d.failing or key in news:  # one success among failures is enough
            news[key] = (d, False, t.at)
    if not news:
        return
    ordered = [news[k] for k in sorted(news)]
    rows = await tx.rows(
        Q.note_health,
        [d.book_id for d, _, _ in ordered],
        [d.endpoint_id for d, _, _ in ordered],
        [failed for _, failed, _ in ordered],
        [at for _, _, at in ordered],
    )
    over = max(at for _, _, at in ordered) - timedelta(seconds=policy.disable_after_s)
    touched = [endpoint(r) for r in rows]
    ended = [replace(e, reason="gone") for e in touched if e.id in gone]
    ended += [
        replace(e, reason="failing")
        for e in touched
        if e.id not in gone and e.failing_since is not None and e.failing_since <= over
    ]
    if ended:
        await _disable(tx, [replace(e, status="disabled", version=e.version + 1) for e in ended], livemode)


async def _disable(tx: Tx, endpoints: list[Endpoint], livemode: bool) -> None:
    """Stop sending there, and say so."""
    now = clock.now()
    await save(tx, endpoints)
    await tx.run(Q.end_deliveries, [e.book_id for e in endpoints], [e.id for e in endpoints], now)
    root = context.current().root_id
    outbox.emit(tx, [_disabled(e, now, root, livemode) for e in endpoints])
    case.open_many(
        tx,
        [
            Case(
                e.book_id,
                "webhook_endpoint_disabled",
                ids.show("we", e.id),
                f"The webhook endpoint {e.url} was disabled: "
                + ("it answered 410." if e.reason == "gone" else "nothing but failures for days."),
                {"url": e.url, "reason": e.reason, "failing_since": str(e.failing_since)},
            )
            for e in endpoints
        ],
    )
    for e in endpoints:
        log.warning("webhook endpoint %s disabled: %s", ids.show("we", e.id), e.reason)


def _disabled(e: Endpoint, now: datetime, root: ids.UUID, livemode: bool) -> Event:
    data = encode(webhook_endpoint(e, livemode=livemode)).decode()
    return Event(e.book_id, "webhook_endpoint.disabled", e.id, e.version, data, now, root)


async def save(tx: Tx, endpoints: Sequence[Endpoint]) -> None:
    """Write endpoints whose rows this transaction has locked."""
    await tx.run(
        Q.save_endpoints,
        *columns(
            endpoints, "book_id", "id", "url", "enabled_events", "description", "metadata", "secret", "old_secret", "old_until",
            "status", "reason", "failing_since", "version",
        ),
    )  # fmt: skip


def _tell(t: Tried, state: State) -> None:
    outcome = "failed" if state is State.PENDING else state.value
    telemetry.WEBHOOKS.labels(outcome).observe(t.reply.took_ms / 1000)
    if not t.reply.ok:
        d = t.delivery
        with context.use(context.carry_on(d.root_id, book_id=d.book_id, actor="notify")):
            log.info(
                "webhook %s to %s: try %d %s: %s",
                ids.show("evt", d.event_id), ids.show("we", d.endpoint_id), d.tries, outcome, t.reply.error,
            )  # fmt: skip
