"""Rulesets and the state of channel accounts as the API shows them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guilder.core import clock, ids
from guilder.platform.db import Row
from guilder.routing.model import Content


class RulesetObject(msgspec.Struct, kw_only=True):
    """A version of the rules by which payments find their channel account."""

    id: str
    object: Literal["routing.ruleset"] = "routing.ruleset"
    content: Content
    created: int
    live_at: Annotated[int | None, Meta(description="When it was made live the last time.")]
    live_by: str | None
    livemode: bool
    made_by: str
    note: str
    number: int
    state: Literal["draft", "live", "retired"]


class SeenObject(msgspec.Struct, kw_only=True):
    """The calls of the last seconds."""

    bad: Annotated[int, Meta(description="Without an answer, with none that tells anything, or with a slow one.")]
    good: int
    ms: Annotated[int, Meta(description="That all of them took.")]
    refused: int


class ChannelStandingObject(msgspec.Struct, kw_only=True):
    """How a channel account stands."""

    id: str
    object: Literal["channel_account.standing"] = "channel_account.standing"
    guard: Annotated[
        dict[str, Any],
        Meta(description="What it may be asked, and when it is left alone, where that is not the default."),
    ]
    livemode: bool
    paused: Annotated[bool, Meta(description="By an operator: it is asked for no new payment.")]
    seen: Annotated[dict[str, SeenObject], Meta(description="The calls of the last seconds, by operation.")]
    since: int | None
    state: Annotated[
        Literal["closed", "open", "half_open"],
        Meta(description="Its breaker: open, it does not answer; half_open, it is probed."),
    ]
    why: str


def ruleset(row: Row, *, livemode: bool) -> RulesetObject:
    """A version from its row."""
    return RulesetObject(
        id=ids.show("rs", row["id"]), content=msgspec.json.decode(row["content"], type=Content), created=clock.unix(row["created_at"]),
        live_at=None if row["live_at"] is None else clock.unix(row["live_at"]), live_by=row["live_by"], livemode=livemode,
        made_by=row["made_by"], note=row["note"], number=row["number"], state=row["state"],
    )  # fmt: skip


def standing(row: Row, *, livemode: bool) -> ChannelStandingObject:
    """How an account stands, from its row."""
    return ChannelStandingObject(
        id=ids.show("ca", row["book_id"]), guard=msgspec.json.decode(row["guard"]), livemode=livemode, paused=row["paused"],
        seen=msgspec.json.decode(row["seen"], type=dict[str, SeenObject]), since=None if row["changed_at"] is None else clock.unix(row["changed_at"]),
        state=row["state"], why=row["why"],
    )  # fmt: skip
