"""Post: L1 to L5, one answer per journal, whatever the size of the batch."""

import asyncio

import asyncpg
import pytest
from msgspec import structs

from book import book, page, shown
from guilder.core import ids
from guilder.core.amount import INT64
from guilder.core.check import Impossible
from guilder.ledger import Code, Journal, Posted, Transfer, post, sweep
from guilder.platform.batch import Lane
from guilder.platform.db import Conflict, Database, Tx
from guilder.platform.sql import Query
from journals import BOOK, PAYABLE, RECEIVABLE, SURPLUS, account, journal, move
from place import CountingTx, Place

WAITING = Query(
    "waiting", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
COUNT = Query("count", "SELECT count(*) FROM ledger.journal WHERE book_id = $1")
pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


def codes(posted: list[Posted]) -> list[str]:
    return [p.code.value for p in posted]


async def test_L1_a_transfer_takes_what_it_gives(tx: CountingTx) -> None:
    await post(tx, [move("charge:1", RECEIVABLE, PAYABLE, 500)])

    assert await book(tx, BOOK) == page("""
        charge:1
          receivable -> payable   5.00 CNY
    """)
    assert await shown(tx, BOOK) == {"receivable": -500, "payable": 500}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (Transfer(RECEIVABLE, PAYABLE, 0), "units_out_of_range"),
        (Transfer(RECEIVABLE, PAYABLE, -1), "units_out_of_range"),
        (Transfer(RECEIVABLE, PAYABLE, INT64 + 1), "units_out_of_range"),
        (Transfer(RECEIVABLE, account("payable", "USD"), 1), "asset_mismatch"),
        (Transfer(PAYABLE, PAYABLE, 1), "accounts_must_differ"),
        (Transfer(RECEIVABLE, account("slush fund"), 1), "account_not_found"),
    ],
)
async def test_L1_what_does_not_balance_is_refused(tx: CountingTx, broken: Transfer, code: str) -> None:
    posted = await post(tx, [journal("bad", broken), move("good", RECEIVABLE, PAYABLE, 1)])

    assert codes(posted) == [code, "created"]
    assert await shown(tx, BOOK) == {"receivable": -1, "payable": 1}


async def test_L1_a_journal_has_transfers_and_not_too_many(tx: CountingTx) -> None:
    assert codes(await post(tx, [journal("k")])) == ["nothing_moves"]
    with pytest.raises(Impossible, match="at most 100"):
        await post(tx, [journal("l", *(Transfer(RECEIVABLE, PAYABLE, 1),) * 101)])


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger.{} SET book_id = book_id", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}"]
)
@pytest.mark.parametrize("table", ["journal", "transfer", "note", "refusal", "key", "standing"])
async def test_L2_nobody_changes_what_is_written(place: Place, db: Database, table: str, statement: str) -> None:
    book_id = ids.new_id()
    noted = structs.replace(move("written", RECEIVABLE, PAYABLE, 1, book=book_id), note='{"why":"test"}')
    await db.transact(lambda tx: post(tx, [noted, move("refused", SURPLUS, PAYABLE, 1, book=book_id)]))
    statement = statement.format(table)
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)
    async with place.owner() as owner:
        cascade = " CASCADE" if statement.startswith("TRUNCATE") else ""
        with pytest.raises(asyncpg.RaiseError, match="written once"):
            await owner.execute(statement + cascade)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.account SET balance = 1", "UPDATE ledger.account SET floor = NULL", "DELETE FROM ledger.account",
        "TRUNCATE ledger.account", "UPDATE ledger.hold SET remaining = 1", "DELETE FROM ledger.hold", "UPDATE ledger.head SET id = id",
        "DELETE FROM ledger.head", "INSERT INTO ledger.head (book_id) VALUES (gen_random_uuid())",
        "INSERT INTO ledger.account SELECT * FROM ledger.account", "INSERT INTO ledger.journal SELECT * FROM ledger.journal",
        "INSERT INTO ledger.transfer SELECT * FROM ledger.transfer", "INSERT INTO ledger.key SELECT * FROM ledger.key",
        "INSERT INTO ledger.standing SELECT * FROM ledger.standing", "INSERT INTO ledger.hold SELECT * FROM ledger.hold",
        "INSERT INTO ledger.refusal SELECT * FROM ledger.refusal", "INSERT INTO ledger.note SELECT * FROM ledger.note",
        "SELECT ledger.move_holds('{}')", 'ALTER TABLE ledger.journal DISABLE TRIGGER ALL', "DROP TABLE ledger.key",
        "CREATE OR REPLACE FUNCTION ledger.written_once() RETURNS trigger LANGUAGE sql AS ''", "SET ROLE guilder_owner",
    ],
)  # fmt: skip
async def test_L2_the_application_has_no_other_way_in(place: Place, statement: str) -> None:
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


FORGED = """
INSERT INTO ledger.posting (books, heads, journals, keys, transfers, refusals, notes, decisions)
SELECT ARRAY[b.book], ARRAY[b.head],
       ARRAY[ROW(b.book, b.id, 'forged', 'forged', b.id, b.id, '', now(), NULL)::ledger.journal],
       ARRAY[ROW(b.book, {key}, b.id, '', NULL)::ledger.key],
       ARRAY[ROW(b.book, b.id, 0, '{kind}', {debit}, {credit}, '{asset}', {units}, NULL, NULL)::ledger.transfer], '{{}}', {notes}, '{{}}'
  FROM (SELECT $1::uuid AS book, {id} AS id, {head} AS head,
               (SELECT id FROM ledger.account WHERE book_id = $1 AND code = 'payable') AS due,
               (SELECT id FROM ledger.account WHERE book_id = $1 AND code = 'surplus') AS floored) AS b
"""
LATER = "'ffffffff-ffff-7fff-bfff-ffffffffffff'::uuid"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"credit": "NULL"}, "L1 ends by kind"),
        ({"credit": "gen_random_uuid()"}, "L1: an end"),
        ({"asset": "USD"}, "L1: an end"),
        ({"units": "0"}, "L1 something moves"),
        ({"units": "-5"}, "L1 something moves"),
        ({"credit": "due"}, "L1 two ends"),
        ({"debit": "floored", "credit": "due", "units": "9"}, "L4 floor"),
        ({"kind": "capture"}, "L1 ends by kind"),
        ({"kind": "gift"}, "L1 ends by kind"),
        ({"id": "'01900000-0000-7000-8000-000000000000'::uuid"}, "L2: a batch writes after"),
        ({"key": "'1'"}, "L5 one key"),
        ({"key": "NULL"}, "null value"),
        ({"notes": "ARRAY[(SELECT ROW(j.book_id, j.id, 'forged')::ledger.note FROM ledger.journal j LIMIT 1)]"}, "L2: a batch writes after"),
        ({"head": "'01900000-0000-7000-8000-000000000000'::uuid"}, "a batch comes after"),
    ],
)  # fmt: skip
async def test_L1_not_even_sql_of_the_application_unbalances_a_book(
    place: Place, db: Database, said: dict[str, str], message: str
) -> None:
    book_id = ids.new_id()
    await db.transact(
        lambda tx: post(tx, [move("1", RECEIVABLE, PAYABLE, 9, book_id), move("2", PAYABLE, SURPLUS, 3, book_id)])
    )
    before = await shown(db, book_id)
    sound = {
        "kind": "move",
        "debit": "due",
        "credit": "floored",
        "asset": "CNY",
        "units": "1",
        "id": LATER,
        "head": LATER,
        "key": "'forged'",
        "notes": "'{}'",
    }
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.PostgresError, match=message):
            await app.execute(FORGED.format(**sound | said), book_id)
        assert await shown(db, book_id) == before
        await app.execute("BEGIN")
        await app.execute(FORGED.format(**sound), book_id)
        said_so = await shown(Tx(app), book_id)
        await app.execute("ROLLBACK")
    assert said_so == before | {"payable": 5, "surplus": 4}, "what balances may be said, and moves what it says"


async def test_L3_balances_are_the_sums_of_their_transfers(tx: CountingTx) -> None:
    half = journal(
        "k", Transfer(RECEIVABLE, PAYABLE, 70), Transfer(PAYABLE, SURPLUS, 30), Transfer(SURPLUS, RECEIVABLE, 10)
    )

    await post(tx, [half, move("l", RECEIVABLE, PAYABLE, 5)])

    assert await shown(tx, BOOK) == {"receivable": -65, "payable": 45, "surplus": 20}
    assert await sweep(tx) == []


async def test_L4_a_floor_refuses_and_leaves_nothing(tx: CountingTx) -> None:
    posted = await post(tx, [move("in", RECEIVABLE, SURPLUS, 100), move("out", SURPLUS, RECEIVABLE, 101)])

    assert codes(posted) == ["created", "insufficient_funds"]
    assert await book(tx, BOOK) == page("""
        in
          receivable -> surplus   1.00 CNY
    """)
    [again] = await post(tx, [move("out", SURPLUS, RECEIVABLE, 100)])
    assert (again.code, again.was, again.booked) == ("already_refused", "insufficient_funds", False), (
        "the key is used up"
    )


async def test_L4_a_journal_counts_as_a_whole(tx: CountingTx) -> None:
    """Its transfers may dip below a floor on the way; its sum may not."""
    dips = journal("dips", Transfer(SURPLUS, PAYABLE, 10), Transfer(RECEIVABLE, SURPLUS, 10))
    falls = journal("falls", Transfer(RECEIVABLE, SURPLUS, 10), Transfer(SURPLUS, PAYABLE, 11))

    assert codes(await post(tx, [dips, falls])) == ["created", "insufficient_funds"]


async def test_L4_each_journal_sees_what_those_before_it_did(tx: CountingTx) -> None:
    out, in_, again = move("1", SURPLUS, PAYABLE, 5), move("2", RECEIVABLE, SURPLUS, 5), move("3", SURPLUS, PAYABLE, 5)

    assert codes(await post(tx, [out, in_, again])) == ["insufficient_funds", "created", "created"]


async def test_L4_a_balance_stays_within_64_bits(tx: CountingTx) -> None:
    full, more = move("full", RECEIVABLE, PAYABLE, INT64), move("more", RECEIVABLE, PAYABLE, 1)

    assert codes(await post(tx, [full, more])) == ["created", "balance_overflow"]
    assert codes(await post(tx, [more, move("less", PAYABLE, RECEIVABLE, 1)])) == ["already_refused", "created"]


async def test_L5_one_key_moves_money_once(tx: CountingTx) -> None:
    [first] = await post(tx, [move("k1", RECEIVABLE, PAYABLE, 100)])
    [again] = await post(tx, [move("k1", RECEIVABLE, PAYABLE, 100)])

    assert (first.code, again.code, first.journal_id) == (Code.CREATED, Code.EXISTS, again.journal_id)
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


async def test_L5_one_key_fifty_times_in_one_batch(tx: CountingTx) -> None:
    posted = await post(tx, [move("k", RECEIVABLE, PAYABLE, 100) for _ in range(50)])

    assert codes(posted) == ["created"] + ["exists"] * 49
    assert len({p.journal_id for p in posted}) == 1
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


@pytest.mark.parametrize("together", [True, False])
async def test_L5_a_key_with_other_transfers_is_another_journal(tx: CountingTx, together: bool) -> None:
    ours = move("k", RECEIVABLE, PAYABLE, 100)
    others = [
        move("k", PAYABLE, RECEIVABLE, 100),
        move("k", account("receivable:b"), PAYABLE, 100),
        journal("k", Transfer(RECEIVABLE, PAYABLE, 100), Transfer(RECEIVABLE, PAYABLE, 100)),
        journal("k", Transfer(RECEIVABLE, PAYABLE, 100), rule="refund"),
    ]

    posted = await post(tx, [ours, *others]) if together else [*await post(tx, [ours]), *await post(tx, others)]

    assert codes(posted) == ["created"] + ["exists_with_different_transfers"] * 4
    assert [p.booked for p in posted] == [True] + [False] * 4
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


async def test_L5_a_key_with_another_amount_says_so(tx: CountingTx) -> None:
    posted = await post(tx, [move("k", RECEIVABLE, PAYABLE, 100), move("k", RECEIVABLE, PAYABLE, 101)])

    assert codes(posted) == ["created", "exists_with_different_amount"]
    assert posted[1].journal_id == posted[0].journal_id


async def test_L5_a_key_belongs_to_its_book(tx: CountingTx) -> None:
    posted = await post(tx, [move("k", RECEIVABLE, PAYABLE, 1), move("k", RECEIVABLE, PAYABLE, 2, book=ids.new_id())])

    assert codes(posted) == ["created", "created"]


async def test_L5_two_transactions_on_disjoint_accounts_post_one_key_once(db: Database) -> None:
    book_id, held, go = ids.new_id(), asyncio.Event(), asyncio.Event()

    async def first(tx: Tx) -> list[Posted]:
        posted = await post(tx, [move("k", account("receivable:x"), account("own:x"), 5, book=book_id)])
        await tx.flush()
        held.set()
        await go.wait()
        return posted

    async def second(tx: Tx) -> list[Posted]:
        return await post(tx, [move("k", account("receivable:y"), account("own:y"), 5, book=book_id)])

    one = asyncio.create_task(db.transact(first))
    await held.wait()
    two = asyncio.create_task(db.transact(second))
    await waiting_for_a_lock(db)
    go.set()
    assert codes(await one) == ["created"]
    assert codes(await two) == ["exists_with_different_transfers"]


async def waiting_for_a_lock(db: Database) -> None:
    async with asyncio.timeout(10):
        while not await db.value(WAITING):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [1, 7, 300])
async def test_two_statements_whatever_the_size(tx: CountingTx, size: int) -> None:
    await post(tx, [move("open", RECEIVABLE, PAYABLE, 1), move("open s", RECEIVABLE, SURPLUS, 1)])
    await tx.flush()
    tx.statements = 0

    await post(tx, [move(f"k{n}", RECEIVABLE, PAYABLE, 1) for n in range(size)])
    await tx.flush()

    assert tx.statements == 2


async def test_nothing_to_post_asks_nothing(tx: CountingTx) -> None:
    assert (await post(tx, []), tx.statements) == ([], 0)


@pytest.mark.parametrize(
    "known", [move("charge:k1", RECEIVABLE, PAYABLE, 500), move("charge:k2", PAYABLE, SURPLUS, 10**9)]
)
async def test_L5_a_hopeful_batch_meets_its_key_when_it_is_written(db: Database, known: Journal) -> None:
    """It does not look before: a key that is there makes it a Conflict, nothing of it is written, and a lane's next run tells what it is."""
    await db.transact(lambda tx: post(tx, [known]))
    again = [known, move(f"{known.key}b", RECEIVABLE, PAYABLE, 1)]
    before = await db.value(COUNT, BOOK)

    with pytest.raises(Conflict):
        await db.transact(lambda tx: post(tx, again), hopeful=True)

    assert await db.value(COUNT, BOOK) == before
    lane: Lane[Journal, Posted] = Lane(db, "post", post)
    told = await asyncio.gather(*(lane.submit(j, BOOK) for j in again))
    assert codes(told)[1] == "created"
    assert codes(told)[0] in {"exists", "already_refused"}
