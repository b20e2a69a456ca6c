-- name: insert_sessions
INSERT INTO cashier.session (book_id, id, intent_id, amount, currency, customer_id, customer_email, client_reference_id, metadata,
                             success_url, cancel_url, locale, submit_type, types, lines, extra, expires_at, root_id,
                             business_line, created_at)
SELECT book_id, id, intent_id, amount, currency, customer_id, customer_email, client_reference_id, metadata, success_url,
       cancel_url, locale, submit_type, string_to_array(types, E'\n'), lines, extra, expires_at, root_id, business_line,
       created_at
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::jsonb[],
              $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::timestamptz[],
              $18::uuid[], $19::text[], $20::timestamptz[])
       AS n (book_id, id, intent_id, amount, currency, customer_id, customer_email, client_reference_id, metadata,
             success_url, cancel_url, locale, submit_type, types, lines, extra, expires_at, root_id, business_line, created_at)

-- name: find_sessions
SELECT * FROM cashier.shown WHERE book_id = $1 AND id = ANY ($2)

-- name: list_sessions
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM cashier.shown
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR customer_id = $7) AND ($8::uuid IS NULL OR intent_id = $8)
   AND ($9::text IS NULL OR status = $9) AND ($10::text IS NULL OR customer_email = $10)
 ORDER BY id DESC
 LIMIT $6

-- name: lock_sessions_of_intents
-- In key order.  `status` is what was said of it so far, not what its payment is by now.
SELECT s.*
  FROM cashier.session s
  JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id)) AS k USING (book_id, intent_id)
 ORDER BY s.book_id, s.id
   FOR NO KEY UPDATE OF s

-- name: update_sessions
UPDATE cashier.session s
   SET status = n.status, version = n.version
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[]) AS n (book_id, id, status, version)
 WHERE s.book_id = n.book_id AND s.id = n.id

-- name: find_sessions_of_payments
SELECT s.book_id, s.id, s.intent_id, s.customer_email, s.created_at
  FROM cashier.session s
 WHERE s.book_id = $1 AND s.intent_id = ANY ($2) AND s.customer_email IS NOT NULL
   FOR NO KEY UPDATE

-- name: blank_sessions
UPDATE cashier.session SET customer_email = NULL WHERE book_id = $1 AND id = ANY ($2)

-- name: intent_of_session
SELECT intent_id FROM cashier.session WHERE book_id = $1 AND id = $2

-- name: find_till
-- What one page shows: the payment, its latest try, and the session it belongs to, if any.
SELECT i.*, a.channel, a.state AS attempt_state, a.expires_at AS attempt_expires_at, a.way, a.unasked,
       s.id AS session_id, s.success_url, s.cancel_url, s.locale, s.submit_type, s.lines, s.extra AS session_extra
  FROM payments.intent_line i
  LEFT JOIN payments.payment_line a ON a.book_id = i.book_id AND a.id = i.attempt_id
  LEFT JOIN cashier.session s ON s.book_id = i.book_id AND s.intent_id = i.id
 WHERE i.book_id = $1 AND i.id = $2

-- name: look_at_tills
-- Everything that an open page depends on, for all open pages at once.
SELECT i.book_id, i.id, i.status, i.attempt_id, i.next_action, i.last_error, i.cancel_wanted_at, a.state AS attempt_state
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN payments.intent_line i USING (book_id, id)
  LEFT JOIN payments.payment_line a ON a.book_id = i.book_id AND a.id = i.attempt_id

-- name: story_of_session
(SELECT s.book_id, s.intent_id FROM unnest($1::uuid[]) AS b (book_id) JOIN cashier.session s ON s.book_id = b.book_id AND s.id = $2)
 UNION ALL
(SELECT s.book_id, s.intent_id FROM cashier.session s
  WHERE s.client_reference_id = $3 AND s.book_id = ANY ($1::uuid[]) ORDER BY s.id DESC LIMIT 50)

-- name: story_sessions
SELECT s.book_id, s.id, s.intent_id, s.amount, s.currency, s.client_reference_id, s.expires_at, s.root_id, s.created_at, s.status
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id) JOIN cashier.shown s USING (book_id, intent_id)

-- name: status_of_payment
SELECT status FROM payments.intent_line WHERE book_id = $1 AND id = $2
