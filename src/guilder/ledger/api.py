"""The calls of the book: accounts, journals in bulk, statements."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from guilder.core import clock, ids
from guilder.core.amount import EXPONENT, INT64
from guilder.core.errors import ApprovalRequired, Invalid, NotFound
from guilder.core.page import turn
from guilder.ledger import manual, present
from guilder.ledger.chart import Account
from guilder.ledger.history import attached, statement
from guilder.ledger.model import MAX_TRANSFERS, OWN_KEY, Journal, Transfer, capture, hold, release
from guilder.ledger.own import note, open_own
from guilder.ledger.posting import post
from guilder.ledger.present import LedgerAccount, LedgerJournal, Posting, StatementLine
from guilder.platform import approval, context
from guilder.platform.db import Row, Tx
from guilder.platform.once import once
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Refusals, UnixTime, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
MAX_JOURNALS = 1000  # of one call
MOST_LINES = Meta(max_length=MAX_TRANSFERS // 4)  # of each kind

Asset = Annotated[
    str,
    Meta(pattern=f"^({'|'.join(sorted(a.lower() for a in EXPONENT))}|[a-z][a-z0-9_]{{3,31}})$", examples=["cny", "point"],
         extra={"says": "It must be a currency (cny) or an asset of your own with at least four letters (point), in lower case."}),
]  # fmt: skip
OwnCode = Annotated[
    str,
    Meta(pattern=r"^x:[!-~]{1,80}$", examples=["x:wallet:alice"],
         extra={"says": "Accounts of your own begin with x: and have up to 80 more printable characters, no spaces."}),
]  # fmt: skip
Code = Annotated[
    str,
    Meta(pattern=r"^[!-~]{1,82}$", examples=["x:wallet:alice"],
         extra={"says": "Accounts have up to 82 printable characters, no spaces; those of your own begin with x:."},
         description="One of your own; the platform's people may name any account of the book."),
]  # fmt: skip
Key = Annotated[
    str,
    Meta(
        pattern=r"^[!-~]{1,100}$",
        examples=["order-7"],
        extra={"says": "It must be 1 to 100 printable characters, no spaces."},
    ),
]
Units = Annotated[int, Meta(ge=1, le=INT64, examples=[1250])]
HoldId = Annotated[str, id_of("hd")]


class OpenAccount(Params):
    """An account of your own."""

    code: OwnCode
    asset: Asset
    normal: Literal["debit", "credit"] = "credit"
    floor: (
        Annotated[int, Meta(ge=-INT64, le=0, description="Default 0; what is available never goes below it.")]
        | UnsetType
    ) = UNSET
    unlimited: Annotated[bool, Meta(description="No floor: it may go anywhere.")] = False


class MoveParams(Params):
    """Units from one account to another."""

    debit: Code
    credit: Code
    asset: Asset
    units: Units


class HoldParams(Params):
    """Units that are reserved: still there, no longer available."""

    id: HoldId
    account: Code
    asset: Asset
    units: Units
    expires_at: UnixTime | UnsetType = UNSET


class CaptureParams(Params):
    """A part of what is held moves; as often as something remains."""

    hold: HoldId
    debit: Code
    credit: Code
    asset: Asset
    units: Units


class ReleaseParams(Params):
    """A part of what is held is free again; without units, all that remains."""

    hold: HoldId
    account: Code
    asset: Asset
    units: Units | UnsetType = UNSET


class JournalParams(Params):
    """One journal: its key, once in your book, and what it does, in this order."""

    key: Key
    transfers: Annotated[list[MoveParams], MOST_LINES] = field(default_factory=list)
    holds: Annotated[list[HoldParams], MOST_LINES] = field(default_factory=list)
    captures: Annotated[list[CaptureParams], MOST_LINES] = field(default_factory=list)
    releases: Annotated[list[ReleaseParams], MOST_LINES] = field(default_factory=list)
    group: (
        Annotated[
            str, Meta(min_length=1, max_length=100, description="Neighbours of one group stand or fall together.")
        ]
        | UnsetType
    ) = UNSET
    effective_at: UnixTime | UnsetType = UNSET


class PostJournals(Params):
    """A batch."""

    journals: Annotated[list[JournalParams], Meta(min_length=1, max_length=MAX_JOURNALS)]


class ListAccounts(ListParams):
    """By code."""

    REFUSED: ClassVar[Refusals] = {"created": "accounts have no date of their own."}


class ListJournals(ListParams):
    """Newest first."""


class ListLines(ListParams):
    """Oldest first, as a statement reads."""

    REFUSED: ClassVar[Refusals] = {
        "ending_before": "a statement is read from its beginning: page on with starting_after."
    }


class Retrieve(Params):
    """Nothing to say."""


@route("POST", "/v1/ledger/accounts", scope="ledger:write", body=OpenAccount, answer=LedgerAccount, tag="Ledger")
async def open_ledger_account(call: Call, body: OpenAccount) -> Answer:
    """Open an account of your own; one that is there as you say is returned."""
    account = _account(body.code, body.asset)
    floor = None if body.unlimited else (0 if body.floor is UNSET else body.floor)

    async def work(tx: Tx) -> LedgerAccount:
        row = await open_own(tx, call.principal.book_id, account, body.normal, floor)
        return present.account(row, livemode=call.principal.env.livemode)

    return await once(call, work)


@route(
    "GET", "/v1/ledger/accounts", scope="ledger:read", query=ListAccounts, answer=Listing[LedgerAccount], tag="Ledger"
)
async def list_ledger_accounts(call: Call, query: ListAccounts) -> Listing[LedgerAccount]:
    """List the accounts of your book, those of the chart too, by their ids."""
    who, page = call.principal, query.page
    older, newer, *_ = cursor(page, "la")
    rows = await who.env.db.rows(walked(Q.page_accounts, page.ascending), who.book_id, older, newer, page.limit + 1)
    return listing(call, turn(page, rows), lambda r: present.account(r, livemode=who.env.livemode))


@route(
    "GET",
    "/v1/ledger/accounts/{ledger_account:la}",
    scope="ledger:read",
    query=Retrieve,
    answer=LedgerAccount,
    tag="Ledger",
)
async def retrieve_ledger_account(call: Call, query: Retrieve) -> LedgerAccount:
    """Retrieve an account with its balance."""
    return present.account(await _found(call), livemode=call.principal.env.livemode)


@route(
    "GET",
    "/v1/ledger/accounts/{ledger_account:la}/lines",
    scope="ledger:read",
    query=ListLines,
    answer=Listing[StatementLine],
    tag="Ledger",
)
async def list_ledger_lines(call: Call, query: ListLines) -> Listing[StatementLine]:
    """Read an account's statement: its lines with the balance after each, in the order in which they were booked."""
    row = await _found(call)
    page = query.page
    since, until = (None if at is None else clock.from_unix(at) for at in (page.created.since, page.created.until))
    after = None if page.after is None else _line_id(page.after)
    account = Account(row["code"], row["asset"])
    rows = await statement(
        call.principal.env.db, call.principal.book_id, account, since, until, after=after, limit=page.limit + 1
    )  # fmt: skip
    return listing(call, turn(page, rows), present.line)


@route("POST", "/v1/ledger/journals", scope="ledger:write", body=PostJournals, answer=Posting, tag="Ledger")
async def post_ledger_journals(call: Call, body: PostJournals) -> Answer:
    """Post up to 1,000 journals between accounts of your own, in order, with an answer for each; the platform's people, between any of the book.

    A journal that is refused moves nothing and disturbs no other; its key is used up. Posting the same journal again says exists. What people
    post may need approval: then nothing is posted (`approval_required`), and all of it, or nothing, when the last of them agrees.
    """
    who, now = call.principal, clock.now()
    by_hand, book, ends = who.kind == "person", who.book_id, _ends(body.journals)
    if by_hand and "ledger:write" in who.platform:
        manual.refuse_clearing(ends)
    elif foreign := next((param for param, code in ends.items() if not code.startswith(OWN_KEY)), None):
        raise Invalid(
            f"Invalid {foreign}: {ends[foreign]}. Accounts of your own begin with x:; to others only the platform's people post.",
            param=foreign,
        )
    journals = [_journal(book, j, now, by_hand=by_hand) for j in body.journals]

    async def work(tx: Tx) -> Posting | ApprovalRequired:
        if by_hand:
            asked = await manual.wanted(tx, book, journals, now, "by hand")
            if asked is not None:
                return approval.required(asked, livemode=who.env.livemode)
        posted = await post(tx, journals)
        note(tx, book, "ledger.posted", posted)
        return present.posting([j.key for j in body.journals], posted, livemode=who.env.livemode)

    return await once(call, work, hopeful=not by_hand)


@route(
    "GET", "/v1/ledger/journals", scope="ledger:read", query=ListJournals, answer=Listing[LedgerJournal], tag="Ledger"
)
async def list_ledger_journals(call: Call, query: ListJournals) -> Listing[LedgerJournal]:
    """List the journals of your book, newest first; payments' journals are among them."""
    who, page = call.principal, query.page
    older, newer, since, until = cursor(page, "jl")
    found = await who.env.db.rows(
        walked(Q.list_journals, page.ascending), who.book_id, older, newer, since, until, page.limit + 1
    )
    rows = await who.env.db.rows(Q.find_journals, who.book_id, [r["id"] for r in found])
    lines: dict[UUID, list[Row]] = {}
    for row in rows:
        lines.setdefault(row["journal_id"], []).append(row)
    return listing(call, turn(page, found), lambda r: present.journal(lines[r["id"]], livemode=who.env.livemode))


@route(
    "GET",
    "/v1/ledger/journals/{ledger_journal:jl}",
    scope="ledger:read",
    query=Retrieve,
    answer=LedgerJournal,
    tag="Ledger",
)
async def retrieve_ledger_journal(call: Call, query: Retrieve) -> LedgerJournal:
    """Retrieve a journal."""
    id = ids.read("jl", call.path["ledger_journal"])
    rows = await call.principal.env.db.rows(Q.find_journals, call.principal.book_id, [id])
    if not rows:
        if id is not None:
            await attached(call.principal.env.db, call.principal.book_id, id)
        raise NotFound(f"No such journal: '{call.path['ledger_journal']}'", param="journal")
    return present.journal(rows, livemode=call.principal.env.livemode)


async def _found(call: Call) -> Row:
    """The account of the path."""
    shown = call.path["ledger_account"]
    row = await call.principal.env.db.row(Q.find_account, call.principal.book_id, ids.read("la", shown))
    if row is None:
        raise NotFound(f"No such ledger account: '{shown}'", param="account")
    return row


def _ends(journals: list[JournalParams]) -> dict[str, str]:
    """The accounts that are named, by the parameters that name them."""
    found: dict[str, str] = {}
    for n, j in enumerate(journals):
        for kind, lines in (("transfers", j.transfers), ("captures", j.captures)):
            for i, t in enumerate(lines):
                found[f"journals[{n}][{kind}][{i}][debit]"], found[f"journals[{n}][{kind}][{i}][credit]"] = (
                    t.debit,
                    t.credit,
                )
        for kind, lines in (("holds", j.holds), ("releases", j.releases)):
            for i, t in enumerate(lines):
                found[f"journals[{n}][{kind}][{i}][account]"] = t.account
    return found


def _journal(book_id: UUID, said: JournalParams, now: datetime, *, by_hand: bool) -> Journal:
    moved = now if said.effective_at is UNSET else clock.from_unix(said.effective_at)
    about = context.current()
    key, rule = (manual.KEY, manual.RULE) if by_hand else (OWN_KEY, "own")
    return Journal(
        book_id, f"{key}{said.key}", rule, tuple(_lines(said)), about.root_id, moved, about.root_id, about.business_line,
        group=None if said.group is UNSET else said.group,
    )  # fmt: skip


def _lines(said: JournalParams) -> Iterator[Transfer]:
    for t in said.transfers:
        yield Transfer(_account(t.debit, t.asset), _account(t.credit, t.asset), t.units)
    for h in said.holds:
        until = None if h.expires_at is UNSET else clock.from_unix(h.expires_at)
        yield hold(_account(h.account, h.asset), h.units, _hold_id(h.id), until)
    for c in said.captures:
        yield capture(_hold_id(c.hold), _account(c.debit, c.asset), _account(c.credit, c.asset), c.units)
    for r in said.releases:
        yield release(_hold_id(r.hold), _account(r.account, r.asset), None if r.units is UNSET else r.units)


def _hold_id(shown: str) -> UUID:
    id = ids.read("hd", shown)
    if id is None:
        raise Invalid(
            f"{shown} is no id: hd_ and a UUID in 26 characters of base32, which begin with 0 to 7.", param="hold"
        )
    return id


def _account(code: str, asset: str) -> Account:
    return Account(code, asset.upper())


def _line_id(shown: str) -> tuple[UUID, int]:
    journal, _, line = shown.partition(".")
    id = ids.read("jl", journal)
    if id is None or not line.isascii() or not line.isdecimal() or len(line) > 5:
        raise NotFound(f"No such object: '{shown[:100]}'", param="starting_after")
    return id, int(line)


ROUTES = (
    open_ledger_account, list_ledger_accounts, retrieve_ledger_account, list_ledger_lines, post_ledger_journals, list_ledger_journals,
    retrieve_ledger_journal,
)  # fmt: skip
