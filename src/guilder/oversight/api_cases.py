"""The API of cases: list, look into, take, comment, lay evidence to, wait, resolve.

At a merchant these are the cases of its book; for the whole platform, those of every book.  Who may do this with what is his own, with the
cases that he owns.
"""

import base64
import binascii
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.core.page import turn
from guilder.merchants.principal import Principal
from guilder.oversight.cases import check_owner
from guilder.oversight.present import (
    CaseAttachment,
    CaseComment,
    CaseObject,
    attachment,
    case_object,
    comment,
    whole_case,
)
from guilder.payments import requery
from guilder.platform import case, casework
from guilder.platform.case import Verdict
from guilder.platform.casework import File, Reach, Wanted
from guilder.platform.db import Tx
from guilder.platform.once import once
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Text, Units, UnixTime, listing, route
from guilder.platform.web.cursor import cursor

Word = Annotated[str, Meta(min_length=1, max_length=200)]
Owner = Annotated[
    str, Meta(min_length=1, max_length=40, description="Somebody: usr_…, svc_…, operator; `me`: the caller.")
]
LARGE = 1_400_000  # characters of base64 that hold an attachment
Data = Annotated[str, Meta(min_length=1, description="Up to 1 MB, in base64.")]


class ListCases(ListParams):
    """Newest first."""

    kind: Word | UnsetType = UNSET
    state: Literal["open", "waiting", "resolved"] | UnsetType = UNSET
    owner: Owner | UnsetType = UNSET
    overdue: Annotated[bool | UnsetType, Meta(description="Whether it should be resolved by now, and is not.")] = UNSET


class UpdateCase(Params):
    """Empty: nobody, no deadline."""

    owner: Owner | UnsetType | None = UNSET
    due_at: UnixTime | UnsetType | None = UNSET


class CommentCase(Params):
    """Something to say."""

    text: Text


class AttachToCase(Params):
    """A file."""

    name: Word
    type: Annotated[
        str, Meta(pattern=r"^[a-z]+/[a-z0-9.+-]{1,100}$", examples=["image/png"], extra={"says": "It must be a media type: image/png."})
    ]  # fmt: skip
    data: Data


class WaitForCase(Params):
    """For somebody else's answer."""

    until: Annotated[UnixTime, Meta(description="Then it is open again; a year away at most.")]
    why: Text | UnsetType = UNSET


class RequeryCase(Params):
    """Nothing to say."""


class ResolveCase(Params):
    """How it is to end."""

    resolver: Annotated[Word, Meta(description="One of the case's `ways`.")]
    why: Text
    amount: Annotated[Units | UnsetType, Meta(description="How much it was, where the evidence does not say.")] = UNSET
    paid_by: Annotated[
        Literal["platform", "merchant"] | UnsetType,
        Meta(description="Who has paid it, for what was paid by another road."),
    ] = UNSET
    reference: Annotated[
        Text | UnsetType, Meta(description="What shows that: the number of a transfer, an attachment.")
    ] = UNSET


@route("GET", "/v1/cases", scope="cases:read", query=ListCases, answer=Listing[CaseObject], tag="Cases", own=True)
async def list_cases(call: Call, query: ListCases) -> Listing[CaseObject]:
    """List cases, newest first."""
    who: Principal = call.principal
    page = query.page
    older, newer, since, until = cursor(page, "case")
    owner = who.actor if query.owner == "me" else query.owner or None
    overdue = None if query.overdue is UNSET else query.overdue
    wanted = Wanted(query.kind or None, query.state or None, owner, overdue, since, until)
    rows = await casework.page(who.env.db, _reach(call), wanted, page.limit + 1, older, newer, ascending=page.ascending)
    return listing(call, turn(page, rows), lambda r: case_object(r, livemode=who.livemode))


@route("GET", "/v1/cases/{case:case}", scope="cases:read", answer=CaseObject, tag="Cases", own=True)
async def retrieve_case(call: Call) -> CaseObject:
    """Retrieve a case with all that was said about it, and how it can end."""
    db = call.principal.env.db
    return whole_case(await casework.whole(db, await casework.find(db, _reach(call), _id(call))), livemode=call.principal.livemode)  # fmt: skip


@route("POST", "/v1/cases/{case:case}", scope="cases:write", body=UpdateCase, answer=CaseObject, tag="Cases", own=True)
async def update_case(call: Call, body: UpdateCase) -> Answer:
    """Give a case to somebody who can do something about it, or another deadline."""
    who: Principal = call.principal
    owner = who.actor if body.owner == "me" else body.owner
    if owner is not UNSET:
        await check_owner(who.env, (await casework.find(who.env.db, _reach(call), _id(call)))["book_id"], owner)
    due = body.due_at if body.due_at is UNSET or body.due_at is None else clock.from_unix(body.due_at)

    async def work(tx: Tx) -> CaseObject:
        return case_object(await casework.change(tx, _reach(call), _id(call), owner, due), livemode=who.livemode)

    return await once(call, work)


@route(
    "POST", "/v1/cases/{case:case}/comments", scope="cases:write", body=CommentCase, answer=CaseComment, tag="Cases", own=True
)  # fmt: skip
async def comment_case(call: Call, body: CommentCase) -> Answer:
    """Say something to a case. It stays as it was said."""

    async def work(tx: Tx) -> CaseComment:
        return comment(await casework.comment(tx, _reach(call), _id(call), body.text))

    return await once(call, work)


@route(
    "POST", "/v1/cases/{case:case}/attachments", scope="cases:write", body=AttachToCase, answer=CaseAttachment, tag="Cases", own=True,
    max_body=LARGE + 1024,
)  # fmt: skip
async def attach_to_case(call: Call, body: AttachToCase) -> Answer:
    """Lay a file to a case, of up to 1 MB. It stays as it is."""
    try:
        content = base64.b64decode(body.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("data is no base64.", param="data") from error

    async def work(tx: Tx) -> CaseAttachment:
        return attachment(await casework.attach(tx, _reach(call), _id(call), File(body.name, body.type, content)))

    return await once(call, work)


@route("GET", "/v1/cases/{case:case}/attachments/{attachment:cat}", scope="cases:read", answer=CaseAttachment, tag="Cases", own=True)  # fmt: skip
async def retrieve_case_attachment(call: Call) -> CaseAttachment:
    """Retrieve an attachment with its content."""
    id = ids.read("cat", call.path["attachment"])
    return attachment(await casework.attachment(call.principal.env.db, _reach(call), _id(call), id), content=True)


@route("POST", "/v1/cases/{case:case}/wait", scope="cases:write", body=WaitForCase, answer=CaseObject, tag="Cases", own=True)  # fmt: skip
async def wait_for_case(call: Call, body: WaitForCase) -> Answer:
    """Leave a case alone until a time: somebody else has to answer first. It stays due when it was."""
    until, why = clock.from_unix(body.until), body.why or ""

    async def work(tx: Tx) -> CaseObject:
        row = await casework.wait(tx, _reach(call), _id(call), until, why)
        return case_object(row, livemode=call.principal.livemode)

    return await once(call, work)


@route(
    "POST",
    "/v1/cases/{case:case}/requery",
    scope="cases:write",
    body=RequeryCase,
    answer=CaseComment,
    tag="Cases",
    own=True,
)
async def requery_case(call: Call, body: RequeryCase) -> CaseComment:
    """Ask the channel again, now, about the payment or refund that a case is about; the answer is recorded, and said to the case."""
    env = call.principal.env
    row = await casework.find(env.db, _reach(call), _id(call))
    said = await requery.ask(env, case.dossier(row))
    return comment(await env.db.transact(lambda tx: casework.comment(tx, _reach(call), _id(call), said)))


@route("POST", "/v1/cases/{case:case}/resolve", scope="cases:write", body=ResolveCase, answer=CaseObject, tag="Cases", own=True)  # fmt: skip
async def resolve_case(call: Call, body: ResolveCase) -> Answer:
    """End a case by one of its `ways`. The journal that it leaves, the decision and the case are one commit; nobody ends it twice."""
    said = Verdict(
        body.resolver, body.why, None if body.amount is UNSET else body.amount, body.reference or "", body.paid_by or ""
    )
    verdict = await casework.ready(call.principal.env, _reach(call), _id(call), said)

    async def work(tx: Tx) -> CaseObject:
        return case_object(
            await casework.resolve(tx, _reach(call), _id(call), verdict), livemode=call.principal.livemode
        )

    return await once(call, work)


def _reach(call: Call) -> Reach:
    who: Principal = call.principal
    book_id = None if who.book_id == ids.PLATFORM else who.book_id
    return Reach(book_id, who.actor if call.only_own else None, "cases:write" in who.platform)


def _id(call: Call) -> UUID | None:
    return ids.read("case", call.path["case"])


ROUTES = (
    list_cases, retrieve_case, update_case, comment_case, attach_to_case, retrieve_case_attachment, wait_for_case, requery_case, resolve_case,
)  # fmt: skip
