"""What must hold of a book whatever happened to it; P1 to P5, and that nothing waits for ever."""

from uuid import UUID

from guilder import ledger
from guilder.payments.states import ATTEMPT_NEXT, INTENT_NEXT, OPEN_ATTEMPT, OPEN_REFUND, REFUND_NEXT
from guilder.platform.db import Database
from guilder.platform.sql import Query

PROMISES = {
    "P1 every paid attempt is booked": """
        SELECT a.id FROM payments.attempt a WHERE a.book_id = $1 AND (a.paid_at IS NOT NULL) <> EXISTS (
            SELECT FROM ledger.line l WHERE l.book_id = a.book_id AND l.about = a.id AND l.rule IN ('charge', 'surplus'))""",
    "P1 every refund that is done is booked": """
        SELECT r.id FROM payments.refund r WHERE r.book_id = $1 AND (r.state = 'succeeded') <> EXISTS (
            SELECT FROM ledger.line l WHERE l.book_id = r.book_id AND l.about = r.id)""",
    "P1 amounts are those of the rows": """
        SELECT l.key FROM ledger.line l
          LEFT JOIN payments.attempt a ON a.book_id = l.book_id AND a.id = l.about
          LEFT JOIN payments.refund r ON r.book_id = l.book_id AND r.id = l.about
         WHERE l.book_id = $1 AND l.line = 0 AND l.units IS DISTINCT FROM coalesce(a.amount, r.amount)""",
    "P2 one charge if and only if it succeeded": """
        SELECT i.id FROM payments.intent i WHERE i.book_id = $1 AND (i.status = 'succeeded')::int <>
            (SELECT count(*) FROM payments.charge c WHERE c.book_id = i.book_id AND c.intent_id = i.id AND c.id = i.charge_id)""",
    "P2 a surplus was accepted or goes back, once": """
        SELECT a.id FROM payments.attempt a WHERE a.book_id = $1 AND a.state = 'surplus' AND 1 <>
            (SELECT count(*) FROM payments.refund r WHERE r.book_id = a.book_id AND r.attempt_id = a.id AND r.charge_id IS NULL)
          + (SELECT count(*) FROM payments.charge c WHERE c.book_id = a.book_id AND c.attempt_id = a.id)""",
    "P4 the charge counts exactly its refunds": """
        SELECT c.id FROM payments.charge c WHERE c.book_id = $1 AND c.refunded <>
            (SELECT coalesce(sum(r.amount), 0) FROM payments.refund r
              WHERE r.book_id = c.book_id AND r.charge_id = c.id AND r.state <> 'failed')""",
    "the surplus account holds what has yet to go back": """
        SELECT s.balance FROM (SELECT coalesce(sum(balance), 0) AS balance FROM ledger.balance
                                WHERE book_id = $1 AND code = 'surplus') s
         WHERE s.balance <> (SELECT coalesce(sum(amount), 0) FROM payments.refund
                              WHERE book_id = $1 AND charge_id IS NULL AND state <> 'succeeded')""",
    "what is open is asked about, and nothing else": f"""
        SELECT id FROM payments.attempt WHERE book_id = $1
           AND (ask_at IS NOT NULL) <> (state IN ({", ".join(f"'{s}'" for s in sorted(OPEN_ATTEMPT))}))
         UNION ALL
        SELECT id FROM payments.refund WHERE book_id = $1
           AND (ask_at IS NOT NULL) <> (state IN ({", ".join(f"'{s}'" for s in sorted(OPEN_REFUND))}))""",
    "a wish to cancel waits only for what is open": """
        SELECT i.id FROM payments.intent i WHERE i.book_id = $1 AND i.cancel_wanted_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM payments.attempt a WHERE a.book_id = i.book_id AND a.intent_id = i.id AND a.ask_at IS NOT NULL)""",
    "what was paid or canceled has no open try that nobody closes": """
        SELECT a.id FROM payments.attempt a JOIN payments.intent i ON i.book_id = a.book_id AND i.id = a.intent_id
         WHERE a.book_id = $1 AND i.status IN ('succeeded', 'canceled') AND a.ask_at IS NOT NULL AND NOT a.close_wanted""",
    "who waits for a channel waits for an open try": """
        SELECT i.id FROM payments.intent i WHERE i.book_id = $1 AND i.status IN ('processing', 'requires_action') AND NOT EXISTS (
            SELECT FROM payments.attempt a WHERE a.book_id = i.book_id AND a.id = i.attempt_id AND a.ask_at IS NOT NULL)""",
    "an object's events count without gaps": """
        SELECT object_id FROM platform.event WHERE book_id = $1 GROUP BY object_id
        HAVING max(object_version) <> count(*) OR min(object_version) <> 1 OR count(DISTINCT object_version) <> count(*)""",
}
MOVES = {
    kind: {(None, s.value) for s in table} | {(s.value, n.value) for s, following in table.items() for n in following}
    for kind, table in (("intent", INTENT_NEXT), ("attempt", ATTEMPT_NEXT), ("refund", REFUND_NEXT))
}


async def broken(db: Database, book: UUID) -> list[str]:
    """The promises that this book does not keep."""
    found = [
        f"{name}: {rows}" for name, sql in PROMISES.items() if (rows := await db.rows(Query("promise", sql), book))
    ]
    moves = await db.rows(Query("moves", "SELECT kind, was, became FROM payments.history WHERE book_id = $1"), book)
    found += [f"G8: {m}" for m in moves if (m["was"], m["became"]) not in MOVES[m["kind"]]]
    return found + [str(b) for b in await db.transact(ledger.sweep)]
