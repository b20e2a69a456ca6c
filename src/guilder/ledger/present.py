"""The book as the API shows it.  `/v1/ledger` follows the conventions of the dialect; Stripe has nothing like it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from guilder.core import clock, ids
from guilder.ledger.model import OWN_KEY, Posted
from guilder.platform.db import Row


class LedgerAccount(Struct, kw_only=True):
    """An account of the book."""

    id: str
    object: Literal["ledger.account"] = "ledger.account"
    code: str
    asset: Annotated[str, Meta(description="A currency or an asset of your own, in lower case.")]
    normal: Literal["debit", "credit"]
    floor: Annotated[int | None, Meta(description="What is available never goes below it; null: it may go anywhere.")]
    closed: bool
    balance: Annotated[int, Meta(description="On the side where it normally stands.")]
    held: Annotated[int, Meta(description="Reserved by holds.")]
    available: Annotated[int, Meta(description="Credits less debits less what is held.")]
    livemode: bool


class LedgerTransfer(Struct, kw_only=True):
    """One line of a journal."""

    kind: str
    debit: str
    credit: str | None
    asset: str
    units: int


class LedgerJournal(Struct, kw_only=True):
    """One business entry.  Written once."""

    id: str
    object: Literal["ledger.journal"] = "ledger.journal"
    key: str
    rule: str
    created: Annotated[int, Meta(description="When it was booked.")]
    effective_at: Annotated[int, Meta(description="When the money moved.")]
    reverses: str | None
    transfers: list[LedgerTransfer]
    livemode: bool


class PostedAnswer(Struct, kw_only=True):
    """What became of one journal."""

    key: str
    code: Annotated[
        str, Meta(description="created, exists, insufficient_funds …: see the table of codes in the guide.")
    ]
    booked: Annotated[bool, Meta(description="Whether the book holds exactly this journal.")]
    journal: str | None
    was: Annotated[str | None, Meta(description="With already_refused: why.")]


class Posting(Struct, kw_only=True):
    """The answers of a batch, in its order."""

    object: Literal["ledger.posting"] = "ledger.posting"
    answers: list[PostedAnswer]
    livemode: bool


class StatementLine(Struct, kw_only=True):
    """A line of an account, with what it stood at after it."""

    object: Literal["ledger.line"] = "ledger.line"
    id: str
    journal: str
    key: str
    rule: str
    kind: str
    other: Annotated[str | None, Meta(description="The account at the other end.")]
    units: Annotated[int, Meta(description="Credited, or debited if below zero; of holds what they reserve or free.")]
    balance: Annotated[int, Meta(description="Credits less debits after it.")]
    held: int
    created: int
    effective_at: int


def account(row: Row, *, livemode: bool) -> LedgerAccount:
    """An account from its row."""
    return LedgerAccount(
        id=ids.show("la", row["id"]), code=row["code"], asset=row["asset"].lower(), normal=row["normal"], floor=row["floor"],
        closed=row["closed"], balance=row["shown"], held=row["held"], available=row["balance"] - row["held"], livemode=livemode,
    )  # fmt: skip


def posting(keys: list[str], posted: list[Posted], *, livemode: bool) -> Posting:
    """The answers of a batch."""
    answers = [
        PostedAnswer(
            key=key, code=p.code.value, booked=p.booked, journal=None if p.journal_id is None else ids.show("jl", p.journal_id),
            was=None if p.was is None else p.was.value,
        )
        for key, p in zip(keys, posted, strict=True)
    ]  # fmt: skip
    return Posting(answers=answers, livemode=livemode)


def journal(rows: list[Row], *, livemode: bool) -> LedgerJournal:
    """A journal from the rows of its lines; one that closes or opens something has none."""
    first = rows[0]
    return LedgerJournal(
        id=ids.show("jl", first["journal_id"]), key=first["key"].removeprefix(OWN_KEY), rule=first["rule"], created=booked_at(first["journal_id"].int),
        effective_at=clock.unix(first["at"]), reverses=None if first["reverses"] is None else ids.show("jl", first["reverses"]),
        transfers=[
            LedgerTransfer(kind=r["kind"], debit=r["debit"], credit=r["credit"], asset=r["asset"].lower(), units=r["units"])
            for r in rows
            if r["kind"] is not None
        ],
        livemode=livemode,
    )  # fmt: skip


def line(row: Row) -> StatementLine:
    """A line of a statement."""
    return StatementLine(
        id=f"{ids.show('jl', row['journal_id'])}.{row['line']}", journal=ids.show("jl", row["journal_id"]), key=row["key"].removeprefix(OWN_KEY), rule=row["rule"],
        kind=row["kind"], other=row["other"], units=int(row["units"]), balance=int(row["balance"]), held=int(row["held"]),
        created=booked_at(row["journal_id"].int), effective_at=clock.unix(row["at"]),
    )  # fmt: skip


def booked_at(id: int) -> int:
    """When a journal was booked, from its id, in unix seconds."""
    return (id >> 80) // 1000
