"""Manual journals: what people post by hand, through the API or from a file, and what of it others have to agree to first.

A merchant's keys and people move units between accounts of its own (`x:…`); whoever has `ledger:write` on the platform, between any of the book,
except what books owe each other: what the platform owes a merchant is not his to write.  What people post may need approval, and what waits for approval is posted as a whole or not at all: a journal that is refused then takes all of them with it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import shown
from guilder.core.check import must
from guilder.core.errors import Invalid, WrongState
from guilder.ledger.chart import Account
from guilder.ledger.model import Journal, Transfer
from guilder.ledger.own import note
from guilder.ledger.posting import post
from guilder.platform import approval, context
from guilder.platform.approval import Approval, Command
from guilder.platform.db import Tx

KIND = "journal"  # of what waits for approval
RULE, KEY = "manual", "manual:"
NOT_BY_HAND = "What books owe each other is posted in both, never by hand in one."


def is_clearing(code: str) -> bool:
    """Whether an account is what books owe each other."""
    return code.partition(":")[0] == "clearing"


def sums(journals: Sequence[Journal]) -> dict[str, int]:
    """How much they move, reserve or take in all, by asset: what limits are held against."""
    found: dict[str, int] = {}
    for j in journals:
        for t in j.transfers:
            found[t.debit.asset] = found.get(t.debit.asset, 0) + t.units
    return found


async def wanted(tx: Tx, book_id: UUID, journals: Sequence[Journal], now: datetime, source: str) -> Approval | None:
    """Open an approval if others have to agree to these; None: nobody has to.  Raises Invalid if it is too much for one."""
    moved = sums(journals)
    need = (await approval.rules(tx, KIND, [book_id])).need(book_id, moved)
    if need is None:
        return None
    asset = max(moved, key=lambda a: moved[a], default="")
    told = ", ".join(f"{shown(units, a)} {a}" for a, units in sorted(moved.items())) or "nothing"
    summary = f"Post {len(journals)} journals {source}: {told}."
    do = {"journals": [_wire(j, now) for j in journals]}
    by = context.current()
    asked = approval.ask(book_id, KIND, _subject(journals), summary, do, need, by, asset=asset, units=moved.get(asset))
    approval.open_one(tx, asked, by)
    return asked


async def post_approved(tx: Tx, command: Command) -> dict[str, Any]:
    """Post what all have agreed to.  Raises WrongState if one of them is refused: then none is posted, and no key is used up."""
    journals = [_read(command, said) for said in command.do["journals"]]
    posted = await post(tx, journals)
    refused = [f"{j.key}: {p.code}" for j, p in zip(journals, posted, strict=True) if not p.booked]
    if refused:
        raise WrongState(
            f"The book refuses {len(refused)} of these journals: {', '.join(refused[:5])}.", code="journals_refused"
        )
    note(tx, command.book_id, "ledger.posted", posted)
    return {"journals": [ids.show("jl", p.journal_id) for p in posted if p.journal_id is not None]}


def _subject(journals: Sequence[Journal]) -> str:
    keys = [j.key for j in journals]
    return keys[0] if len(keys) == 1 else f"{keys[0]} … {keys[-1]}" if keys else ""


def _wire(j: Journal, now: datetime) -> dict[str, Any]:
    """A journal in a command.  One that was to move now moves when it is posted."""
    lines = [
        {
            "kind": t.kind, "debit": t.debit.code, "credit": None if t.credit is None else t.credit.code, "asset": t.debit.asset,
            "units": t.units, "hold": None if t.hold is None else ids.show("hd", t.hold),
            "expires_at": None if t.expires_at is None else t.expires_at.isoformat(),
        }
        for t in j.transfers
    ]  # fmt: skip
    at = None if j.at == now else j.at.isoformat()
    return {"key": j.key, "rule": j.rule, "at": at, "group": j.group, "note": j.note, "lines": lines}


def _read(command: Command, said: Mapping[str, Any]) -> Journal:
    at = command.at if said["at"] is None else datetime.fromisoformat(said["at"])
    lines = tuple(_line(line) for line in said["lines"])
    by = command.by
    return Journal(
        command.book_id, said["key"], said["rule"], lines, command.approval_id, at, by.root_id, by.business_line, group=said["group"],
        note=said["note"],
    )  # fmt: skip


def _line(said: Mapping[str, Any]) -> Transfer:
    asset, hold = said["asset"], None if said["hold"] is None else ids.read("hd", said["hold"])
    must((hold is None) == (said["hold"] is None), "a command names holds by their ids")
    until = None if said["expires_at"] is None else datetime.fromisoformat(said["expires_at"])
    credit = None if said["credit"] is None else Account(said["credit"], asset)
    return Transfer(Account(said["debit"], asset), credit, said["units"], said["kind"], hold, until)


def refuse_clearing(codes: Mapping[str, str]) -> None:
    """Raises Invalid, which names the parameter, if one of these accounts is not posted to by hand."""
    for param, code in codes.items():
        if is_clearing(code):
            raise Invalid(NOT_BY_HAND, param=param)
