"""The catalogue of events about disputes, and how they are said."""

import msgspec

from guilder.disputes import present
from guilder.disputes.model import Dispute
from guilder.disputes.scene import Scene
from guilder.platform.outbox import Event

CATALOGUE: dict[str, str] = {
    "charge.dispute.created": "A payer disputes a charge.",
    "charge.dispute.updated": "A dispute has come further, or its deadline has changed.",
    "charge.dispute.closed": "A dispute was decided: won or lost.",
    "charge.dispute.funds_withdrawn": "The channel has taken the money that is in dispute.",
    "charge.dispute.funds_reinstated": "The channel has given it back.",
}


def say(scene: Scene, type: str, d: Dispute) -> None:
    """Say something of a dispute, as it is now."""
    d.version += 1
    by = scene.changes.by
    shape = msgspec.json.encode(present.dispute(d, livemode=scene.livemode)).decode()
    scene.changes.events.append(
        Event(d.book_id, type, d.id, d.version, shape, scene.at, d.root_id, d.business_line,
              request_id=(by.request_id or None) if by else None, idempotency_key=(by.idempotency_key or None) if by else None)
    )  # fmt: skip
