"""Fan out: events become deliveries to the endpoints that want them."""

from guilder.core import clock
from guilder.platform.db import Tx
from guilder.platform.outbox import Heard, Subscription
from guilder.platform.sql import load

Q = load(__package__)
WAKE = "guilder_delivery"  # NOTIFY channel: deliveries are due


async def handle_many(tx: Tx, events: list[Heard]) -> None:
    """Make the deliveries of a batch of events, in one statement; heard twice, it makes them once (N1)."""
    made = await tx.rows(
        Q.insert_deliveries,
        [e.book_id for e in events],
        [e.id for e in events],
        [e.type for e in events],
        clock.now(),
    )
    if made:
        tx.wakes.add(WAKE)


SUBSCRIPTIONS = [Subscription("notify", ("*",), handle_many)]
