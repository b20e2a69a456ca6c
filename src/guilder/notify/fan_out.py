"""Fan out: in the very commit that says an event, its deliveries to the endpoints that want it."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import clock
from guilder.platform.db import Tx
from guilder.platform.outbox import Event, Witness
from guilder.platform.sql import load

Q = load(__package__)
WAKE = "guilder_delivery"  # NOTIFY channel: deliveries are due; the table's trigger sends it


def see(tx: Tx, said: Sequence[tuple[UUID, Event]]) -> None:
    """Have the deliveries of a batch of events made."""
    tx.write(
        Q.insert_deliveries,
        [e.book_id for _, e in said],
        [id for id, _ in said],
        [e.type for _, e in said],
        clock.now(),
    )


WITNESSES = [Witness("notify", see)]
