"""Sweeps find every corruption that somebody with the owner's rights can plant, each under its invariant."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from guilder.core import ids
from guilder.ledger import Broken, Transfer, hold, post, sweep
from guilder.platform.db import Tx
from journals import PAYABLE, RECEIVABLE, SURPLUS, journal, move
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

UNGUARDED = 'ALTER TABLE ledger.{0} DISABLE TRIGGER "L2 written once"; {1}; ALTER TABLE ledger.{0} ENABLE TRIGGER "L2 written once"'


@pytest.fixture
async def owner(place: Place) -> AsyncIterator[asyncpg.Connection]:
    """The owner of a sound book, in a transaction that is rolled back."""
    book_id = ids.new_id()
    sound = [
        move("charge:1", RECEIVABLE, PAYABLE, 500, book=book_id),
        journal(
            "surplus:1", Transfer(RECEIVABLE, SURPLUS, 30), Transfer(SURPLUS, PAYABLE, 10), book=book_id, rule="surplus"
        ),
        journal("hold:1", hold(SURPLUS, 5, ids.new_id()), book=book_id),
        move("too much", SURPLUS, PAYABLE, 16, book=book_id),
    ]
    async with place.owner() as connection:
        inside = connection.transaction()
        await inside.start()
        tx = Tx(connection)
        await post(tx, sound)
        await tx.flush()
        assert await sweep(Tx(connection)) == []
        yield connection
        await inside.rollback()


async def broken(owner: asyncpg.Connection) -> set[str]:
    return {b.invariant for b in await sweep(Tx(owner))}


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        ("UPDATE ledger.account SET balance = balance + 1 WHERE code = 'payable'", {"L1", "L3"}),
        ("UPDATE ledger.account SET balance = balance + CASE code WHEN 'payable' THEN 7 ELSE -7 END WHERE code <> 'surplus'", {"L3"}),
        ("UPDATE ledger.account SET asset = 'USD' WHERE code = 'payable'", {"L1"}),
        ("DELETE FROM ledger.account WHERE code = 'surplus'", {"L1"}),
        ("UPDATE ledger.account SET code = 'own:me' WHERE code = 'payable'", {"L2"}),
        (UNGUARDED.format("transfer", "DELETE FROM ledger.transfer WHERE units = 500"), {"L1", "L3"}),
        (UNGUARDED.format("transfer", "DELETE FROM ledger.transfer WHERE units = 10"), {"L2", "L3"}),
        (UNGUARDED.format("transfer", "UPDATE ledger.transfer SET units = 501 WHERE units = 500"), {"L2", "L3"}),
        (UNGUARDED.format("transfer", "UPDATE ledger.transfer SET debit_id = credit_id, credit_id = debit_id WHERE units = 500"), {"L2", "L3"}),
        (UNGUARDED.format("transfer", "UPDATE ledger.transfer SET asset = 'USD' WHERE units = 500"), {"L1", "L2"}),
        (UNGUARDED.format("journal", "DELETE FROM ledger.journal WHERE key = 'charge:1'"), {"L1"}),
        (UNGUARDED.format("key", "DELETE FROM ledger.key WHERE key = 'charge:1'"), {"L5"}),
        (UNGUARDED.format("key", "UPDATE ledger.key SET refused = 'period_closed' WHERE key = 'charge:1'"), {"L5"}),
        (UNGUARDED.format("refusal", "DELETE FROM ledger.refusal"), {"L5"}),
        ("UPDATE ledger.account SET held = held + 1, balance = balance + 1 WHERE code = 'surplus'", {"L6"}),
        ("UPDATE ledger.hold SET remaining = remaining - 1", {"L6"}),
        ("UPDATE ledger.hold SET expires_at = now()", {"L6"}),
        ("DELETE FROM ledger.hold", {"L6"}),
        (UNGUARDED.format("journal", "UPDATE ledger.journal SET rule = 'gift' WHERE key = 'charge:1'"), {"L2"}),
        ('ALTER TABLE ledger.transfer DISABLE TRIGGER "L2 written once"', {"L2"}),
        ('DROP TRIGGER "L2 never emptied" ON ledger.journal', {"L2"}),
        ("GRANT UPDATE ON ledger.transfer TO guilder_app", {"L2"}),
        ("GRANT DELETE ON ledger.journal TO guilder_app", {"L2"}),
        ("GRANT TRUNCATE ON ledger.journal TO guilder_app", {"L2"}),
        ('ALTER TABLE ledger.account DROP CONSTRAINT "L4 floor"; UPDATE ledger.account SET balance = -1 WHERE code = \'surplus\'',
         {"L1", "L3", "L4"}),
    ],
)  # fmt: skip
async def test_planted_corruption_is_found(owner: asyncpg.Connection, plant: str, found: set[str]) -> None:
    await owner.execute(plant)

    assert found <= await broken(owner)


async def test_L2_a_forger_who_moves_the_balances_too_is_found(owner: asyncpg.Connection) -> None:
    """Balances, transfers and sums agree; only the journal's digest remembers what was posted."""
    await owner.execute(UNGUARDED.format("transfer", "UPDATE ledger.transfer SET units = 400 WHERE units = 500"))
    await owner.execute("UPDATE ledger.account a SET balance = balance + CASE code WHEN 'payable' THEN -100 ELSE 100 END "
                        "WHERE code <> 'surplus' AND EXISTS (SELECT FROM ledger.transfer t WHERE units = 400 "
                        "AND a.id IN (t.debit_id, t.credit_id))")  # fmt: skip

    await owner.execute(UNGUARDED.format("standing", "UPDATE ledger.standing s SET balance = a.balance FROM ledger.account a "
                        "WHERE a.book_id = s.book_id AND a.id = s.account_id AND a.code <> 'surplus'"))  # fmt: skip

    assert {(b.invariant, b.fault) for b in await sweep(Tx(owner))} == {
        ("L2", "its transfers are not those that were posted")
    }


async def test_L5_a_second_journal_of_one_key_is_found(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO ledger.journal SELECT book_id, gen_random_uuid(), key, rule, about, root_id, business_line, at FROM ledger.journal"
    )

    assert await broken(owner) >= {"L1", "L5"}


async def test_a_fault_names_its_subject(owner: asyncpg.Connection) -> None:
    await owner.execute("UPDATE ledger.account SET balance = 511 WHERE code = 'payable'")

    [told] = [b for b in await sweep(Tx(owner)) if b.invariant == "L3"]
    assert told == Broken("L3", "account payable CNY", "its balance is 511, its transfers sum to 510")
