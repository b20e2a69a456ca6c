"""What the flight recorder asks at volume: it goes by indexes and by ids, whatever else the planner finds tempting."""

import json
from uuid import UUID

import pytest

from guilder.cashier import timeline as cashier
from guilder.core import ids
from guilder.disputes import timeline as disputes
from guilder.ledger import timeline as ledger
from guilder.notify import timeline as notify
from guilder.payments import timeline as payments
from guilder.payouts import timeline as payouts
from guilder.platform import recorder
from guilder.platform.db import Database
from guilder.platform.sql import Query
from guilder.reconciliation import timeline as reconciliation
from guilder.trades import timeline as trades
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
MANY = 100_000
NIL = UUID(int=0)


async def fill(place: Place, book: UUID) -> None:
    """A book that holds much, of other payments."""
    many = f"generate_series(1, {MANY}) AS n"
    async with place.owner() as connection:
        for sql in (
            f"INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at, request_id) "
            f"SELECT $1, uuidv7(), 'payment_intent.created', uuidv7(), 1, '{{}}', uuidv7(), now(), 'req_' || n FROM {many}",
            f"INSERT INTO platform.trail (book_id, id, at, actor, action, subject, root_id) SELECT $1, uuidv7(), now(), 'a', 'b', 're_' || n, uuidv7() FROM {many}",
            f"INSERT INTO platform.wire_message (book_id, id, exchange_id, about, channel_account_id, op, direction, root_id, at) "
            f"SELECT $1, uuidv7(), uuidv7(), uuidv7(), $1, 'query', 'out', uuidv7(), now() FROM {many}",
            f"INSERT INTO platform.case (book_id, id, kind, subject, summary, evidence, root_id) SELECT $1, uuidv7(), 'odd', n::text, '', '{{}}', $1 FROM {many}",
            f"INSERT INTO platform.answer (book_id, key, fingerprint, state, runner, lease_until, status, body, request_id) "
            f"SELECT $1, n::text, '', 'done', $1, now(), 200, '', 'req_' || n FROM {many}",
            f"INSERT INTO payments.history SELECT $1, uuidv7(), uuidv7(), 'attempt', 'unknown', 'pending', 'api', $1, now() FROM {many}",
            f"INSERT INTO payments.intent (book_id, id, version, status, amount, currency, types, metadata, extra, late_success, root_id, business_line, created_at) "
            f"SELECT $1, uuidv7(), 1, 'succeeded', 100, 'CNY', '{{}}', jsonb_build_object('order_id', n::text), '{{}}', 'refund', $1, '', now() FROM {many}",
            "INSERT INTO payments.attempt (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, expires_at, root_id, business_line, created_at) "
            "SELECT book_id, uuidv7(), id, book_id, 'wechatpay', 'native', 'succeeded', 100, 'CNY', now(), id, '', now() FROM payments.intent WHERE book_id = $1",
            f"INSERT INTO payments.channel_ref SELECT ('00000000-0000-0000-0000-' || lpad((n % 10)::text, 12, '0'))::uuid, n::text, $1, uuidv7() FROM {many}",
            f"INSERT INTO ledger.journal SELECT $1, uuidv7(), n, 'charge', $1, $1, '', now() FROM {many}",
            "INSERT INTO ledger.key SELECT book_id, key, id, '' FROM ledger.journal WHERE book_id = $1",
            "INSERT INTO ledger.transfer SELECT $1, id, 0, 'move', $1, gen_random_uuid(), 'CNY', 1 FROM ledger.journal WHERE book_id = $1",
            f"INSERT INTO reconciliation.line SELECT $1, $1, n, 'payment', uuidv7(), '', '', '', 1, 'CNY', 0, now(), '' FROM {many}",
            f"INSERT INTO trades.trade (book_id, id, version, type, status, merchant_ref, amount, currency, root_id, business_line, created_at) "
            f"SELECT $1, uuidv7(), 1, 'purchase', 'open', n::text, 100, 'CNY', $1, '', now() FROM {many}",
            "INSERT INTO trades.part SELECT i.book_id, i.id, t.id, 'whole', 100, 'open', 0, 0, now() FROM "
            "(SELECT book_id, id, row_number() OVER () AS n FROM payments.intent WHERE book_id = $1) AS i "
            "JOIN (SELECT id, row_number() OVER () AS n FROM trades.trade WHERE book_id = $1) AS t USING (n)",
        ):  # fmt: skip
            await connection.execute(sql, *([book] if "$1" in sql else []))
        await connection.execute("VACUUM ANALYZE")


async def test_a_story_is_found_by_a_few_probes_however_much_there_is(place: Place, db: Database) -> None:
    book = ids.new_id()
    await fill(place, book)
    one = await db.row(
        Query("one", "SELECT t.id, p.intent_id FROM trades.trade t JOIN trades.part p ON p.trade_id = t.id LIMIT 1")
    )
    assert one is not None
    some, books = [one["intent_id"], one["id"], *(ids.new_id() for _ in range(8))], [book, ids.PLATFORM, ids.new_id()]
    of, told = ([book] * len(some), some), (books, some, NIL, 1001)
    texts = ["77", "99"]
    asked: list[tuple[Query, tuple[object, ...]]] = [
        (payments.Q.story_of_id, (books, some[0])), (payments.Q.story_of_reference, (books, "77")), (payments.Q.story_payments, of),
        (payments.Q.story_moves, told), (payments.Q.story_attempts, of), (payments.Q.story_refunds, of),
        (recorder.Q.story_of_event, (books, some[0])), (recorder.Q.story_of_case, (books, some[0])), (recorder.Q.story_of_trail, (books, some[0])),
        (recorder.Q.story_of_approval, (books, some[0])), (recorder.Q.story_cases_and_approvals, (books, texts)), (recorder.Q.story_requests, told),
        (recorder.Q.story_messages, told), (recorder.Q.story_events, told), (recorder.Q.story_trail, (books, texts, 1001)),
        (recorder.Q.story_cases, (*of, 1001)), (recorder.Q.story_approvals, (*of, 1001)),
        (ledger.Q.story_journals, ([book, book], texts, [book], [some[0]], 1001)), (ledger.Q.story_orders, ([book, book], texts)),
        (ledger.Q.story_of_journal, (books, some[0])),
        (notify.Q.story_tries, told), (reconciliation.Q.story_of_line, (books, book, 5)), (reconciliation.Q.story_lines, (books, some, 1001)),
        (reconciliation.Q.story_breaks, (books, some, 1001)), (cashier.Q.story_of_session, (books, some[0], "77")), (cashier.Q.story_sessions, of),
        (payouts.Q.story_of_payout, (books, some[0], "77")), (payouts.Q.story_payouts, of), (payouts.Q.story_moves, (books, some, 1001)),
        (disputes.Q.story_of_dispute, (books, some[0])), (disputes.Q.story_disputes, (*of, *of)), (disputes.Q.story_moves, (books, some, 1001)),
        (trades.Q.story_of_trade, (books, some[1], some[0], "77")), (trades.Q.story_trades, (*of, *of)), (trades.Q.story_made, of), (trades.Q.story_deals, (*of, 1001)),
    ]  # fmt: skip
    dear = {}
    for query, args in asked:
        for among in (books, [book]):
            given = [among if a is books else a for a in args]
            [row] = await db.rows(Query("plan", f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.text}"), *given)
            plan = json.loads(row[0])[0]["Plan"]
            if plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] > 400:
                dear[query.name] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert dear == {}
