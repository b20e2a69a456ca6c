"""What the auditor asks at volume: it goes by windows, whatever else the planner finds tempting."""

import json

import pytest

from guilder.app import domains
from guilder.core import ids
from guilder.platform import audit
from guilder.platform.db import Database
from guilder.platform.sql import Query
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


async def test_a_look_at_nothing_reads_next_to_nothing(place: Place, db: Database) -> None:
    """However much a book holds, and whatever the planner makes of it."""
    many, few, book = "generate_series(1, 100000)", "generate_series(1, 1000)", ids.new_id()
    for sql in (
        f"INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at) "
        f"SELECT $1, uuidv7(), 'customer.updated', $1, n, '', $1, now() - interval '1 hour' FROM {many} AS n",
        f"INSERT INTO payments.history SELECT $1, uuidv7(), $1, 'attempt', 'unknown', 'pending', 'api', $1, now() FROM {many}",
        f"INSERT INTO ledger.journal SELECT $1, uuidv7(), n, 'charge', $1, $1, '', now() FROM {many} AS n",
        "INSERT INTO ledger.key SELECT book_id, key, id, '' FROM ledger.journal WHERE book_id = $1 AND about = $1",
        "INSERT INTO ledger.transfer SELECT $1, id, 0, 'move', $1, gen_random_uuid(), 'CNY', 1 FROM ledger.journal WHERE book_id = $1 AND about = $1",
        # … beside many books that hold little: then the planner takes a book for a short way
        f"INSERT INTO notify.endpoint (book_id, id, url, enabled_events, api_version, secret, status, created_at, changed_at) "
        f"SELECT CASE n WHEN 1 THEN $1 ELSE gen_random_uuid() END, gen_random_uuid(), '', '{{*}}', '', '', 'enabled', now(), '2026-01-01' FROM {few} AS n",
        "INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at) "
        "SELECT book_id, uuidv7(), 'customer.created', id, 1, '', book_id, now() FROM notify.endpoint",
        "INSERT INTO ledger.journal SELECT book_id, uuidv7(), '', 'charge', book_id, book_id, '', now() FROM notify.endpoint",
        "INSERT INTO ledger.key SELECT book_id, key, id, '' FROM ledger.journal WHERE key = ''",
        "INSERT INTO ledger.transfer SELECT book_id, id, 0, 'move', book_id, gen_random_uuid(), 'CNY', 1 FROM ledger.journal WHERE key = ''",
        "VACUUM ANALYZE platform.event, payments.history, ledger.journal, ledger.key, ledger.transfer, notify.endpoint",
    ):  # fmt: skip
        async with place.owner() as connection:
            await connection.execute(sql, *([book] if "$1" in sql else []))
    window = [[book], [audit.ALWAYS], [audit.ALWAYS]]
    for a in domains.AUDITS:
        query, args = (a.query, a.args) if a.subjects is None else (a.subjects, ())
        [row] = await db.rows(Query("plan", f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.text}"), *window, *args)
        plan = json.loads(row[0])[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, (
            f"{query.name} reads {plan['Shared Hit Blocks']}: {json.dumps(plan)[:4000]}"
        )
