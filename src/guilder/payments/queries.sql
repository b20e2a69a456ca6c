-- name: lock_intents
-- In key order, so that batches which share payments queue and never deadlock.
SELECT i.*
  FROM payments.intent i
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
 ORDER BY i.book_id, i.id
   FOR NO KEY UPDATE OF i

-- name: intents_of_attempts
SELECT t.book_id, t.id, t.intent_id
  FROM payments.attempt t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)

-- name: intents_of_refunds
SELECT t.book_id, t.id, t.intent_id
  FROM payments.refund t
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
INSERT INTO payments.intent (book_id, id, version, status, amount, currency, customer_id, method_id, method_type, types,
                             attempt_id, charge_id, description, metadata, extra, next_action, last_error, cancel_reason,
                             cancel_wanted_at, canceled_at, expires_at, late_success, root_id, business_line, created_at)
SELECT book_id, id, version, status, amount, currency, customer_id, method_id, method_type, string_to_array(types, E'\n'),
       attempt_id, charge_id, description, metadata, extra, next_action, last_error, cancel_reason, cancel_wanted_at,
       canceled_at, expires_at, late_success, root_id, business_line, created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::uuid[], $9::text[],
              $10::text[], $11::uuid[], $12::uuid[], $13::text[], $14::jsonb[], $15::text[], $16::text[], $17::text[],
              $18::text[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[], $22::text[], $23::uuid[], $24::text[],
              $25::timestamptz[])
       AS n (book_id, id, version, status, amount, currency, customer_id, method_id, method_type, types, attempt_id,
             charge_id, description, metadata, extra, next_action, last_error, cancel_reason, cancel_wanted_at, canceled_at,
             expires_at, late_success, root_id, business_line, created_at)

-- name: insert_attempts
INSERT INTO payments.attempt (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, channel_ref,
                              return_url, attach, next_action, problem, ask_at, asked, close_wanted, expires_at, paid_at,
                              root_id, business_line, created_at)
SELECT book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, channel_ref, return_url, attach,
       next_action, problem, ask_at, asked, close_wanted, expires_at, paid_at, root_id, business_line, created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[],
              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::int[],
              $17::boolean[], $18::timestamptz[], $19::timestamptz[], $20::uuid[], $21::text[], $22::timestamptz[])
       AS n (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, channel_ref, return_url,
             attach, next_action, problem, ask_at, asked, close_wanted, expires_at, paid_at, root_id, business_line,
             created_at)

-- name: insert_charges
-- A second charge of one intent is a unique violation: the batch runs again and finds the first.
INSERT INTO payments.charge (book_id, id, intent_id, attempt_id, channel_account_id, method_type, version, amount, refunded,
                             currency, channel_ref, paid_at, created_at)
SELECT book_id, id, intent_id, attempt_id, channel_account_id, method_type, version, amount, refunded, currency, channel_ref,
       paid_at, created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::int[], $8::bigint[], $9::bigint[],
              $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[])
       AS n (book_id, id, intent_id, attempt_id, channel_account_id, method_type, version, amount, refunded, currency,
             channel_ref, paid_at, created_at)

-- name: insert_refunds
INSERT INTO payments.refund (book_id, id, intent_id, attempt_id, charge_id, channel_account_id, version, state, amount,
                             currency, reason, metadata, channel_ref, problem, ask_at, asked, done_at, root_id,
                             business_line, created_at)
SELECT book_id, id, intent_id, attempt_id, charge_id, channel_account_id, version, state, amount, currency, reason, metadata,
       channel_ref, problem, ask_at, asked, done_at, root_id, business_line, created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::int[], $8::text[], $9::bigint[],
              $10::text[], $11::text[], $12::jsonb[], $13::text[], $14::text[], $15::timestamptz[], $16::int[],
              $17::timestamptz[], $18::uuid[], $19::text[], $20::timestamptz[])
       AS n (book_id, id, intent_id, attempt_id, charge_id, channel_account_id, version, state, amount, currency, reason,
             metadata, channel_ref, problem, ask_at, asked, done_at, root_id, business_line, created_at)

-- name: update_intents
UPDATE payments.intent t
   SET version = n.version, status = n.status, amount = n.amount, currency = n.currency, customer_id = n.customer_id,
       method_id = n.method_id, method_type = n.method_type, types = string_to_array(n.types, E'\n'),
       attempt_id = n.attempt_id, charge_id = n.charge_id, description = n.description, metadata = n.metadata,
       extra = n.extra, next_action = n.next_action, last_error = n.last_error, cancel_reason = n.cancel_reason,
       cancel_wanted_at = n.cancel_wanted_at, canceled_at = n.canceled_at, expires_at = n.expires_at
  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::uuid[], $9::text[],
              $10::text[], $11::uuid[], $12::uuid[], $13::text[], $14::jsonb[], $15::text[], $16::text[], $17::text[],
              $18::text[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[])
       AS n (book_id, id, version, status, amount, currency, customer_id, method_id, method_type, types, attempt_id,
             charge_id, description, metadata, extra, next_action, last_error, cancel_reason, cancel_wanted_at, canceled_at,
             expires_at)
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_attempts
UPDATE payments.attempt t
   SET state = n.state, channel_ref = n.channel_ref, next_action = n.next_action, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, close_wanted = n.close_wanted, paid_at = n.paid_at
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::int[],
              $9::boolean[], $10::timestamptz[])
       AS n (book_id, id, state, channel_ref, next_action, problem, ask_at, asked, close_wanted, paid_at)
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_charges
UPDATE payments.charge t
   SET version = n.version, refunded = n.refunded
  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::bigint[])
       AS n (book_id, id, version, refunded)
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_refunds
-- Metadata is the merchant's: it is changed by its own call alone.
UPDATE payments.refund t
   SET version = n.version, state = n.state, channel_ref = n.channel_ref, problem = n.problem, ask_at = n.ask_at,
       asked = n.asked, done_at = n.done_at
  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::int[],
              $9::timestamptz[])
       AS n (book_id, id, version, state, channel_ref, problem, ask_at, asked, done_at)
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: insert_channel_refs
INSERT INTO payments.channel_ref (channel_account_id, ref, book_id, about)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[])
    ON CONFLICT DO NOTHING

-- name: insert_history
INSERT INTO payments.history (book_id, id, about, kind, was, became, door, root_id, at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::timestamptz[])

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
INSERT INTO payments.method (book_id, id, type, dial, customer_id, billing, metadata, version, created_at)
SELECT book_id, id, type, dial, customer_id, billing, metadata, version, created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::jsonb[], $8::int[], $9::timestamptz[])
       AS n (book_id, id, type, dial, customer_id, billing, metadata, version, created_at)

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
