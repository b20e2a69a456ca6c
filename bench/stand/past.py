"""The past: whole payments that were paid long ago, in every table that the hot path writes or looks into.

    past.fill(stage, 1_000_000)

They are written set by set, by the application's own role, and the ledger's sweeps hold for them as for others.  They are in a book of
their own; tables and indexes are shared with everybody's.
"""

import asyncio
import time
from typing import Any

from guilder.core import ids
from guilder.ledger import Journal, Transfer, payable, receivable
from guilder.ledger.chart import rule
from guilder.platform import cluster, db
from guilder.platform.embedded import Server
from stand.scene import Stage, connected, say

CHUNK = 100_000
UNITS = 100
COMMON = "lpad(to_hex({first_ms} + g), 12, '0')"  # of a payment's ids: a millisecond each


def _id(kind: str) -> str:
    """A UUIDv7 of payment g; `kind` tells its ids apart: an SQL expression for three hexadecimal digits."""
    return f"({COMMON} || '7' || {kind} || '8000' || lpad(to_hex(g), 12, '0'))::uuid"


INTENT, ATTEMPT, CHARGE, ROOT = (_id(f"'00{n}'") for n in range(4))
BATCH = 100  # journals that were posted at once: ids of one millisecond
JOURNAL = (
    f"(lpad(to_hex({{first_ms}} + g / {BATCH} * {BATCH}), 12, '0') || '70048000' || lpad(to_hex(g), 12, '0'))::uuid"
)
KEY = f"'0' || {COMMON} || lpad(to_hex(g), 19, '0')"
# core.ids.text of an attempt: 26 characters, five bits each, two zeros before them.
SHOWN = f"""(SELECT string_agg(substr('{ids.ALPHABET}', substring(its from 5 * c + 1 for 5)::bit(5)::int + 1, 1), '' ORDER BY c)
               FROM (SELECT B'00' || ('x' || replace({ATTEMPT}::text, '-', ''))::bit(128) AS its) AS b, generate_series(0, {ids.LENGTH - 1}) AS c)"""
ALL = "generate_series({first}, {last}) AS g"
FILLS = f"""
INSERT INTO payments.intent (book_id, id, version, status, amount, currency, method_type, types, attempt_id, charge_id, extra, late_success,
                             root_id, business_line, created_at, received)
SELECT '{{book}}', {INTENT}, 3, 'succeeded', {UNITS}, 'CNY', 'wechat_pay', ARRAY['wechat_pay'], {ATTEMPT}, {CHARGE}, '{{{{}}}}', 'refund',
       {ROOT}, '', '{{at}}', {UNITS} FROM {ALL};
INSERT INTO payments.attempt (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, channel_ref, expires_at,
                              paid_at, root_id, business_line, created_at)
SELECT '{{book}}', {ATTEMPT}, {INTENT}, '{{contract}}', 'wechatpay', 'native', 'succeeded', {UNITS}, 'CNY', {KEY}, '{{at}}', '{{at}}',
       {ROOT}, '', '{{at}}' FROM {ALL};
INSERT INTO payments.channel_ref SELECT '{{contract}}', {KEY}, '{{book}}', {ATTEMPT} FROM {ALL};
INSERT INTO payments.charge (book_id, id, intent_id, attempt_id, channel_account_id, method_type, amount, currency, channel_ref, paid_at,
                             created_at)
SELECT '{{book}}', {CHARGE}, {INTENT}, {ATTEMPT}, '{{contract}}', 'wechat_pay', {UNITS}, 'CNY', {KEY}, '{{at}}', '{{at}}' FROM {ALL};
INSERT INTO payments.history
SELECT '{{book}}', {_id("'01' || n")}, {INTENT}, 'intent', NULL, 'succeeded', 'api', {ROOT}, '{{at}}' FROM {ALL}, generate_series(1, 6) AS n;
INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at)
SELECT '{{book}}', {_id("'02' || n")}, type, CASE WHEN n < 4 THEN {INTENT} ELSE {CHARGE} END, version, repeat('payment_intent', 30), {ROOT}, '{{at}}'
  FROM {ALL}, (VALUES (1, 1, 'payment_intent.created'), (2, 2, 'payment_intent.requires_action'), (3, 3, 'payment_intent.succeeded'),
                      (4, 1, 'charge.succeeded')) AS said (n, version, type);
INSERT INTO platform.answer (book_id, key, fingerprint, state, runner, lease_until, status, body, request_id, created_at)
SELECT '{{book}}', n || {KEY}, sha256(''), 'done', '{{book}}', '{{at}}', 200, repeat('payment_intent', 30)::bytea, 'req', '{{at}}'
  FROM {ALL}, generate_series(1, 2) AS n;
INSERT INTO ledger.posting (books, heads, journals, keys, transfers, refusals, notes, decisions)
SELECT ARRAY['{{book}}'::uuid], ARRAY[(array_agg({JOURNAL} ORDER BY g DESC))[1]],
       array_agg(ROW('{{book}}', {JOURNAL}, 'charge:' || {SHOWN}, 'charge', {ATTEMPT}, {ROOT}, '', '{{at}}', NULL)::ledger.journal),
       array_agg(ROW('{{book}}', 'charge:' || {SHOWN}, {JOURNAL}, '{{digest}}', NULL)::ledger.key),
       array_agg(ROW('{{book}}', {JOURNAL}, 0, 'move', '{{debit}}', '{{credit}}', 'CNY', {UNITS}, NULL, NULL)::ledger.transfer), '{{{{}}}}', '{{{{}}}}', '{{{{}}}}'
  FROM {ALL} GROUP BY g / {BATCH} ORDER BY g / {BATCH};
"""


def fill(stage: Stage, payments: int) -> None:
    """Write so many, and show how far it is."""
    asyncio.run(_fill(stage, payments))


async def _fill(stage: Stage, payments: int) -> None:
    book, contract = ids.new_id(), ids.new_id()
    debit, credit = receivable(contract, "CNY"), payable("CNY", "platform", contract)
    digest = Journal(book, "", "charge", (Transfer(debit, credit, UNITS),), book, stage.began, book).digest()
    values = {
        "book": book, "contract": contract, "debit": debit.id(book), "credit": credit.id(book), "digest": f"\\x{digest.hex()}",
        "at": stage.began.isoformat(), "first_ms": time.time_ns() // 1_000_000 - payments - 86_400_000,
    }  # fmt: skip
    begun = time.monotonic()
    async with connected(stage.it) as connection:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(
            "SELECT ledger.lock($1, '{}', '{}', '{}', '{}', '{}', '{}')", [book]
        )  # its head is made
        for account in (debit, credit):
            kept = rule(account.code)
            await connection.execute(
                "SELECT ledger.open($1, $2, $3, $4, $5, $6, $7)", [book], [account.id(book)], [account.code], [account.asset],
                [kept.normal], [kept.floor], ids.new_id(),
            )  # fmt: skip
        for first in range(0, payments, CHUNK):
            last = min(first + CHUNK, payments) - 1
            await connection.execute(FILLS.format(first=first, last=last, **values))
            if (last + 1) % (5 * CHUNK) == 0 or last + 1 == payments:
                say(
                    f"the past: {last + 1:,} of {payments:,} payments, {(last + 1) / (time.monotonic() - begun):,.0f}/s"
                )
    say("the past settles …")
    async with db.connected(_superuser(stage)) as connection:
        for settled in ("VACUUM (ANALYZE)", "CHECKPOINT"):  # what would follow in the background, and be measured
            await connection.execute(settled)


def _superuser(stage: Stage) -> dict[str, Any]:
    """The embedded server's own user."""
    state = stage.it.state.absolute()
    return Server(cluster.read(state), 0, cluster.passwords(state)).dsn("guilder_test", "postgres")
