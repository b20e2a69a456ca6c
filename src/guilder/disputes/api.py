"""The calls of disputes."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import ids
from guilder.core.errors import NotFound
from guilder.core.page import turn
from guilder.disputes import answering, present, store
from guilder.disputes.present import DisputeObject
from guilder.merchants.principal import Principal
from guilder.payments.params import not_here
from guilder.platform.sql import load, walked
from guilder.platform.web import Call, Listing, ListParams, Metadata, Params, Refusals, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
EvidenceName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,59}$", extra={"says": "It is no kind of evidence."})]
EvidenceText = Annotated[str, Meta(max_length=20_000)]


class UpdateDispute(Params):
    """What is said to it.  `submit` sends it; without it, it is kept."""

    evidence: Annotated[dict[EvidenceName, EvidenceText], Meta(max_length=40)] | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    submit: bool = True
    REFUSED: ClassVar[Refusals] = not_here("intended_submission_method")


class CloseDispute(Params):
    """Nothing to say."""


class ListDisputes(ListParams):
    """Newest first."""

    charge: Annotated[str, id_of("ch")] | UnsetType = UNSET
    payment_intent: Annotated[str, id_of("pi")] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {}


@route("GET", "/v1/disputes/{dispute:dp}", scope="disputes:read", answer=DisputeObject, tag="Disputes")
async def retrieve_dispute(call: Call) -> DisputeObject:
    """Retrieve a dispute."""
    who: Principal = call.principal
    row = await who.env.db.row(Q.find_dispute, who.book_id, _id(call.path["dispute"]))
    if row is None:
        raise _no_such(call.path["dispute"])
    found = store.dispute_of(row)
    return present.dispute(found, livemode=who.livemode, evidence=answering.evidence_of(who.env.keyring, found))


@route(
    "POST",
    "/v1/disputes/{dispute:dp}",
    scope="disputes:write",
    body=UpdateDispute,
    answer=DisputeObject,
    tag="Disputes",
)
async def update_dispute(call: Call, body: UpdateDispute) -> DisputeObject:
    """Answer a dispute: keep evidence and send it.  The same twice is harmless."""
    who: Principal = call.principal
    evidence = {} if body.evidence is UNSET else {k: v for k, v in body.evidence.items() if v}
    said = answering.Answer(evidence, dict(body.metadata or {}), send=body.submit and bool(evidence))
    found = await answering.answer(who.env, who.book_id, _id(call.path["dispute"]), said)
    return present.dispute(found, livemode=who.livemode, evidence=answering.evidence_of(who.env.keyring, found))


@route(
    "POST",
    "/v1/disputes/{dispute:dp}/close",
    scope="disputes:write",
    body=CloseDispute,
    answer=DisputeObject,
    tag="Disputes",
)
async def close_dispute(call: Call, body: CloseDispute) -> DisputeObject:
    """Give in: the dispute is lost."""
    who: Principal = call.principal
    said = answering.Answer({}, {}, accept=True)
    found = await answering.answer(who.env, who.book_id, _id(call.path["dispute"]), said)
    return present.dispute(found, livemode=who.livemode, evidence=answering.evidence_of(who.env.keyring, found))


@route("GET", "/v1/disputes", scope="disputes:read", query=ListDisputes, answer=Listing[DisputeObject], tag="Disputes")
async def list_disputes(call: Call, query: ListDisputes) -> Listing[DisputeObject]:
    """List disputes, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_disputes, page.ascending), who.book_id, *cursor(page, "dp"), page.limit + 1,
        ids.read("ch", query.charge) if query.charge is not UNSET else None,
        ids.read("pi", query.payment_intent) if query.payment_intent is not UNSET else None,
    )  # fmt: skip
    found = turn(page, [store.dispute_of(r) for r in rows])
    return listing(call, found, lambda d: present.dispute(d, livemode=who.livemode))


def _id(shown: str) -> UUID:
    id = ids.read("dp", shown)
    if id is None:
        raise _no_such(shown)
    return id


def _no_such(shown: str) -> NotFound:
    return NotFound(f"No such dispute: '{shown}'", param="dispute")


ROUTES = (list_disputes, retrieve_dispute, update_dispute, close_dispute)
