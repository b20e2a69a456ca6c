"""The catalogue of events about payouts, and how they are said."""

import msgspec

from guilder.payouts import present
from guilder.payouts.model import Payout
from guilder.payouts.scene import Scene
from guilder.platform.outbox import Event

CATALOGUE: dict[str, str] = {
    "payout.created": "A payout was asked for; its amount is held.",
    "payout.updated": "A payout is on its way.",
    "payout.paid": "The channel says that it was paid.",
    "payout.failed": "It was not paid, or came back; its amount is available again.",
}


def say(scene: Scene, type: str, p: Payout) -> None:
    """Say something of a payout, as it is now."""
    p.version += 1
    by = scene.changes.by
    shape = msgspec.json.encode(present.payout(p, livemode=scene.livemode)).decode()
    scene.changes.events.append(
        Event(p.book_id, type, p.id, p.version, shape, scene.at, p.root_id, p.business_line,
              request_id=(by.request_id or None) if by else None, idempotency_key=(by.idempotency_key or None) if by else None)
    )  # fmt: skip
