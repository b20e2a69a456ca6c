"""Approvals: what somebody wants done waits, with the command itself, until others have agreed; then it is done, once.

    rules = await approval.rules(tx, "refund", [book_id])              # who has to agree to what: rows of platform.approval_chain
    need = rules.need(book_id, {"CNY": 250_000})                       # None: nobody
    if need is not None:
        asked = approval.ask(book_id, "refund", "pi_…", "Refund 2500.00 CNY of …", command, need, by, asset="CNY", units=250_000)
        approval.open_one(tx, asked)                                   # in the commit that refuses, whatever else is in it
        return approval.required(asked, livemode=False)

    register({"refund": give_back})                                    # what is done with the command then: see deciding.py

Invariants.  Tests carry these names (`test_A1_...`).

    A1  Nobody decides what he made.  Makers and deciders are compared as actors: who made a merchant's key did not make what it asks for.
    A2  A decision names the hash of what its author saw; one that names another is refused.
    A3  What is expired is decided no more, whether or not a sweep came by.
    A4  Everybody decides once.
    A5  A yes counts as long as its author may give it, and is asked about at each decision.
    A6  The command is done once, in the commit of the last yes.  If it is refused then, nothing of it stays, and the approval ends with why.
    A7  The command, its maker and its steps never change: the application has no right to.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.check import must
from guilder.core.errors import ApprovalRequired, Invalid
from guilder.platform import trail
from guilder.platform.context import Context
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.platform.telemetry import redact

Q = load(__package__)
EVERY = UUID(int=0)  # a chain's book, if it is for every book
MACHINE = "machine"  # the role of whoever is at the machine: nobody in particular, and no person's
MAX_COMMAND = 1_000_000  # bytes
SEALED = "sealed:"  # how a secret lies in a command: encrypted, and never shown
_canonical = msgspec.json.Encoder(order="sorted")
_decode = msgspec.json.Decoder().decode


class Step(msgspec.Struct, frozen=True):
    """Who has to agree: so many `people` who have a permission, or a role, on the platform or at the merchant."""

    permission: str = ""
    role: str = ""
    at: Literal["platform", "merchant"] = "merchant"
    people: int = 1


@dataclass(frozen=True, slots=True)
class Chain:
    """One rule: from more than `over` of an asset on, these steps."""

    book_id: UUID
    id: UUID
    kind: str
    by_platform: bool
    asset: str
    over: int
    expires_s: int
    steps: tuple[Step, ...]
    made_by: str
    created_at: datetime

    def fits(self, book_id: UUID, asset: str, units: int | None) -> bool:
        """Whether it is about so much of `asset` in a book; `units` None: about no amount."""
        here = self.book_id in (book_id, EVERY) and self.asset in ("", asset)
        return here and (self.over == 0 or (units is not None and units > self.over))


@dataclass(frozen=True, slots=True)
class Need:
    """Who has to agree, and within what time."""

    steps: tuple[Step, ...]
    expires_s: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The chains of one kind."""

    chains: Sequence[Chain] = ()

    def need(self, book_id: UUID, amounts: Mapping[str, int] | None = None) -> Need | None:
        """Who has to agree to so much, by asset; None: nobody.  `amounts` None: it is about no amount.

        Of the platform's rules the most specific and highest applies (the book's before every book's, the asset's before any, the highest
        band), and of the merchant's own likewise; the merchant's steps come after the platform's.  Each asset is judged by itself.
        """
        found: list[Chain] = []
        for by_platform in (True, False):
            mine = [c for c in self.chains if c.by_platform is by_platform]
            for asset, units in sorted(amounts.items()) if amounts is not None else [("", None)]:
                fitting = [c for c in mine if c.fits(book_id, asset, units)]
                best = max(fitting, key=lambda c: (c.book_id == book_id, c.asset != "", c.over), default=None)
                if best is not None and best not in found:
                    found.append(best)
        if not found:
            return None
        return Need(tuple(s for c in found for s in c.steps), min(c.expires_s for c in found))


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody said."""

    actor: str
    step: int
    yes: bool
    hash: bytes
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """What somebody wants done."""

    book_id: UUID
    id: UUID
    kind: str
    subject: str
    summary: str
    command: str
    hash: bytes
    asset: str
    units: int | None
    maker: str
    steps: tuple[Step, ...]
    root_id: UUID
    business_line: str
    created_at: datetime
    expires_at: datetime
    state: str = "open"
    result: dict[str, Any] | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    decisions: tuple[Decision, ...] = field(default=(), compare=False)

    def digest(self) -> bytes:
        """The hash of what is to be done, and of what people are told of it (A2)."""
        amount = (self.asset, self.units)
        return hashlib.sha256(
            _canonical.encode((ids.text(self.book_id), self.kind, self.subject, self.summary, *amount, self.command))
        ).digest()

    def state_at(self, at: datetime) -> str:
        """The state, whether or not a sweep came by (A3)."""
        return "expired" if self.state in ("open", "approved") and self.expires_at <= at else self.state


@dataclass(frozen=True, slots=True)
class Command:
    """What an effect is given: what is to be done, in whose name, and the environment that it may show things with (and ask nothing)."""

    book_id: UUID
    approval_id: UUID
    do: dict[str, Any]
    by: Context
    at: datetime
    env: Env
    steps: tuple[Step, ...] = ()  # whom it took


Effect = Callable[
    [Tx, Command], Awaitable[dict[str, Any]]
]  # what it led to; raises Rejected if it cannot be done any more
_effects: dict[str, Effect | None] = {}


def register(effects: Mapping[str, Effect | None]) -> None:
    """What is done when all have agreed, by kind; None: nothing, its maker claims it.  Called once, by the composition root."""
    _effects.clear()
    _effects.update(effects)


def kinds() -> Mapping[str, Effect | None]:
    """What can want approval."""
    return _effects


async def rules(tx: Tx, kind: str, books: Sequence[UUID]) -> Rules:
    """Who has to agree to what is done of this kind in these books."""
    return Rules(chains_of(await tx.rows(Q.find_approval_chains, kind, [*sorted(set(books)), EVERY])))


def chains_of(rows: Sequence[Row]) -> list[Chain]:
    """Chains from the rows of their steps, which stand together."""
    found: dict[UUID, Chain] = {}
    for r in rows:
        step = Step(r["permission"], r["role"], r["at"], r["people"])
        earlier = found[r["id"]].steps if r["id"] in found else ()
        found[r["id"]] = Chain(
            r["book_id"], r["id"], r["kind"], r["by_platform"], r["asset"], r["over"], r["expires_s"], (*earlier, step), r["made_by"],
            r["created_at"],
        )  # fmt: skip
    return list(found.values())


def ask(
    book_id: UUID, kind: str, subject: str, summary: str, do: Mapping[str, Any], need: Need, by: Context, *, asset: str = "",
    units: int | None = None,
) -> Approval:  # fmt: skip
    """What is to be approved.  `do` is the whole command: texts, numbers, lists and maps; secrets in it are sealed and say so (SEALED).

    Raises Invalid if it is too large.
    """
    command, at = _canonical.encode(do).decode(), clock.now()
    if len(command) > MAX_COMMAND:
        raise Invalid(f"Nobody can approve so much at once: a command has at most {MAX_COMMAND} bytes. Split it.")
    asked = Approval(
        book_id, ids.new_id(), kind, subject, redact(summary)[:500], command, b"", asset, units, by.actor or "operator", need.steps,
        by.root_id, by.business_line, at, at + timedelta(seconds=need.expires_s),
    )  # fmt: skip
    return replace(asked, hash=asked.digest())


def open_one(tx: Tx, a: Approval, by: Context | None = None) -> None:
    """Have it opened with this transaction."""
    steps = msgspec.json.encode(a.steps).decode()
    tx.write(
        Q.insert_approval, a.book_id, a.id, a.kind, a.subject, a.summary, a.command, a.hash, a.asset, a.units, a.maker, steps, a.root_id,
        a.business_line, a.created_at, a.expires_at,
    )  # fmt: skip
    after = {"kind": a.kind, "about": a.subject, "hash": a.hash.hex(), "asset": a.asset, "units": a.units}
    trail.note(tx, "approval.opened", ids.show("apr", a.id), book_id=a.book_id, after=after, why=a.summary, by=by)


def required(a: Approval, *, livemode: bool) -> ApprovalRequired:
    """The refusal that tells of it."""
    return ApprovalRequired(
        f"This needs the approval of others first: {ids.show('apr', a.id)} is open until {a.expires_at:%Y-%m-%d %H:%M} UTC. Nothing was done "
        "yet; do not ask again, it is done when the last of them agrees.",
        details={"approval": present(a, livemode=livemode)},
    )


def approval_of(row: Row, decisions: Sequence[Row] = ()) -> Approval:
    """An approval from its row, and those of its decisions."""
    said = tuple(
        Decision(d["actor"], d["step"], d["yes"], d["hash"], d["why"], d["at"]) for d in decisions if d["approval_id"] == row["id"]
    )  # fmt: skip
    a = Approval(
        row["book_id"], row["id"], row["kind"], row["subject"], row["summary"], row["command"], row["hash"], row["asset"], row["units"],
        row["maker"], msgspec.json.decode(row["steps"], type=tuple[Step, ...]), row["root_id"], row["business_line"], row["created_at"],
        row["expires_at"], row["state"], None if row["result"] is None else _decode(row["result"]), row["reason"], row["ended_at"], said,
    )  # fmt: skip
    must(a.hash == a.digest(), f"A7: approval {ids.show('apr', a.id)} is as it was made")
    return a


async def count_open(db: Database) -> dict[str, int]:
    """How many wait for somebody, by kind."""
    return {r["kind"]: r["n"] for r in await db.rows(Q.count_open_approvals)}


class ApprovalStep(msgspec.Struct, kw_only=True):
    """Who has to agree."""

    permission: str | None
    role: str | None
    at: Literal["platform", "merchant"]
    people: int


class ApprovalDecision(msgspec.Struct, kw_only=True):
    """What somebody said."""

    by: str
    step: int
    decision: Literal["approve", "refuse"]
    why: str
    created: int


class ApprovalObject(msgspec.Struct, kw_only=True):
    """What somebody wants done, and who has agreed so far."""

    id: str
    object: Literal["approval"] = "approval"
    account: str | None
    kind: str
    subject: str
    summary: str
    amount: int | None
    asset: str | None
    command: dict[str, Any]
    hash: str
    maker: str
    state: Literal["open", "approved", "executed", "refused", "expired", "cancelled"]
    steps: list[ApprovalStep]
    decisions: list[ApprovalDecision]
    result: dict[str, Any] | None
    reason: str | None
    created: int
    expires_at: int
    ended_at: int | None
    livemode: bool


def present(a: Approval, *, livemode: bool) -> ApprovalObject:
    """An approval as the API shows it: what is sealed in its command stays so."""
    return ApprovalObject(
        id=ids.show("apr", a.id), account=None if a.book_id == ids.PLATFORM else ids.show("acct", a.book_id), kind=a.kind, subject=a.subject,
        summary=a.summary, amount=a.units, asset=a.asset.lower() or None, command=_shown(_decode(a.command)), hash=a.hash.hex(), maker=a.maker,
        state=a.state_at(clock.now()),  # pyrefly: ignore[bad-argument-type]
        steps=[ApprovalStep(permission=s.permission or None, role=s.role or None, at=s.at, people=s.people) for s in a.steps],
        decisions=[
            ApprovalDecision(by=d.actor, step=d.step, decision="approve" if d.yes else "refuse", why=d.why, created=clock.unix(d.at))
            for d in a.decisions
        ],
        result=a.result, reason=a.reason, created=clock.unix(a.created_at), expires_at=clock.unix(a.expires_at),
        ended_at=None if a.ended_at is None else clock.unix(a.ended_at), livemode=livemode,
    )  # fmt: skip


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    return SEALED if isinstance(value, str) and value.startswith(SEALED) else value
