-- name: lock_intents
-- In key order, so that batches which share payments queue and never deadlock.
SELECT i.*
  FROM payments.intent i
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
 ORDER BY i.book_id, i.id
   FOR NO KEY UPDATE OF i

-- name: lock_intents_of_attempts
-- Which payment an attempt belongs to never changes: it may be read without a lock.
SELECT i.*
  FROM payments.intent i
 WHERE (i.book_id, i.id) IN (
       SELECT t.book_id, t.intent_id
         FROM payments.attempt t
         JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id))
 ORDER BY i.book_id, i.id
   FOR NO KEY UPDATE OF i

-- name: lock_intents_of_refunds
SELECT i.*
  FROM payments.intent i
 WHERE (i.book_id, i.id) IN (
       SELECT t.book_id, t.intent_id
         FROM payments.refund t
         JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id))
 ORDER BY i.book_id, i.id
   FOR NO KEY UPDATE OF i

-- name: intents_of_attempts
SELECT t.book_id, t.id, t.intent_id
  FROM payments.attempt t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)

-- name: attempts_of_intents
SELECT t.*
  FROM payments.attempt t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id) USING (book_id, intent_id)
 ORDER BY t.id

-- name: charges_of_intents
SELECT t.*
  FROM payments.charge t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id) USING (book_id, intent_id)
 ORDER BY t.id

-- name: refunds_of_intents
SELECT t.*
  FROM payments.refund t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id) USING (book_id, intent_id)
 ORDER BY t.id

-- name: insert_intents
INSERT INTO payments.intent SELECT * FROM unnest($1::payments.intent[])

-- name: insert_attempts
INSERT INTO payments.attempt SELECT * FROM unnest($1::payments.attempt[])

-- name: insert_charges
-- A second charge of one intent is a unique violation: the batch runs again and finds the first.
INSERT INTO payments.charge SELECT * FROM unnest($1::payments.charge[])

-- name: insert_refunds
INSERT INTO payments.refund SELECT * FROM unnest($1::payments.refund[])

-- name: update_intents
UPDATE payments.intent t
   SET version = n.version, status = n.status, amount = n.amount, currency = n.currency, customer_id = n.customer_id,
       method_id = n.method_id, method_type = n.method_type, types = n.types,
       attempt_id = n.attempt_id, charge_id = n.charge_id, description = n.description, metadata = n.metadata,
       extra = n.extra, next_action = n.next_action, last_error = n.last_error, cancel_reason = n.cancel_reason,
       cancel_wanted_at = n.cancel_wanted_at, canceled_at = n.canceled_at, expires_at = n.expires_at
  FROM unnest($1::payments.intent[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_attempts
UPDATE payments.attempt t
   SET state = n.state, channel_ref = n.channel_ref, next_action = n.next_action, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, close_wanted = n.close_wanted, paid_at = n.paid_at
  FROM unnest($1::payments.attempt[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_charges
UPDATE payments.charge t
   SET version = n.version, refunded = n.refunded
  FROM unnest($1::payments.charge[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_refunds
-- Metadata is the merchant's: it is changed by its own call alone.
UPDATE payments.refund t
   SET version = n.version, state = n.state, channel_ref = n.channel_ref, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, done_at = n.done_at
  FROM unnest($1::payments.refund[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: insert_channel_refs
INSERT INTO payments.channel_ref SELECT * FROM unnest($1::payments.channel_ref[])
    ON CONFLICT DO NOTHING

-- name: insert_history
INSERT INTO payments.history SELECT * FROM unnest($1::payments.history[])

-- name: claim_attempts_to_ask
-- ask_at is the lease: whoever dies while asking is followed after it.
UPDATE payments.attempt a
   SET ask_at = now() + make_interval(secs => $2), asked = a.asked + 1
  FROM (SELECT book_id, id FROM payments.attempt
         WHERE ask_at <= now() AND channel_account_id <> ALL ($3::uuid[]) ORDER BY ask_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE a.book_id = k.book_id AND a.id = k.id
RETURNING a.*

-- name: claim_refunds_to_ask
UPDATE payments.refund r
   SET ask_at = now() + make_interval(secs => $2), asked = r.asked + 1
  FROM (SELECT book_id, id FROM payments.refund
         WHERE ask_at <= now() AND channel_account_id <> ALL ($3::uuid[]) ORDER BY ask_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE r.book_id = k.book_id AND r.id = k.id
RETURNING r.*

-- name: expired_intents
SELECT book_id, id FROM payments.intent
 WHERE expires_at <= now() AND status NOT IN ('succeeded', 'canceled') AND cancel_wanted_at IS NULL
 ORDER BY expires_at LIMIT $1

-- name: find_intent
SELECT * FROM payments.intent WHERE book_id = $1 AND id = $2

-- name: find_attempt
SELECT * FROM payments.attempt WHERE book_id = $1 AND id = $2

-- name: find_refund
SELECT * FROM payments.refund WHERE book_id = $1 AND id = $2

-- name: find_charges
SELECT * FROM payments.charge WHERE book_id = $1 AND id = ANY ($2)

-- name: find_intents
SELECT * FROM payments.intent WHERE book_id = $1 AND id = ANY ($2)

-- name: find_methods
SELECT * FROM payments.method WHERE book_id = $1 AND id = ANY ($2)

-- name: insert_methods
INSERT INTO payments.method SELECT * FROM unnest($1::payments.method[])

-- name: find_method
SELECT * FROM payments.method WHERE book_id = $1 AND id = $2

-- name: list_intents
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM payments.intent
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR customer_id = $7)
 ORDER BY id DESC
 LIMIT $6

-- name: list_refunds
SELECT * FROM payments.refund
 WHERE book_id = $1 AND charge_id IS NOT NULL
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR charge_id = $7) AND ($8::uuid IS NULL OR intent_id = $8)
 ORDER BY id DESC
 LIMIT $6

-- name: list_charges
SELECT c.* FROM payments.charge c
 WHERE c.book_id = $1
   AND c.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND c.id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR c.created_at >= $4) AND ($5::timestamptz IS NULL OR c.created_at < $5)
   AND ($7::uuid IS NULL OR c.intent_id = $7)
   AND ($8::uuid IS NULL OR EXISTS (SELECT FROM payments.intent i
                                     WHERE i.book_id = c.book_id AND i.id = c.intent_id AND i.customer_id = $8))
 ORDER BY c.id DESC
 LIMIT $6

-- name: find_charge_intent
SELECT intent_id FROM payments.charge WHERE book_id = $1 AND id = $2

-- name: set_refund_metadata
UPDATE payments.refund SET metadata = $3 WHERE book_id = $1 AND id = $2

-- name: lock_refund
SELECT * FROM payments.refund WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: lock_method
SELECT * FROM payments.method WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: set_method_customer
UPDATE payments.method SET customer_id = $3, version = $4 WHERE book_id = $1 AND id = $2

-- name: detach_methods
UPDATE payments.method SET customer_id = NULL, version = version + 1 WHERE book_id = $1 AND customer_id = $2 RETURNING *

-- name: list_methods
SELECT * FROM payments.method
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR customer_id = $7) AND ($8::text IS NULL OR type = $8)
 ORDER BY id DESC
 LIMIT $6

-- name: hurry_refunds
UPDATE payments.refund SET ask_at = now() WHERE book_id = $1 AND attempt_id = $2 AND ask_at IS NOT NULL RETURNING id

-- name: balance_of
SELECT asset, balance, held FROM ledger.balance WHERE book_id = $1 AND code = 'payable' ORDER BY asset

-- name: list_balance_transactions
SELECT l.journal_id AS id, l.rule, l.at, l.asset, sum(CASE WHEN l.credit = 'payable' THEN l.units ELSE -l.units END) AS units,
       CASE WHEN l.rule IN ('charge', 'surplus_accepted') THEN c.id WHEN l.rule = 'refund' THEN l.about END AS source_id
  FROM ledger.line l
  LEFT JOIN payments.attempt a ON a.book_id = l.book_id AND a.id = l.about
  LEFT JOIN payments.charge c ON c.book_id = a.book_id AND c.intent_id = a.intent_id
 WHERE l.book_id = $1 AND (l.debit = 'payable' OR l.credit = 'payable') AND l.credit IS NOT NULL
   AND ($2::uuid IS NULL OR l.journal_id < $2) AND ($3::uuid IS NULL OR l.journal_id > $3)
   AND ($4::timestamptz IS NULL OR l.at >= $4) AND ($5::timestamptz IS NULL OR l.at < $5)
   AND ($7::text IS NULL OR l.asset = $7)
   AND ($8::uuid IS NULL OR c.id = $8 OR l.about = $8)
   AND ($9::text IS NULL OR $9 = CASE WHEN l.rule IN ('charge', 'surplus_accepted') THEN 'charge' WHEN l.rule = 'refund' THEN 'refund' ELSE 'adjustment' END)
 GROUP BY l.journal_id, l.rule, l.at, l.asset, c.id, l.about
 ORDER BY l.journal_id DESC
 LIMIT $6

-- name: find_balance_transaction
SELECT l.journal_id AS id, l.rule, l.at, l.asset, sum(CASE WHEN l.credit = 'payable' THEN l.units ELSE -l.units END) AS units,
       CASE WHEN l.rule IN ('charge', 'surplus_accepted') THEN c.id WHEN l.rule = 'refund' THEN l.about END AS source_id
  FROM ledger.line l
  LEFT JOIN payments.attempt a ON a.book_id = l.book_id AND a.id = l.about
  LEFT JOIN payments.charge c ON c.book_id = a.book_id AND c.intent_id = a.intent_id
 WHERE l.book_id = $1 AND (l.debit = 'payable' OR l.credit = 'payable') AND l.credit IS NOT NULL
   AND l.journal_id = $2
 GROUP BY l.journal_id, l.rule, l.at, l.asset, c.id, l.about
