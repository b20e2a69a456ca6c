"""Cases: every move between their states, and that they end once, with what they leave, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from book import book, page
from guilder.app import domains
from guilder.channels.model import Outcome, State
from guilder.core import clock, ids
from guilder.core.amount import cny
from guilder.core.errors import GuilderError, Invalid, NotFound, Rejected
from guilder.ledger import post, sweep
from guilder.payments import aside, doubts
from guilder.payments.model import Attempt
from guilder.payments.states import AttemptState
from guilder.platform import audit, case, casework, context, trail
from guilder.platform.audit import Drift
from guilder.platform.case import Case, Resolver, Trace, Verdict
from guilder.platform.casework import MAX_ATTACHMENT, File, Reach, Resolved, Wanted
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import Query
from journals import PAYABLE, RECEIVABLE, move
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

ASIDES = Query("asides", "SELECT * FROM payments.aside WHERE book_id = $1 ORDER BY id")
WHY = Verdict("dismiss", "looked at it")
PAST = Query("past", "UPDATE platform.case SET wait_until = now() WHERE id = $1")
DUE = Query("due", "UPDATE platform.case SET due_at = now() - interval '1 minute' WHERE id = $1")


@pytest.fixture(autouse=True)
async def resolvers(anyio_backend: object) -> AsyncIterator[None]:
    """In the tests' own loop: whose context it is is known there."""
    case.register(domains.CASE_RESOLVERS)
    with context.use(context.mint(actor="usr_me")):
        yield


def odd(book_id: UUID, **more: Any) -> Case:
    return Case(book_id, "odd", "it", "Something is odd.", {"n": 1}, **more)


def mismatch(
    book_id: UUID, units: int | None = 1249, kind: str = "amount_mismatch", subject: UUID | None = None
) -> Case:
    """What the payments make of a channel that says another amount than was asked for."""
    now = clock.now()
    attempt = Attempt(
        book_id, subject or ids.new_id(), ids.new_id(), CHANNEL_ACCOUNT, "wechatpay", "native", AttemptState.UNKNOWN, 1250, "CNY", None,
        None, None, None, None, now, 0, False, now, None, ids.new_id(), "", now,
    )  # fmt: skip
    said = Outcome(State.SUCCEEDED, channel_ref="4200", amount=None if units is None else cny(units))
    return doubts.case_of(attempt, said, kind, "The channel says another amount.", "callback")


CHANNEL_ACCOUNT = ids.new_id()


async def opened(db: Database, found: Case) -> Row:
    await case.open_one(db, found)
    [row] = await casework.page(db, Reach(found.book_id), Wanted(), 1)
    return row


async def now(db: Database, row: Row) -> tuple[str, int, int]:
    """State, how often it was opened again, how often it was seen."""
    again = await casework.find(db, Reach(), row["id"])
    return again["state"], again["reopened"], again["seen"]


async def acts(db: Database, row: Row) -> list[tuple[str, str]]:
    found = await trail.find(db, trail.Wanted(row["book_id"], subject=ids.show("case", row["id"])), 10)
    return [(r["action"], r["actor"]) for r in found]


async def resolve(db: Database, row: Row, verdict: Verdict = WHY) -> Row:
    return await casework.resolve_now(db, Reach(), row["id"], verdict)


async def test_a_case_is_opened_taken_waits_wakes_and_is_resolved(db: Database) -> None:
    row = await opened(db, odd(ids.new_id()))
    reach, id = Reach(row["book_id"]), row["id"]
    assert (row["state"], row["owner"], row["version"]) == ("open", None, 1)
    assert timedelta(days=2) < row["due_at"] - clock.now() < timedelta(days=4)

    mine = await db.transact(lambda tx: casework.change(tx, reach, id, "usr_me"))
    same = await db.transact(lambda tx: casework.change(tx, reach, id, "usr_me"))
    assert (mine["owner"], mine["version"], same["version"]) == ("usr_me", 2, 2)
    later = clock.now() + timedelta(days=30)
    assert (await db.transact(lambda tx: casework.change(tx, reach, id, due_at=later)))["due_at"] == later
    assert (await db.transact(lambda tx: casework.change(tx, reach, id, due_at=None)))["due_at"] is None

    waits = await db.transact(lambda tx: casework.wait(tx, reach, id, later, "the channel's support"))
    assert (waits["state"], waits["wait_until"], await casework.wake(db)) == ("waiting", later, 0)
    await db.transact(lambda tx: tx.run(PAST, id))
    assert (await casework.wake(db), await now(db, row)) == (1, ("open", 0, 1))

    done = await resolve(db, row)
    assert (done["state"], done["resolved_at"] is not None) == ("resolved", True)
    whole = await casework.whole(db, done)
    assert [(d["actor"], d["resolver"], d["why"], d["journal_id"]) for d in whole.decisions] == [
        ("usr_me", "dismiss", "looked at it", None)
    ]
    assert await acts(db, row) == [
        ("case.resolved", "usr_me"),
        ("case.waits", "usr_me"),
        *[("case.changed", "usr_me")] * 3,
    ]


async def test_what_waits_can_be_resolved_and_what_is_resolved_is_left_alone(db: Database) -> None:
    row = await opened(db, odd(ids.new_id()))
    reach, id, later = Reach(), row["id"], clock.now() + timedelta(hours=1)
    await db.transact(lambda tx: casework.wait(tx, reach, id, later))
    await resolve(db, row)

    for refused in (
        lambda tx: casework.change(tx, reach, id, "usr_1"), lambda tx: casework.wait(tx, reach, id, later),
        lambda tx: casework.resolve(tx, reach, id, WHY),
    ):  # fmt: skip
        with pytest.raises(Resolved):
            await db.transact(refused)
    said = await db.transact(lambda tx: casework.comment(tx, reach, id, "who asks now?"))
    assert said["text"] == "who asks now?", "one can still talk about it"
    for until in (clock.now() - timedelta(seconds=1), clock.now() + timedelta(days=400)):
        with pytest.raises(Invalid):
            await db.transact(lambda tx, until=until: casework.wait(tx, reach, id, until))


async def test_what_we_find_again_after_it_was_resolved_opens_again(db: Database) -> None:
    """As a drift that the auditor still sees."""
    broken = Drift("G2 balances are where transfers led", ids.new_id(), "jl_1", "it differs", "1", "2")
    row = await opened(db, broken.case())
    await case.open_one(db, broken.case())
    assert await now(db, row) == ("open", 0, 2)
    await resolve(db, row)
    assert await db.value(audit.Q.count_open_cases, audit.KIND) == 0

    await case.open_one(db, replace(broken, found="3").case())
    assert await now(db, row) == ("open", 1, 3)
    again = await casework.find(db, Reach(), row["id"])
    assert (case.dossier(again).evidence["found"], again["resolved_at"]) == ("3", None)
    assert await db.value(audit.Q.count_open_cases, audit.KIND) == 1

    await resolve(db, row, replace(WHY, why="mended"))
    decided = (await casework.whole(db, again)).decisions
    assert [(d["round"], d["why"]) for d in decided] == [(0, "looked at it"), (1, "mended")]


async def test_what_we_are_told_again_after_it_was_resolved_is_no_news_unless_it_is_another(db: Database) -> None:
    book_id, attempt = ids.new_id(), ids.new_id()
    row = await opened(db, mismatch(book_id, subject=attempt))
    await resolve(db, row, Verdict("book_suspense", "seen there"))
    await case.open_one(db, mismatch(book_id, subject=attempt))
    assert await now(db, row) == ("resolved", 0, 2)

    await case.open_one(db, mismatch(book_id, units=900, subject=attempt))
    assert await now(db, row) == ("open", 1, 3)
    with pytest.raises(aside.LiesAside, match="put aside before"):
        await resolve(db, row, Verdict("book_suspense", "and that, too"))
    await resolve(db, row, Verdict("same_sum", "they have corrected the amount"))
    [lies] = await db.rows(ASIDES, book_id)
    assert await book(db, book_id) == page(f"""
        suspense:{ids.text(lies["id"])}
          receivable -> suspense   12.49 CNY
    """)


async def test_waiting_is_not_ended_by_hearing_it_again(db: Database) -> None:
    found = odd(ids.new_id())
    row = await opened(db, found)
    await db.transact(lambda tx: casework.wait(tx, Reach(), row["id"], clock.now() + timedelta(hours=1)))
    await case.open_one(db, found)
    assert await now(db, row) == ("waiting", 0, 2)


async def test_money_that_moved_is_booked_aside_with_the_decision_or_not_at_all(db: Database) -> None:
    book_id = ids.new_id()
    row = await opened(db, mismatch(book_id))
    assert [w.name for w in case.ways(case.dossier(row))] == [
        "book_suspense", "accept_amount", "accept_amount_keep", "refund_suspense", "apply_suspense", "write_off", "same_sum",
    ]  # fmt: skip
    with pytest.raises(Invalid, match="not dismissed"):
        await resolve(db, row)
    with pytest.raises(Invalid, match="The channel says 1249"):
        await resolve(db, row, Verdict("book_suspense", "seen", 1250))
    assert (await book(db, book_id), await now(db, row), await acts(db, row)) == ("", ("open", 0, 1), [])

    await resolve(db, row, Verdict("book_suspense", "seen in the console"))
    [decision] = (await casework.whole(db, row)).decisions
    [journal] = await db.rows(Query("one", "SELECT key FROM ledger.journal WHERE id = $1"), decision["journal_id"])
    [lies] = await db.rows(ASIDES, book_id)
    assert (journal["key"], lies["state"], lies["units"]) == (f"suspense:{ids.text(lies['id'])}", "waits", 1249)
    [said] = await trail.find(db, trail.Wanted(book_id), 10)
    assert (said["why"], ids.show("jl", decision["journal_id"]) in said["after"]) == ("seen in the console", True)
    assert await db.transact(sweep) == []


async def test_where_the_channel_does_not_say_how_much_a_person_does(db: Database) -> None:
    row = await opened(db, mismatch(ids.new_id(), units=None, kind="amount_missing"))
    with pytest.raises(Invalid, match="does not say how much"):
        await resolve(db, row, Verdict("book_suspense", "seen"))
    await resolve(db, row, Verdict("book_suspense", "seen", 700))
    assert (await book(db, row["book_id"])).endswith("receivable -> suspense   7.00 CNY")


async def test_fifty_who_resolve_at_once_leave_one_journal(db: Database) -> None:
    row = await opened(db, mismatch(ids.new_id()))

    async def one(n: int) -> str:
        try:
            await resolve(db, row, Verdict("book_suspense", str(n)))
        except GuilderError as error:
            return str(error.code)
        return "resolved"

    said = await asyncio.gather(*(one(n) for n in range(50)))

    assert (said.count("resolved"), set(said)) == (1, {"resolved", "case_resolved"})
    assert (await book(db, row["book_id"])).count("suspense:") == 1
    assert len((await casework.whole(db, row)).decisions) == 1
    assert len(await acts(db, row)) == 1


async def test_a_resolver_that_refuses_leaves_nothing(db: Database) -> None:
    row = await opened(db, odd(ids.new_id()))

    async def half(tx: Tx, about: case.Dossier, verdict: Verdict) -> Trace:
        await post(tx, [move("half", RECEIVABLE, PAYABLE, 5, about.book_id)])
        trail.note(tx, "half", "done", book_id=about.book_id)
        await tx.flush()
        raise Rejected("not today")

    case.register([Resolver("half", "Half.", lambda about: True, half)])
    with pytest.raises(Rejected, match="not today"):
        await resolve(db, row, Verdict("half", "try"))
    assert (await book(db, row["book_id"]), await now(db, row)) == ("", ("open", 0, 1))
    assert await trail.find(db, trail.Wanted(row["book_id"]), 10) == []
    assert (await casework.whole(db, row)).decisions == []


async def test_who_is_overtaken_while_his_resolver_works_undoes_it(db: Database) -> None:
    """Somebody else takes the case meanwhile: what was decided about is not what is there."""
    row = await opened(db, odd(ids.new_id()))
    runs: list[str] = []

    async def slow(tx: Tx, about: case.Dossier, verdict: Verdict) -> Trace:
        runs.append(verdict.why)
        [posted] = await post(tx, [move(f"slow:{about.key}", RECEIVABLE, PAYABLE, 5, about.book_id)])
        if len(runs) == 1:
            await asyncio.create_task(takes())
        return Trace(posted.journal_id)

    async def takes() -> None:
        async with db._connection() as other:  # beside the transaction that is open here
            await other.execute(
                "UPDATE platform.case SET owner = 'usr_2', version = version + 1 WHERE id = $1", row["id"]
            )

    case.register([Resolver("slow", "Slowly.", lambda about: True, slow)])
    done = await resolve(db, row, Verdict("slow", "so"))
    assert (runs, done["owner"], done["state"]) == (["so", "so"], "usr_2", "resolved")
    assert (await book(db, row["book_id"])).count("slow:") == 1


async def test_why_and_a_way_that_fits_are_wanted(db: Database) -> None:
    row = await opened(db, odd(ids.new_id()))
    with pytest.raises(Invalid, match="Say why"):
        await resolve(db, row, Verdict("dismiss", "  "))
    with pytest.raises(Invalid, match="ends by dismiss"):
        await resolve(db, row, Verdict("book_suspense", "so"))
    with pytest.raises(Invalid, match="leave `amount` out"):
        await resolve(db, row, Verdict("dismiss", "so", 5))
    assert await now(db, row) == ("open", 0, 1)


async def test_each_sees_what_is_in_his_reach(db: Database) -> None:
    row, other = await opened(db, odd(ids.new_id())), await opened(db, odd(ids.new_id()))
    mine = Reach(row["book_id"], "usr_me")
    for reach in (Reach(other["book_id"]), mine):
        with pytest.raises(NotFound):
            await casework.find(db, reach, row["id"])
        for refused in (
            lambda tx, reach=reach: casework.change(tx, reach, row["id"], "usr_me"),
            lambda tx, reach=reach: casework.comment(tx, reach, row["id"], "hello"),
            lambda tx, reach=reach: casework.attach(tx, reach, row["id"], File("a", "text/plain", b"a")),
            lambda tx, reach=reach: casework.wait(tx, reach, row["id"], clock.now() + timedelta(hours=1)),
            lambda tx, reach=reach: casework.resolve(tx, reach, row["id"], WHY),
        ):
            with pytest.raises(NotFound):
                await db.transact(refused)
    assert await casework.page(db, mine, Wanted(), 10) == []
    await db.transact(lambda tx: casework.change(tx, Reach(), row["id"], "usr_me"))
    assert [r["id"] for r in await casework.page(db, mine, Wanted(), 10)] == [row["id"]]
    assert await casework.page(db, mine, Wanted(owner="usr_2"), 10) == []
    assert {row["id"], other["id"]} <= {r["id"] for r in await casework.page(db, Reach(), Wanted(), 100)}
    await resolve(db, row)


async def test_what_is_open_and_overdue_is_listed_and_counted(place: Place, db: Database) -> None:
    async with place.owner() as owner:
        await owner.execute("DELETE FROM platform.case")
    book_id = ids.new_id()
    rows = [await opened(db, Case(book_id, "odd", str(n), "Odd.", {})) for n in range(3)]
    await db.transact(lambda tx: tx.run(DUE, rows[0]["id"]))
    await db.transact(lambda tx: tx.run(DUE, rows[1]["id"]))
    await resolve(db, rows[1])

    async def listed(**wanted: Any) -> list[UUID]:
        return [r["id"] for r in await casework.page(db, Reach(book_id), Wanted(**wanted), 10)]

    a, b, c = (r["id"] for r in rows)
    assert await listed(overdue=True) == [a]
    assert await listed(overdue=False) == [c, b]
    assert (await listed(state="open"), await listed(state="resolved")) == ([c, a], [b])
    assert (await listed(kind="odd"), await listed(kind="even")) == ([c, b, a], [])
    assert await casework.measure(db) == (2, 1)


async def test_evidence_is_laid_once_and_as_it_is(place: Place, db: Database) -> None:
    row = await opened(db, odd(ids.new_id()))
    laid = await db.transact(
        lambda tx: casework.attach(tx, Reach(), row["id"], File("茶.png", "image/png", b"\x89PNG"))
    )
    again = await casework.attachment(db, Reach(), row["id"], laid["id"])
    assert (again["content"], again["size"], again["actor"]) == (b"\x89PNG", 4, "usr_me")
    for content in (b"", bytes(MAX_ATTACHMENT + 1)):
        with pytest.raises(Invalid):
            await db.transact(
                lambda tx, content=content: casework.attach(tx, Reach(), row["id"], File("a", "a/b", content))
            )
    with pytest.raises(NotFound):
        await casework.attachment(db, Reach(), row["id"], ids.new_id())
    await db.transact(lambda tx: casework.comment(tx, Reach(), row["id"], "so"))
    await resolve(db, row)
    async with place.connect() as app:
        for table in ("case_comment", "case_attachment", "case_decision"):
            for change in (f"UPDATE platform.{table} SET actor = 'x'", f"DELETE FROM platform.{table}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await app.execute(change)
