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

-- name: look_at_intents
-- Not locked: what is written of them insists on `seen`.
SELECT i.*, i.xmin AS seen
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN payments.intent i ON i.book_id = k.book_id AND i.id = k.id

-- name: look_at_intents_of_attempts
-- Payments with all their attempts, at one instant, not locked: the columns of a payment, `seen`, the columns of an attempt, `seen`.
SELECT i.*, i.xmin, t.*, t.xmin
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN payments.attempt a ON a.book_id = k.book_id AND a.id = k.id
  JOIN payments.intent i ON i.book_id = a.book_id AND i.id = a.intent_id
  JOIN payments.attempt t ON t.intent_id = i.id AND t.book_id = i.book_id
 ORDER BY t.id

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
-- $2: each row's xmin when it was read, if it was not locked.
UPDATE payments.intent t
   SET version = n.version, status = n.status, amount = n.amount, currency = n.currency, customer_id = n.customer_id,
       method_id = n.method_id, method_type = n.method_type, types = n.types,
       attempt_id = n.attempt_id, charge_id = n.charge_id, description = n.description, metadata = n.metadata,
       extra = n.extra, next_action = n.next_action, last_error = n.last_error, cancel_reason = n.cancel_reason,
       cancel_wanted_at = n.cancel_wanted_at, canceled_at = n.canceled_at, expires_at = n.expires_at,
       received = n.received
  FROM unnest($1::payments.intent[]) WITH ORDINALITY AS n
 WHERE t.book_id = n.book_id AND t.id = n.id AND ($2::xid[] IS NULL OR platform.insist(t.xmin = ($2::xid[])[n.ordinality]))

-- name: update_attempts
UPDATE payments.attempt t
   SET state = n.state, channel_ref = n.channel_ref, next_action = n.next_action, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, close_wanted = n.close_wanted, paid_at = n.paid_at, capture = n.capture, memo = n.memo,
       expires_at = n.expires_at, came = n.came
  FROM unnest($1::payments.attempt[]) WITH ORDINALITY AS n
 WHERE t.book_id = n.book_id AND t.id = n.id AND ($2::xid[] IS NULL OR platform.insist(t.xmin = ($2::xid[])[n.ordinality]))

-- name: update_charges
UPDATE payments.charge t
   SET version = n.version, refunded = n.refunded
  FROM unnest($1::payments.charge[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: mark_disputed
UPDATE payments.charge t SET disputed = true
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
 WHERE t.book_id = k.book_id AND t.id = k.id AND NOT t.disputed

-- name: update_refunds
-- Metadata is the merchant's: it is changed by its own call alone.
UPDATE payments.refund t
   SET version = n.version, state = n.state, channel_ref = n.channel_ref, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, done_at = n.done_at, memo = n.memo, elsewhere = n.elsewhere
  FROM unnest($1::payments.refund[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: insert_asides
-- A sum that lies aside already is a unique violation: the transaction runs again and finds it.
INSERT INTO payments.aside SELECT * FROM unnest($1::payments.aside[])

-- name: update_asides
UPDATE payments.aside t
   SET used = n.used, state = n.state, attempt_id = n.attempt_id, intent_id = n.intent_id
  FROM unnest($1::payments.aside[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: asides_of_attempts
SELECT t.*
  FROM payments.aside t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, attempt_id) USING (book_id, attempt_id)
 ORDER BY t.id

-- name: asides_of_refs
SELECT t.*
  FROM payments.aside t
  JOIN unnest($1::uuid[], $2::text[]) AS k (channel_account_id, ref) USING (channel_account_id, ref)

-- name: find_aside
SELECT * FROM payments.aside WHERE book_id = $1 AND id = $2

-- name: lock_aside
SELECT * FROM payments.aside WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: take_turn_of_ref
-- One at a time puts a sum aside, also where no payment is locked for it.
SELECT pg_advisory_xact_lock(hashtextextended('aside ' || $1::uuid::text || ' ' || $2::text, 0))

-- name: lock_aside_of_ref
SELECT * FROM payments.aside WHERE book_id = $1 AND channel_account_id = $2 AND ref = $3 FOR NO KEY UPDATE

-- name: whose_ref
SELECT r.about FROM payments.channel_ref r WHERE r.channel_account_id = $1 AND r.ref = $2

-- name: insert_channel_refs
INSERT INTO payments.channel_ref SELECT * FROM unnest($1::payments.channel_ref[])
    ON CONFLICT DO NOTHING

-- name: insert_history
INSERT INTO payments.history SELECT * FROM unnest($1::payments.history[])

-- name: insert_steps
INSERT INTO payments.step SELECT * FROM unnest($1::payments.step[])

-- name: claim_steps
-- due_at is the lease.
UPDATE payments.step s
   SET due_at = now() + make_interval(secs => $2), looked = s.looked + 1
  FROM (SELECT s.book_id, s.attempt_id, s.plugin, s.point, a.intent_id
          FROM payments.step s JOIN payments.attempt a ON a.book_id = s.book_id AND a.id = s.attempt_id
         WHERE s.due_at <= now() ORDER BY s.due_at LIMIT $1
           FOR UPDATE OF s SKIP LOCKED) k
 WHERE (s.book_id, s.attempt_id, s.plugin, s.point) = (k.book_id, k.attempt_id, k.plugin, k.point)
RETURNING s.*, k.intent_id,
          EXISTS (SELECT FROM payments.charge c WHERE (c.book_id, c.intent_id, c.attempt_id) = (s.book_id, k.intent_id, s.attempt_id)) AS paid

-- name: note_step
UPDATE payments.step
   SET state = $5, due_at = now() + make_interval(secs => $6), failed = $7, why = $8
 WHERE (book_id, attempt_id, plugin, point) = ($1, $2, $3, $4) AND due_at IS NOT NULL

-- name: hurry_steps
-- A late success that is accepted follows a try that had ended: what was skipped is due after all (K2).
UPDATE payments.step s
   SET due_at = now(), state = CASE s.state WHEN 'skipped' THEN 'waits' ELSE s.state END
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id)
  JOIN payments.attempt a ON a.book_id = k.book_id AND a.intent_id = k.intent_id
 WHERE s.book_id = a.book_id AND s.attempt_id = a.id AND s.failed = 0
   AND (s.due_at > now() OR s.state = 'skipped' AND EXISTS (
        SELECT FROM payments.charge c WHERE (c.book_id, c.intent_id, c.attempt_id) = (s.book_id, a.intent_id, s.attempt_id)))

-- name: story_steps
SELECT s.*, a.created_at FROM payments.step s JOIN payments.attempt a ON a.book_id = s.book_id AND a.id = s.attempt_id
 WHERE s.book_id = ANY ($1) AND s.attempt_id = ANY ($2)

-- name: claim_attempts_to_ask
-- ask_at is the lease: whoever dies while asking is followed after it.  What the front is to ask is the front's until it ends.
UPDATE payments.attempt a
   SET ask_at = now() + make_interval(secs => $2), asked = a.asked + 1
  FROM (SELECT book_id, id FROM payments.attempt
         WHERE ask_at <= now() AND channel_account_id <> ALL ($3::uuid[])
           AND (NOT unasked OR close_wanted OR expires_at <= now())
         ORDER BY ask_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE a.book_id = k.book_id AND a.id = k.id
RETURNING a.*

-- name: claim_unasked
-- From this commit on its channel may have been asked.  Who wants it closed is faster or slower than this, never at the same time.
UPDATE payments.attempt a
   SET unasked = false, ask_at = now() + make_interval(secs => $2)
  FROM (SELECT book_id, id FROM payments.attempt
         WHERE ask_at <= now() AND unasked AND state = 'unknown' AND NOT close_wanted
           AND expires_at > now() + interval '5 seconds' AND channel_account_id <> ALL ($3::uuid[])
         ORDER BY ask_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE a.book_id = k.book_id AND a.id = k.id
RETURNING a.*

-- name: claim_one_unasked
UPDATE payments.attempt
   SET unasked = false, ask_at = now() + make_interval(secs => $3)
 WHERE book_id = $1 AND id = $2 AND unasked AND state = 'unknown' AND NOT close_wanted AND expires_at > now() + interval '5 seconds'
RETURNING *

-- name: put_back_unasked
-- Its account had no room: whoever claimed it has asked nobody.
UPDATE payments.attempt SET unasked = true, ask_at = now() + make_interval(secs => $3)
 WHERE book_id = $1 AND id = $2 AND state = 'unknown' AND NOT unasked AND NOT close_wanted

-- name: retire_unasked
-- From this commit on nobody will ask its channel.
UPDATE payments.attempt SET close_wanted = true
 WHERE book_id = $1 AND id = $2 AND unasked AND state = 'unknown'
RETURNING id

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

-- name: find_of_accounts
-- Whether one of these accounts ($1) of these books ($2) was asked for this payment or refund.
SELECT EXISTS (SELECT FROM payments.attempt WHERE book_id = ANY ($2::uuid[]) AND id = $3 AND channel_account_id = ANY ($1::uuid[]))
    OR EXISTS (SELECT FROM payments.refund WHERE book_id = ANY ($2::uuid[]) AND id = $3 AND channel_account_id = ANY ($1::uuid[]))

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
   AND ($7::uuid IS NULL OR customer_id = $7) AND ($8::uuid IS NULL OR store_id = $8) AND ($9::uuid IS NULL OR terminal_id = $9)
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
UPDATE payments.method SET customer_id = $3, version = $4, person_id = $5 WHERE book_id = $1 AND id = $2

-- name: detach_methods
UPDATE payments.method SET customer_id = NULL, version = version + 1 WHERE book_id = $1 AND customer_id = $2 RETURNING *

-- name: find_intents_of_person
SELECT * FROM payments.intent WHERE book_id = $1 AND customer_id = $2
 UNION ALL
SELECT * FROM payments.intent WHERE book_id = $1 AND id = $2

-- name: find_book_of_intent
SELECT book_id FROM payments.intent WHERE id = $1

-- name: blank_intents
UPDATE payments.intent SET extra = (extra::jsonb - ARRAY['receipt_email', 'shipping', 'given'])::text
 WHERE book_id = $1 AND id = ANY ($2) AND extra::jsonb ?| ARRAY['receipt_email', 'shipping', 'given']
RETURNING id

-- name: blank_attempts
UPDATE payments.attempt SET given = '{}'
 WHERE book_id = $1 AND intent_id = ANY ($2) AND given <> '{}' AND state NOT IN ('unknown', 'pending', 'authorised')
RETURNING intent_id

-- name: find_methods_of_persons
-- $2: persons; $3: payments, which may have taken a way that nobody kept.
SELECT m.* FROM payments.method m
 WHERE m.book_id = $1
   AND m.id IN (SELECT p.id FROM payments.method p WHERE p.person_id = ANY ($2) AND p.book_id = $1
                 UNION
                SELECT i.method_id FROM payments.intent i WHERE i.book_id = $1 AND i.id = ANY ($3))

-- name: blank_methods
UPDATE payments.method SET billing = '{}' WHERE book_id = $1 AND id = ANY ($2) AND billing <> '{}' RETURNING id

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
       coalesce(sum(l.units) FILTER (WHERE l.credit LIKE 'clearing:%'), 0) AS fee,
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
       coalesce(sum(l.units) FILTER (WHERE l.credit LIKE 'clearing:%'), 0) AS fee,
       CASE WHEN l.rule IN ('charge', 'surplus_accepted') THEN c.id WHEN l.rule = 'refund' THEN l.about END AS source_id
  FROM ledger.line l
  LEFT JOIN payments.attempt a ON a.book_id = l.book_id AND a.id = l.about
  LEFT JOIN payments.charge c ON c.book_id = a.book_id AND c.intent_id = a.intent_id
 WHERE l.book_id = $1 AND (l.debit = 'payable' OR l.credit = 'payable') AND l.credit IS NOT NULL
   AND l.journal_id = $2
 GROUP BY l.journal_id, l.rule, l.at, l.asset, c.id, l.about

-- name: touched_payments
-- Payments of which something was made or moved in these windows.  Moves of what was made in them need not be looked at.
WITH w AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)),
moved AS (
    SELECT DISTINCT h.book_id, h.kind, h.about AS id
      FROM w JOIN payments.history h ON h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto AND (h.about <= w.after OR h.about > w.upto))
SELECT i.book_id, i.id FROM w JOIN payments.intent i ON i.book_id = w.book_id AND i.id > w.after AND i.id <= w.upto
 UNION
SELECT a.book_id, a.intent_id FROM w JOIN payments.attempt a ON a.book_id = w.book_id AND a.id > w.after AND a.id <= w.upto
 UNION
SELECT c.book_id, c.intent_id FROM w JOIN payments.charge c ON c.book_id = w.book_id AND c.id > w.after AND c.id <= w.upto
 UNION
SELECT r.book_id, r.intent_id FROM w JOIN payments.refund r ON r.book_id = w.book_id AND r.id > w.after AND r.id <= w.upto
 UNION
SELECT book_id, id FROM moved WHERE kind = 'intent'
 UNION
SELECT a.book_id, a.intent_id FROM moved m JOIN payments.attempt a ON a.book_id = m.book_id AND a.id = m.id WHERE m.kind = 'attempt'
 UNION
SELECT r.book_id, r.intent_id FROM moved m JOIN payments.refund r ON r.book_id = m.book_id AND r.id = m.id WHERE m.kind = 'refund'

-- name: touched_attempts
-- Moves first by their window, then by their kind: a plan that looks for the kind first reads all of a book.
SELECT a.book_id, a.id, a.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payments.attempt a ON a.book_id = w.book_id AND a.id > w.after AND a.id <= w.upto
 UNION
SELECT h.book_id, h.about, h.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
 CROSS JOIN LATERAL (SELECT * FROM payments.history h WHERE h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto OFFSET 0) AS h
 WHERE h.kind = 'attempt'

-- name: audit_paid
-- An attempt that collected has its journal, of its amount and then of its charge's fee; any other has none.  Of one that succeeded, as nearly
-- all do, no other is searched for: whose journal books it otherwise is told by audit_booked, and by the one that is missing then.
SELECT a.book_id, 'at' AS kind, a.id,
       'the journal ' || v.rule || CASE WHEN b.key IS NULL THEN ' is missing' WHEN v.wanted THEN ' is of something else' ELSE ' should not be' END AS fault,
       CASE WHEN v.wanted THEN v.units || ' ' || a.currency || ', fee ' || v.fee ELSE 'none' END || ', it is ' || a.state AS expected,
       coalesce(b.rule || ' ' || b.units || ' ' || b.asset || ', fee ' || b.fee, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN payments.attempt a ON a.book_id = k.book_id AND a.id = k.id
  LEFT JOIN payments.charge c ON c.intent_id = a.intent_id AND c.book_id = a.book_id AND c.attempt_id = a.id
  JOIN LATERAL (VALUES ('charge', a.state = 'succeeded', coalesce(c.fee, 0), least(coalesce(a.capture, a.amount), a.came)),
                       ('surplus', a.state = 'surplus', 0, coalesce(a.came, a.capture, a.amount)),
                       ('surplus_accepted', a.state = 'surplus' AND c.id IS NOT NULL, coalesce(c.fee, 0), coalesce(a.came, a.capture, a.amount))) AS v (rule, wanted, fee, units)
    ON v.wanted OR a.state <> 'succeeded'
 CROSS JOIN LATERAL (
       SELECT any_value(b.key) AS key, any_value(b.rule) AS rule, any_value(b.about) AS about, min(b.asset) AS asset, max(b.asset) AS other, bool_or(b.archived) AS archived,
              sum(b.units) FILTER (WHERE b.line = 0) AS units, coalesce(sum(b.units) FILTER (WHERE b.line > 0), 0) AS fee
         FROM ledger.booked b WHERE b.book_id = k.book_id AND b.key = v.rule || ':' || k.shown) b
 WHERE CASE WHEN b.archived THEN NOT v.wanted
            WHEN v.wanted THEN (b.rule, b.about, b.units, b.asset, b.other, b.fee) IS DISTINCT FROM (v.rule, a.id, v.units, a.currency, a.currency, v.fee)
            ELSE b.key IS NOT NULL END

-- name: touched_charges
SELECT c.book_id, c.id, c.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payments.charge c ON c.book_id = w.book_id AND c.id > w.after AND c.id <= w.upto

-- name: audit_fees
-- A fee is ordered, or posted in the platform's book ($4), once and as it is; no fee is neither.
SELECT c.book_id, 'ch' AS kind, c.id, 'its fee is not what is ordered or posted' AS fault, c.fee || ' ' || c.currency AS expected,
       coalesce(f.said, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN payments.charge c ON c.book_id = k.book_id AND c.id = k.id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, bool_and(s.archived OR (s.rule, s.about, s.units, s.asset) = ('fee', c.id, c.fee, c.currency)) AS so,
              string_agg(concat_ws(' ', s.what, s.units, s.asset), ', ') AS said
         FROM (SELECT 'posted' AS what, b.rule, b.about, b.units, b.asset, b.archived FROM ledger.booked b WHERE b.book_id = $4 AND b.key = 'fee:' || k.shown
                UNION ALL
               SELECT 'ordered', o.rule, o.about, o.units, o.asset, false FROM ledger.ordered o WHERE o.book_id = $4 AND o.key = 'fee:' || k.shown) AS s) AS f
 WHERE f.n <> (c.fee > 0)::int OR NOT f.so

-- name: touched_refunds
SELECT r.book_id, r.id, r.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payments.refund r ON r.book_id = w.book_id AND r.id > w.after AND r.id <= w.upto
 UNION
SELECT h.book_id, h.about, h.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
 CROSS JOIN LATERAL (SELECT * FROM payments.history h WHERE h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto OFFSET 0) AS h
 WHERE h.kind = 'refund'

-- name: audit_given_back
-- A refund that is done has its journal, of its amount; any other has none.
SELECT r.book_id, 're' AS kind, r.id,
       'the journal ' || v.rule || CASE WHEN b.key IS NULL THEN ' is missing' WHEN v.wanted THEN ' is of something else' ELSE ' should not be' END AS fault,
       CASE WHEN v.wanted THEN r.amount || ' ' || r.currency ELSE 'none' END || ', it is ' || r.state AS expected,
       coalesce(b.rule || ' ' || b.units || ' ' || b.asset, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN payments.refund r ON r.book_id = k.book_id AND r.id = k.id
 CROSS JOIN LATERAL (VALUES ('refund', r.state = 'succeeded' AND r.charge_id IS NOT NULL),
                            ('refund_elsewhere', r.elsewhere IS NOT DISTINCT FROM 'merchant'),
                            ('surplus_refund', r.state = 'succeeded' AND r.charge_id IS NULL AND r.aside_id IS NULL),
                            ('suspense_refund', r.state = 'succeeded' AND r.aside_id IS NOT NULL)) AS v (rule, wanted)
  LEFT JOIN ledger.booked b ON b.book_id = k.book_id AND b.key = v.rule || ':' || k.shown
 WHERE CASE WHEN b.archived THEN NOT v.wanted WHEN v.wanted THEN (b.rule, b.about, b.units, b.asset) IS DISTINCT FROM (v.rule, r.id, r.amount, r.currency) ELSE b.key IS NOT NULL END

-- name: posted_journals
SELECT DISTINCT b.book_id, b.journal_id AS id, b.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
 CROSS JOIN LATERAL (
       SELECT * FROM ledger.posted b WHERE b.book_id = w.book_id AND b.journal_id > w.after AND b.journal_id <= w.upto OFFSET 0) b
 WHERE b.rule IN ('charge', 'surplus', 'surplus_accepted', 'refund', 'surplus_refund', 'suspense_refund')

-- name: audit_booked
-- Each journal of ours books an attempt or a refund that says so, under the one key that is its own.
SELECT b.book_id, 'journal' AS kind, b.journal_id AS id, 'what it books is not so' AS fault,
       b.rule || ':' || k.shown || ' ' || b.units || ' ' || b.asset AS expected,
       b.key || ' ' || coalesce(a.state || ' ' || a.amount || ' ' || a.currency, r.state || ' ' || r.amount || ' ' || r.currency, 'nothing') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN ledger.posted b ON b.book_id = k.book_id AND b.journal_id = k.id AND b.line = 0
  LEFT JOIN LATERAL (SELECT * FROM payments.attempt a WHERE a.book_id = b.book_id AND a.id = b.about AND b.rule NOT IN ('refund', 'surplus_refund', 'suspense_refund') OFFSET 0) a ON true
  LEFT JOIN LATERAL (SELECT * FROM payments.refund r WHERE r.book_id = b.book_id AND r.id = b.about AND b.rule IN ('refund', 'surplus_refund', 'suspense_refund') OFFSET 0) r ON true
 WHERE b.key <> b.rule || ':' || k.shown
    OR (coalesce(a.state, r.state), CASE a.state WHEN 'succeeded' THEN least(coalesce(a.capture, a.amount), a.came) ELSE coalesce(a.came, a.capture, a.amount, r.amount) END,
        coalesce(a.currency, r.currency), r.charge_id IS NULL, r.aside_id IS NULL) IS DISTINCT FROM
       (CASE WHEN b.rule IN ('surplus', 'surplus_accepted') THEN 'surplus' ELSE 'succeeded' END, b.units, b.asset, b.rule <> 'refund', b.rule <> 'suspense_refund')

-- name: audit_charges
-- A payment has one charge if and only if it succeeded: of its amount, and of an attempt of its own that was paid.
SELECT k.book_id, 'pi' AS kind, k.id,
       CASE WHEN i.id IS NULL THEN 'the payment is gone' WHEN c.id IS NULL THEN 'its charge is missing'
            WHEN i.status <> 'succeeded' THEN 'it has a charge' ELSE 'its charge is of something else' END AS fault,
       concat_ws(' ', i.status, i.amount, i.currency, i.charge_id) AS expected,
       concat_ws(' ', c.id, c.amount, c.currency, 'of the attempt', a.state, a.amount, a.currency) AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  LEFT JOIN payments.intent i ON i.book_id = k.book_id AND i.id = k.id
  LEFT JOIN payments.charge c ON c.intent_id = k.id AND c.book_id = k.book_id
  LEFT JOIN payments.attempt a ON a.book_id = c.book_id AND a.id = c.attempt_id
 WHERE i.id IS NULL
    OR (i.status = 'succeeded') <> (c.id IS NOT NULL)
    OR i.charge_id IS DISTINCT FROM c.id
    OR c.id IS NOT NULL AND (i.id, i.amount, i.received, i.currency, c.amount, c.currency, c.paid_at)
                            IS DISTINCT FROM (a.intent_id, a.amount, c.amount, c.currency, least(coalesce(a.capture, a.amount), a.came), a.currency, a.paid_at)

-- name: audit_refunded
SELECT c.book_id, 'ch' AS kind, c.id, 'it does not count its refunds' AS fault, s.sum || ' of ' || c.amount AS expected, c.refunded::text AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN payments.charge c ON c.intent_id = k.id AND c.book_id = k.book_id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(r.amount), 0) AS sum FROM payments.refund r
        WHERE r.intent_id = k.id AND r.book_id = k.book_id AND r.charge_id IS NOT NULL AND r.state <> 'failed') s
 WHERE c.refunded <> s.sum OR c.refunded > c.amount

-- name: audit_surplus
-- A surplus was accepted or goes back, once; nothing else goes back without a charge.
SELECT a.book_id, 'at' AS kind, a.id, 'a surplus goes back or is accepted, once' AS fault,
       (a.state = 'surplus')::int::text AS expected, s.back || ' go back, ' || s.accepted || ' accepted' AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN payments.attempt a ON a.intent_id = k.id AND a.book_id = k.book_id
 CROSS JOIN LATERAL (
       SELECT (SELECT count(*) FROM payments.refund r
                WHERE r.intent_id = k.id AND r.book_id = k.book_id AND r.attempt_id = a.id AND r.charge_id IS NULL AND r.aside_id IS NULL) AS back,
              (SELECT count(*) FROM payments.charge c
                WHERE c.intent_id = k.id AND c.book_id = k.book_id AND c.attempt_id = a.id AND a.state = 'surplus') AS accepted) s
 WHERE s.back + s.accepted <> (a.state = 'surplus')::int

-- name: audit_open
-- What is open is asked about, and nothing else; what was paid says when.
SELECT t.book_id, t.kind, t.id,
       CASE WHEN t.open <> t.asked THEN 'what is open is asked about, and nothing else' ELSE 'what is done says when' END AS fault,
       t.state AS expected, CASE WHEN t.asked THEN 'asked about' ELSE 'not asked about' END || CASE WHEN t.said THEN ', done' ELSE ', not done' END AS found
  FROM (SELECT a.book_id, 'at' AS kind, a.id, a.state, a.state = ANY ($3::text[]) AS open, a.ask_at IS NOT NULL AS asked,
               a.state IN ('succeeded', 'surplus') AS done, a.paid_at IS NOT NULL AS said
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
          JOIN payments.attempt a ON a.intent_id = k.id AND a.book_id = k.book_id
         UNION ALL
        SELECT r.book_id, 're', r.id, r.state, r.state = ANY ($4::text[]), r.ask_at IS NOT NULL, r.state = 'succeeded', r.done_at IS NOT NULL
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
          JOIN payments.refund r ON r.intent_id = k.id AND r.book_id = k.book_id) AS t
 WHERE t.open <> t.asked OR t.done <> t.said

-- name: audit_said
-- An object's version is that of the last thing said of it, and how it ended was said, unless that was so long ago that it is gone.
SELECT o.book_id, o.kind, o.id, CASE WHEN o.version <> s.last THEN 'its version is not that of its last event' ELSE 'its end was not said' END AS fault,
       concat_ws(' ', 'version', o.version, o.wanted) AS expected, s.n || ' events, the last of version ' || s.last AS found
  FROM (SELECT i.book_id, 'pi' AS kind, i.id, i.version,
               CASE WHEN i.status IN ('succeeded', 'canceled') THEN 'payment_intent.' || i.status END AS wanted
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
          JOIN payments.intent i ON i.book_id = k.book_id AND i.id = k.id
         UNION ALL
        SELECT c.book_id, 'ch', c.id, c.version, 'charge.succeeded'
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
          JOIN payments.charge c ON c.intent_id = k.id AND c.book_id = k.book_id
         UNION ALL
        SELECT r.book_id, 're', r.id, r.version, CASE WHEN r.charge_id IS NOT NULL THEN CASE r.state WHEN 'succeeded' THEN 'refund.updated' WHEN 'failed' THEN 'refund.failed' END END
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
          JOIN payments.refund r ON r.intent_id = k.id AND r.book_id = k.book_id) AS o
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, coalesce(max(s.object_version), 0) AS last, bool_or(s.type = o.wanted) AS said
         FROM platform.said s
        WHERE s.object_id = o.id AND s.id >= (SELECT platform.said_since(k.id) FROM unnest($2::uuid[]) AS k (id) ORDER BY k.id LIMIT 1)) s -- once for all
 WHERE (o.version <> s.last OR o.wanted IS NOT NULL AND s.said IS NOT TRUE)
   AND NOT (o.id < platform.gone_before('platform.event') AND s.last IN (0, o.version))

-- name: audit_moves
-- Each move is one that its table has, and leads to where its thing stands now.  $4 has them: {"attempt succeeded": ["unknown to pending", …]}.
-- A thing is looked up once for all its moves.  They come in order: a plan that hashes them reckons with all of a book, and writes to disk.
SELECT m.book_id, CASE m.kind WHEN 'intent' THEN 'pi' WHEN 'attempt' THEN 'at' ELSE 're' END AS kind, m.about AS id,
       'it cannot have moved so, and stand where it stands' AS fault, 'moved from ' || array_to_string(m.moves, ', ') || ' by ' || (
           SELECT string_agg(h.door, ', ' ORDER BY h.id) FROM payments.history h WHERE h.book_id = m.book_id AND h.about = m.about AND h.kind = m.kind) AS expected,
       coalesce('it is ' || n.stands, 'it is gone') AS found
  FROM (SELECT h.book_id, h.kind, h.about, array_agg(coalesce(h.was, 'nothing') || ' to ' || h.became ORDER BY h.id) AS moves
          FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
          JOIN payments.history h ON h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto
         GROUP BY h.about, h.kind, h.book_id) AS m
 CROSS JOIN LATERAL (
       SELECT CASE m.kind WHEN 'intent' THEN (SELECT i.status FROM payments.intent i WHERE i.book_id = m.book_id AND i.id = m.about)
                          WHEN 'attempt' THEN (SELECT a.state FROM payments.attempt a WHERE a.book_id = m.book_id AND a.id = m.about)
                          ELSE (SELECT r.state FROM payments.refund r WHERE r.book_id = m.book_id AND r.id = m.about) END AS stands OFFSET 0) AS n
 WHERE ($4::jsonb -> (m.kind || ' ' || n.stands) ?& m.moves) IS NOT TRUE

-- name: story_of_id
-- $1: books.  One probe of a primary key for each book and table.
SELECT 'pi' AS prefix, i.book_id, i.id FROM unnest($1::uuid[]) AS b (book_id) JOIN payments.intent i ON i.book_id = b.book_id AND i.id = $2
 UNION ALL
SELECT 'at', a.book_id, a.id FROM unnest($1::uuid[]) AS b (book_id) JOIN payments.attempt a ON a.book_id = b.book_id AND a.id = $2
 UNION ALL
SELECT 'ch', c.book_id, c.id FROM unnest($1::uuid[]) AS b (book_id) JOIN payments.charge c ON c.book_id = b.book_id AND c.id = $2
 UNION ALL
SELECT 're', r.book_id, r.id FROM unnest($1::uuid[]) AS b (book_id) JOIN payments.refund r ON r.book_id = b.book_id AND r.id = $2

-- name: story_of_reference
-- A channel's number, whichever of its accounts it is of; or the merchant's own.  A number may mean more than one payment.
WITH RECURSIVE account AS (
    (SELECT r.channel_account_id AS id FROM payments.channel_ref r ORDER BY r.channel_account_id LIMIT 1)
     UNION ALL
    SELECT n.id FROM account a CROSS JOIN LATERAL (
           SELECT r.channel_account_id AS id FROM payments.channel_ref r
            WHERE r.channel_account_id > a.id ORDER BY r.channel_account_id LIMIT 1) AS n)
(SELECT CASE WHEN p.id IS NULL THEN 're' ELSE 'at' END AS prefix, r.book_id, r.about AS id
   FROM account a
   JOIN payments.channel_ref r ON r.channel_account_id = a.id AND r.ref IN ($2, 'refund ' || $2)
   LEFT JOIN payments.attempt p ON p.book_id = r.book_id AND p.id = r.about
  WHERE r.book_id = ANY ($1::uuid[])
  LIMIT 50)
 UNION ALL
(SELECT 'pi', i.book_id, i.id FROM payments.intent i
  WHERE i.metadata ->> 'order_id' = $2 AND i.metadata ? 'order_id' AND i.book_id = ANY ($1::uuid[])
  ORDER BY i.id DESC
  LIMIT 50)

-- name: story_payments
-- Payments of which any part is named, whole.
WITH named AS (
    SELECT i.book_id, i.id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.intent i USING (book_id, id)
     UNION
    SELECT a.book_id, a.intent_id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.attempt a USING (book_id, id)
     UNION
    SELECT c.book_id, c.intent_id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.charge c USING (book_id, id)
     UNION
    SELECT r.book_id, r.intent_id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.refund r USING (book_id, id))
SELECT 'pi' AS prefix, i.book_id, i.id, i.root_id FROM named n JOIN payments.intent i USING (book_id, id)
 UNION ALL
SELECT 'at', a.book_id, a.id, a.root_id FROM named n JOIN payments.attempt a ON a.intent_id = n.id AND a.book_id = n.book_id
 UNION ALL
SELECT 'ch', c.book_id, c.id, NULL FROM named n JOIN payments.charge c ON c.intent_id = n.id AND c.book_id = n.book_id
 UNION ALL
SELECT 're', r.book_id, r.id, r.root_id FROM named n JOIN payments.refund r ON r.intent_id = n.id AND r.book_id = n.book_id

-- name: story_moves
SELECT h.* FROM payments.history h
 WHERE h.about = ANY ($2::uuid[]) AND h.book_id = ANY ($1::uuid[]) AND h.id > $3
 ORDER BY h.at, h.id LIMIT $4

-- name: story_attempts
-- The whole row as JSON, less what it keeps of the payer: what was noted of its routing is read from there.
SELECT a.*, (to_jsonb(a) - 'given')::text AS row
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.attempt a USING (book_id, id)
 ORDER BY a.id

-- name: story_refunds
SELECT r.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payments.refund r USING (book_id, id) ORDER BY r.id

-- name: past_payments
-- What was asked of channels in the last $2 days, after $3, with the payment: how it was routed is in each try.
SELECT i.*, a.id AS asked_id, a.channel_account_id AS asked_account, a.channel AS asked_channel, a.way AS asked_way, a.created_at AS asked_at
  FROM payments.attempt a
  JOIN payments.intent i ON i.book_id = a.book_id AND i.id = a.intent_id
 WHERE a.book_id = $1 AND a.id > greatest(platform.id_at(now() - make_interval(days => $2)), $3::uuid)
 ORDER BY a.id LIMIT $4

-- name: tries_of_payment
SELECT a.id, a.channel_account_id, a.channel, a.way, a.state, a.routed, a.problem, a.created_at
  FROM payments.attempt a WHERE a.intent_id = $2 AND a.book_id = $1 ORDER BY a.id

-- name: touched_asides
SELECT t.book_id, t.id, t.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payments.aside t ON t.book_id = w.book_id AND t.id > w.after AND t.id <= w.upto
 UNION
SELECT b.book_id, b.about, b.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
 CROSS JOIN LATERAL (SELECT * FROM ledger.posted b WHERE b.book_id = w.book_id AND b.journal_id > w.after AND b.journal_id <= w.upto OFFSET 0) b
 WHERE b.rule IN ('suspense', 'suspense_applied', 'suspense_written_off')

-- name: audit_asides
-- What lies aside was booked so, once, of its units; what left it did so by the one journal that its state has, of what was left.
SELECT k.book_id, 'as' AS kind, k.id,
       'the journal ' || v.rule || CASE WHEN b.key IS NULL THEN ' is missing' WHEN v.wanted THEN ' is of something else' ELSE ' should not be' END AS fault,
       CASE WHEN v.wanted THEN v.units || ' ' || t.asset ELSE 'none' END || coalesce(', it is ' || t.state, ', it is gone') AS expected,
       coalesce(b.rule || ' ' || b.units || ' ' || b.asset, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  LEFT JOIN payments.aside t ON t.book_id = k.book_id AND t.id = k.id
 CROSS JOIN LATERAL (VALUES ('suspense', t.id IS NOT NULL, t.units), ('suspense_applied', t.state IS NOT DISTINCT FROM 'applied', t.units - t.used),
                            ('suspense_written_off', t.state IS NOT DISTINCT FROM 'written_off', t.units - t.used)) AS v (rule, wanted, units)
  LEFT JOIN ledger.booked b ON b.book_id = k.book_id AND b.key = v.rule || ':' || k.shown AND b.line = 0
 WHERE CASE WHEN b.archived THEN NOT v.wanted WHEN v.wanted THEN (b.rule, b.about, b.units, b.asset) IS DISTINCT FROM (v.rule, k.id, v.units, t.asset) ELSE b.key IS NOT NULL END

-- name: audit_aside_ends
-- What of it went into payments is what they say came for them; what goes back does so by one refund, of what was left.
SELECT t.book_id, 'as' AS kind, t.id, 'it is not what its try or its refund says' AS fault, concat_ws(' ', t.state, t.units, t.used, t.asset) AS expected,
       concat_ws(' ', 'came', a.came, 'goes back', r.n, r.units) AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN payments.aside t ON t.book_id = k.book_id AND t.id = k.id
  LEFT JOIN payments.attempt a ON a.book_id = t.book_id AND a.id = t.attempt_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, coalesce(sum(r.amount), 0) AS units, coalesce(bool_and(r.state = 'succeeded'), false) AS done
         FROM payments.refund r WHERE r.intent_id = t.intent_id AND r.book_id = t.book_id AND r.aside_id = t.id AND r.state <> 'failed') r
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(o.used), 0) AS used FROM payments.aside o WHERE o.attempt_id = t.attempt_id AND o.book_id = t.book_id) o
 WHERE CASE WHEN t.state IN ('returning', 'returned') THEN NOT (r.n = 1 AND r.units = t.units - t.used AND r.done = (t.state = 'returned')) ELSE r.n > 0 END
    OR t.used > 0 AND o.used <> CASE a.state WHEN 'succeeded' THEN least(coalesce(a.capture, a.amount), a.came) WHEN 'surplus' THEN a.came ELSE 0 END
