"""A timeline as the API and the command line show it."""

from datetime import UTC
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guilder.core import clock, ids
from guilder.platform.timeline import Entry, Told

ORDER = ("trd", "cs_test", "cs_live", "pi", "at", "ch", "re", "dp", "po", "case", "apr")


class TimelineEntry(msgspec.Struct, kw_only=True):
    """Something that happened."""

    object: Literal["timeline_entry"] = "timeline_entry"
    about: Annotated[str, Meta(description="What it happened to: pi_…, at_…, a request, an event's delivery.")]
    at: Annotated[str, Meta(description="When, to the microsecond, in UTC.")]
    created: int
    details: Annotated[dict[str, Any], Meta(description="All that is known of it, by kind.")]
    kind: Annotated[
        str,
        Meta(
            description="request, try, refund, state, message, journal, order, event, webhook, statement, break, case …"
        ),
    ]
    source: Annotated[str, Meta(description="The part of Guilder that knows it.")]
    text: Annotated[str, Meta(description="One line for a person.")]
    tone: Literal["plain", "good", "bad", "wait"]


class Timeline(msgspec.Struct, kw_only=True):
    """Everything that happened to a payment or a trade and to what belongs to it, in one order of time."""

    object: Literal["timeline"] = "timeline"
    cut: Annotated[list[str], Meta(description="Sources of which only the first thousand entries are here.")]
    entries: list[TimelineEntry]
    left_out: Annotated[list[str], Meta(description="Sources that the caller may not read.")]
    livemode: bool
    things: Annotated[
        list[str], Meta(description="What belongs together: trades, payments, tries, charges, refunds, cases.")
    ]
    traces: Annotated[list[str], Meta(description="The chains of work: log lines name them.")]


def timeline(told: Told) -> Timeline:
    """As it is shown."""
    story = told.story
    things = sorted(
        story.things.values(), key=lambda t: (ORDER.index(t.prefix) if t.prefix in ORDER else len(ORDER), t.id)
    )
    return Timeline(
        cut=told.cut, entries=[_entry(e) for e in told.entries], left_out=told.left_out, livemode=story.livemode,
        things=[t.shown for t in things], traces=sorted(ids.text(r) for r in story.roots),
    )  # fmt: skip


def _entry(e: Entry) -> TimelineEntry:
    return TimelineEntry(
        about=e.about, at=e.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"), created=clock.unix(e.at),
        details=e.details, kind=e.kind, source=e.source, text=e.says, tone=e.tone,
    )  # fmt: skip
