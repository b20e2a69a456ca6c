"""Payments whose journals are archived: the auditor knows them by their keys, and misses nothing else."""

from datetime import timedelta

import pytest
from msgspec import structs
from test_detaching import FIRST, THIS, Past, gone, journal, partitions

from guilder.core import clock, ids
from guilder.ledger import Transfer
from guilder.payments import audits
from guilder.platform import audit
from guilder.platform.audit import Window
from guilder.platform.db import Database
from journals import PAYABLE, RECEIVABLE
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

INTENT = """INSERT INTO payments.intent (book_id, id, version, status, amount, currency, types, extra, late_success, root_id, business_line, created_at)
VALUES ($1, $2, 1, 'succeeded', 500, 'CNY', '{}', '{}', 'refund', $2, '', now())"""
ATTEMPT = """INSERT INTO payments.attempt (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, expires_at, root_id, business_line,
 created_at, paid_at) VALUES ($1, $2, $2, $2, 'wechatpay', 'native', $3, 500, 'CNY', now(), $2, '', now(), now())"""


async def test_what_was_paid_is_known_to_be_booked_after_its_month_went(db: Database, place: Place) -> None:
    await partitions(place)
    past, booked, unbooked = Past(db, place), ids.new_id(), ids.new_id()
    for id in (booked, unbooked):
        await place.fetch(INTENT, past.id, id)
        await place.fetch(ATTEMPT, past.id, id, "succeeded")
    charge = structs.replace(journal(f"charge:{ids.text(booked)}", Transfer(RECEIVABLE, PAYABLE, 500)), about=booked)
    assert await past.post(FIRST + timedelta(days=3), charge) == ["created"]
    await past.close(THIS, clock.now())

    async def drift() -> list[tuple[str, str]]:
        paid = [a for a in audits.AUDITS if a.name.startswith("G3")]
        found = await audit.compare(db, paid, [Window(past.id, audit.NEVER, audit.ALWAYS)])
        return [(d.subject, d.fault) for d in found]

    missing = (ids.show("at", unbooked), "the journal charge is missing")
    assert await drift() == [missing]
    assert await gone(db, FIRST) == 1
    assert await drift() == [missing]
    await place.fetch("UPDATE payments.attempt SET state = 'failed' WHERE id = $1", booked)
    assert sorted(await drift()) == sorted([(ids.show("at", booked), "the journal charge should not be"), missing])
