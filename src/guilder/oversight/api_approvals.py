"""The calls of approvals, and of the chains that say what needs them."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.amount import INT64
from guilder.core.errors import Invalid, NotFound
from guilder.merchants import onboard
from guilder.merchants.principal import Principal
from guilder.oversight import approvals
from guilder.people.model import PERMISSIONS
from guilder.platform import approval, chains, deciding
from guilder.platform.approval import EVERY, ApprovalObject, ApprovalStep, Chain, Step, present
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.once import once
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Route, id_of, listing, route

Kind = Annotated[
    str, Meta(pattern=r"^[a-z_]{1,40}$", examples=["refund"], extra={"says": "Kinds are words: refund, journal."})
]
Why = Annotated[str, Meta(max_length=500)]
Hash = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}$", description="Of the approval as you saw it.", extra={"says": "It is 64 hexadecimal digits."})
]  # fmt: skip
Asset = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]{2,31}$", examples=["cny"], extra={"says": "An asset in lower case: cny, point."})
]  # fmt: skip
State = Literal["open", "approved", "executed", "refused", "expired", "cancelled"]


class Decide(Params):
    """Yes or no."""

    decision: Literal["approve", "refuse"]
    hash: Hash
    why: Why = ""


class Cancel(Params):
    """Take it back."""

    why: Why = ""


class ListApprovals(ListParams):
    """Newest first."""

    state: State | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET


class StepParams(Params):
    """Who has to agree, with approvals:decide: whoever has a permission too, or a role."""

    permission: Annotated[str, Meta(pattern=r"^[a-z_]+:[a-z]+$", examples=["ledger:write"])] | UnsetType = UNSET
    role: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,60}$", examples=["finance"])] | UnsetType = UNSET
    at: (
        Annotated[Literal["platform", "merchant"], Meta(description="Where they must have it: as a rule, where the chain is made.")] | UnsetType
    ) = UNSET  # fmt: skip
    people: Annotated[int, Meta(ge=1, le=10)] = 1


class MakeChain(Params):
    """From more than `over` on, these have to agree, one after the other."""

    kind: Kind
    steps: Annotated[list[StepParams], Meta(min_length=1, max_length=10)]
    account: (
        Annotated[str, id_of("acct"), Meta(description="Only of this merchant; the platform's own rules alone name one.")] | UnsetType
    ) = UNSET  # fmt: skip
    asset: Annotated[Asset, Meta(description="Only of this asset.")] | UnsetType = UNSET
    over: Annotated[int, Meta(ge=0, le=INT64, description="In smallest units; 0: whatever the amount.")] = 0
    expires_in: Annotated[int, Meta(ge=60, le=90 * 86_400, description="Seconds there are to decide.")] = 3 * 86_400


class ChainObject(msgspec.Struct, kw_only=True):
    """A rule that says what needs approval, and whose."""

    id: str
    object: Literal["approval_chain"] = "approval_chain"
    kind: str
    account: Annotated[str | None, Meta(description="null: every merchant's.")]
    owner: Annotated[
        Literal["platform", "merchant"], Meta(description="Whose rule: both apply, none replaces the other.")
    ]
    asset: str | None
    over: int
    expires_in: int
    steps: list[ApprovalStep]
    maker: str
    created: int
    livemode: bool


class DeletedChain(msgspec.Struct, kw_only=True):
    """What is left of a rule."""

    id: str
    object: Literal["approval_chain"] = "approval_chain"
    deleted: Literal[True] = True


class ChainList(msgspec.Struct, kw_only=True):
    """All of them: there are few."""

    object: Literal["list"] = "list"
    data: list[ChainObject]
    has_more: bool = False
    url: str


class Nothing(Params):
    """Nothing to say."""


@route(
    "GET", "/v1/approvals", scope="approvals:read", query=ListApprovals, answer=Listing[ApprovalObject], tag="Approvals"
)
async def list_approvals(call: Call, query: ListApprovals) -> Listing[ApprovalObject]:
    """List what waits for approval, or did; for the platform's people, of every merchant."""
    who: Principal = call.principal
    book = None if who.book_id == ids.PLATFORM else who.book_id
    found = await deciding.page(who.env.db, book, query.page, query.state or None, query.kind or None)
    return listing(call, found, lambda a: present(a, livemode=who.livemode))


@route(
    "GET", "/v1/approvals/{approval:apr}", scope="approvals:read", query=Nothing, answer=ApprovalObject, tag="Approvals"
)
async def retrieve_approval(call: Call, query: Nothing) -> ApprovalObject:
    """Retrieve an approval: what is to be done, who has agreed, and its hash, which a decision must name."""
    who: Principal = call.principal
    return present(await deciding.find(who.env.db, who.book_id, _id(call)), livemode=who.livemode)


@route(
    "POST",
    "/v1/approvals/{approval:apr}/decide",
    scope="approvals:decide",
    body=Decide,
    answer=ApprovalObject,
    tag="Approvals",
)
async def decide_approval(call: Call, body: Decide) -> Answer:
    """Say yes or no. The last yes does what was asked for, at once; if that cannot be done any more, the approval ends refused, with why."""
    who: Principal = call.principal
    said = approvals.person(who.actor), body.decision == "approve", bytes.fromhex(body.hash), body.why
    return await approvals.decide(who.env, who.book_id, _id(call), said, lambda work: once(call, work))


@route(
    "POST",
    "/v1/approvals/{approval:apr}/cancel",
    scope="approvals:read",
    body=Cancel,
    answer=ApprovalObject,
    tag="Approvals",
)
async def cancel_approval(call: Call, body: Cancel) -> Answer:
    """Take back what you have asked for."""
    who: Principal = call.principal

    async def work(tx: Tx) -> ApprovalObject:
        return present(await deciding.cancel(tx, who.book_id, _id(call), who.actor, body.why), livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/approval_chains", scope="approvals:read", query=Nothing, answer=ChainList, tag="Approvals")
async def list_approval_chains(call: Call, query: Nothing) -> ChainList:
    """List the rules that say what needs approval: those of every merchant, and of this one."""
    who: Principal = call.principal
    found = await chains.of(who.env.db, None if who.book_id == ids.PLATFORM else who.book_id)
    return ChainList(data=[_chain(c, livemode=who.livemode) for c in found], url=call.target)


@route("POST", "/v1/approval_chains", scope="approvals:write", body=MakeChain, answer=ChainObject, tag="Approvals")
async def make_approval_chain(call: Call, body: MakeChain) -> Answer:
    """Make a rule. On the platform it is for every merchant, or for the one that `account` names; a merchant's own is asked for beside these."""
    who: Principal = call.principal
    by_platform = who.book_id == ids.PLATFORM
    book = await _book(who.env, body.account) if by_platform else who.book_id
    if not by_platform and body.account is not UNSET and ids.read("acct", body.account) != book:
        raise Invalid("A merchant's rule is for this merchant.", param="account")
    steps = tuple(_step(s, n, "platform" if by_platform else "merchant") for n, s in enumerate(body.steps))
    asset = "" if body.asset is UNSET else body.asset.upper()
    new = Chain(
        book, ids.new_id(), body.kind, by_platform, asset, body.over, body.expires_in, steps, who.actor, clock.now()
    )

    async def work(tx: Tx) -> ChainObject:
        await chains.make(tx, new)
        return _chain(new, livemode=who.livemode)

    return await once(call, work)


@route("DELETE", "/v1/approval_chains/{chain:apc}", scope="approvals:write", answer=DeletedChain, tag="Approvals")
async def delete_approval_chain(call: Call) -> Answer:
    """Delete a rule. What is open keeps the steps that it was made with."""
    who: Principal = call.principal
    shown = call.path["chain"]

    async def work(tx: Tx) -> DeletedChain:
        await chains.delete(tx, None if who.book_id == ids.PLATFORM else who.book_id, ids.read("apc", shown), shown)
        return DeletedChain(id=shown)

    return await once(call, work)


def _step(s: StepParams, n: int, at: Literal["platform", "merchant"]) -> Step:
    if (s.permission is UNSET) == (s.role is UNSET):
        raise Invalid("A step has a permission or a role.", param=f"steps[{n}]")
    if s.permission is not UNSET and s.permission not in PERMISSIONS:
        raise Invalid(f"There is no permission {s.permission[:40]}.", param=f"steps[{n}][permission]")
    return Step(s.permission or "", s.role or "", at if s.at is UNSET else s.at, s.people)


async def _book(env: Env, account: str | UnsetType) -> UUID:
    if account is UNSET:
        return EVERY
    id = ids.read("acct", account)
    if id is None or await onboard.find(env, id) is None:
        raise NotFound(f"No such account: '{account}'", param="account")
    return id


def _id(call: Call) -> UUID:
    id = ids.read("apr", call.path["approval"])
    if id is None:
        raise deciding.no_such(call.path["approval"])
    return id


def _chain(c: Chain, *, livemode: bool) -> ChainObject:
    return ChainObject(
        id=ids.show("apc", c.id), kind=c.kind, account=None if c.book_id == approval.EVERY else ids.show("acct", c.book_id),
        owner="platform" if c.by_platform else "merchant", asset=c.asset.lower() or None, over=c.over, expires_in=c.expires_s,
        steps=[ApprovalStep(permission=s.permission or None, role=s.role or None, at=s.at, people=s.people) for s in c.steps],
        maker=c.made_by, created=clock.unix(c.created_at), livemode=livemode,
    )  # fmt: skip


ROUTES: tuple[Route, ...] = (
    list_approvals, retrieve_approval, decide_approval, cancel_approval, list_approval_chains, make_approval_chain, delete_approval_chain,
)  # fmt: skip
