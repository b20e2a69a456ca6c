"""The API of the trail: who did what, searchable."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.page import turn
from guilder.merchants.principal import Principal
from guilder.platform import trail
from guilder.platform.db import Row
from guilder.platform.trail import Wanted
from guilder.platform.web import Call, Listing, ListParams, listing, route
from guilder.platform.web.cursor import cursor

Word = Annotated[str, Meta(min_length=1, max_length=200)]


class ListTrail(ListParams):
    """Newest first."""

    database: Annotated[
        Literal["environment", "control"],
        Meta(description="environment: what was done to money; control: to people, keys and contracts."),
    ] = "environment"
    actor: Annotated[Word, Meta(description="Who did it: usr_…, svc_…, key_…, operator.")] | UnsetType = UNSET
    subject: Annotated[Word, Meta(description="What it was done to: re_…, case_….")] | UnsetType = UNSET
    action: Annotated[Word, Meta(description="What was done: refund.created.")] | UnsetType = UNSET


class TrailEntry(msgspec.Struct, kw_only=True):
    """Something that somebody did."""

    id: str
    object: Literal["trail_entry"] = "trail_entry"
    account: Annotated[str, Meta(description="The merchant whom it concerns; `platform`, if none.")]
    action: str
    actor: str
    after: Annotated[dict[str, Any] | None, Meta(description="What changed, as it is since.")]
    before: Annotated[dict[str, Any] | None, Meta(description="What changed, as it was.")]
    created: int
    database: Literal["environment", "control"]
    livemode: bool
    place: Annotated[str, Meta(description="The network address that it came from.")]
    request: Annotated[str | None, Meta(description="The request that did it.")]
    subject: str
    trace: Annotated[str, Meta(description="The chain of work that it belongs to.")]
    why: str


@route(
    "GET", "/v1/trail_entries", scope="audit:read", query=ListTrail, answer=Listing[TrailEntry], tag="Trail", own=True
)
async def list_trail_entries(call: Call, query: ListTrail) -> Listing[TrailEntry]:
    """List who did what, newest first.

    At a merchant: what concerns it. For the whole platform: everything. Who may read what is his own alone: what he did himself.
    """
    who: Principal = call.principal
    page = query.page
    older, newer, since, until = cursor(page, "tra")
    wanted = Wanted(
        None if who.book_id == ids.PLATFORM else who.book_id, query.actor or None, query.subject or None, query.action or None, since, until
    )  # fmt: skip
    if call.only_own:
        if wanted.actor not in (None, who.actor):
            return Listing(data=[], has_more=False, url=call.target)
        wanted = replace(wanted, actor=who.actor)
    db = who.env.control if query.database == "control" else who.env.db
    rows = await trail.find(db, wanted, page.limit + 1, older, newer, ascending=page.ascending)
    return listing(call, turn(page, rows), lambda r: present(r, query.database, livemode=who.livemode))


def present(row: Row, database: Literal["environment", "control"], *, livemode: bool) -> TrailEntry:
    """A row as the API shows it."""
    return TrailEntry(
        id=ids.show("tra", row["id"]), account=account_of(row["book_id"]), action=row["action"], actor=row["actor"],
        after=_object(row["after"]), before=_object(row["before"]), created=clock.unix(row["at"]), database=database, livemode=livemode,
        place=row["place"], request=row["request_id"] or None, subject=row["subject"], trace=row["root_id"].hex, why=row["why"],
    )  # fmt: skip


def account_of(book_id: Any) -> str:
    """The book that something lies in, as people name it."""
    return "platform" if book_id == ids.PLATFORM else ids.show("acct", book_id)


def _object(said: str | None) -> dict[str, Any] | None:
    return None if said is None else msgspec.json.decode(said)


ROUTES = (list_trail_entries,)
