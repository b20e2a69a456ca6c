"""Rulesets: drafted, made live, had back; and what is live, compiled once per version and process."""

from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.check import must
from guilder.core.errors import Invalid, NotFound
from guilder.merchants import channel_accounts
from guilder.platform import approval, context, jobs, trail
from guilder.platform.approval import Approval, Command
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.routing.decide import Ruleset, compiled
from guilder.routing.model import Content

Q = load(__package__)
KIND = "routing"  # of what waits for approval
MOST_COMPILED = 1000


def read(content: Any) -> Content:
    """Rules from what JSON became.  Raises Invalid, by name."""
    try:
        return msgspec.convert(content, Content)
    except msgspec.ValidationError as error:
        raise Invalid(f"These are no rules: {error}.", param="content") from error


async def draft(tx: Tx, book_id: UUID, content: Content, note: str = "") -> Row:
    """Keep a version; nothing goes by it yet.  Raises Invalid if a rule is none."""
    id = ids.new_id()
    compiled(id, 0, content)
    by = context.current().actor or "operator"
    row = await tx.row(Q.insert_ruleset, book_id, id, msgspec.json.encode(content).decode(), note, by)
    assert row is not None
    trail.note(tx, "routing.drafted", ids.show("rs", id), book_id=book_id, after={"number": row["number"]}, why=note)
    return row


async def activate(tx: Tx, book_id: UUID, id: UUID, why: str = "") -> Row | Approval:
    """Have payments go by a version, or ask those who have to agree.  Raises NotFound."""
    row = await tx.row(Q.find_ruleset, book_id, id)
    if row is None:
        raise NotFound(f"No such ruleset: '{ids.show('rs', id)}'", param="ruleset")
    if row["state"] == "live":
        return row
    need = (await approval.rules(tx, KIND, [book_id])).need(book_id)
    if need is None:
        return await _make_live(tx, book_id, id, why)
    by, shown = context.current(), ids.show("rs", id)
    command = {"do": "live", "ruleset": shown, "why": why}
    asked = approval.ask(book_id, KIND, shown, f"Route payments by version {row['number']}.", command, need, by)
    approval.open_one(tx, asked, by)
    return asked


async def activate_approved(tx: Tx, command: Command) -> dict[str, Any]:
    """Do what all have agreed to."""
    id = ids.read("rs", command.do["ruleset"])
    must(id is not None, "a command names its ruleset")
    assert id is not None
    await _make_live(tx, command.book_id, id, command.do["why"])
    return {"ruleset": command.do["ruleset"]}


async def back(tx: Tx, book_id: UUID, why: str = "") -> Row | Approval:
    """Have payments go by the version that was live before.  Raises Invalid."""
    row = await tx.row(Q.earlier_ruleset, book_id)
    if row is None:
        raise Invalid("No other version has ever been live.")
    return await activate(tx, book_id, row["id"], why)


async def _make_live(tx: Tx, book_id: UUID, id: UUID, why: str) -> Row:
    retired = await tx.row(Q.retire_ruleset, book_id, id)
    by = context.current().actor or "operator"
    row = await tx.row(Q.make_ruleset_live, book_id, id, by)
    if row is None:  # it is: somebody else was faster
        row = await tx.row(Q.find_ruleset, book_id, id)
    assert row is not None
    before = {"number": retired["number"]} if retired is not None else None
    after = {"number": row["number"]}
    trail.note(tx, "routing.live", ids.show("rs", id), book_id=book_id, before=before, after=after, why=why)
    # Processes look again when the control revision moves, which is in another database: soon after.
    await jobs.put(tx, channel_accounts.TELL, ids.text(ids.new_id()), clock.now())
    return row


async def find(rt: Env, book_id: UUID, named: str) -> Row:
    """A version by its id or number.  Raises NotFound."""
    id = ids.read("rs", named)
    if id is not None:
        row = await rt.db.row(Q.find_ruleset, book_id, id)
    elif named.isdigit() and len(named) < 10:
        row = await rt.db.row(Q.find_ruleset_by_number, book_id, int(named))
    else:
        row = None
    if row is None:
        raise NotFound(f"No such ruleset: '{named[:60]}'", param="ruleset")
    return row


async def page(rt: Env, book_id: UUID, limit: int) -> list[Row]:
    """The newest versions."""
    return await rt.db.rows(Q.list_rulesets, book_id, None, None, None, None, limit)


async def live(rt: Env, book_id: UUID) -> tuple[Ruleset, ...]:
    """What is live for a merchant: its own, then the platform's."""
    books = (book_id, ids.PLATFORM) if book_id != ids.PLATFORM else (book_id,)
    found = [await _live(rt, book) for book in books]
    return tuple(r for r in found if r is not None)


async def _live(rt: Env, book_id: UUID) -> Ruleset | None:
    async def load() -> Ruleset | None:
        row = await rt.db.row(Q.live_ruleset, book_id)
        return None if row is None else of_row(row)

    return await rt.cache.get(("routing", rt.name, book_id), load)


def content_of(row: Row) -> Content:
    """What a version says."""
    return msgspec.json.decode(row["content"], type=Content)


_compiled: dict[
    UUID, Ruleset
] = {}  # by version, which never changes: a revision that moves costs a look, not a compilation


def of_row(row: Row) -> Ruleset:
    """A version, compiled once in a process."""
    found = _compiled.get(row["id"])
    if found is None:
        if len(_compiled) >= MOST_COMPILED:
            _compiled.clear()
        found = _compiled[row["id"]] = compiled(row["id"], row["number"], content_of(row), was_live=True)
    return found
