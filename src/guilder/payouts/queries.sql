-- name: lock_payouts
-- In key order, so that batches which share payouts queue and never deadlock.
SELECT p.*
  FROM payouts.payout p
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
 ORDER BY p.book_id, p.id
   FOR NO KEY UPDATE OF p

-- name: insert_payouts
INSERT INTO payouts.payout SELECT * FROM unnest($1::payouts.payout[])

-- name: update_payouts
-- Metadata is the merchant's: it is changed by its own call alone.
UPDATE payouts.payout t
   SET version = n.version, state = n.state, channel_ref = n.channel_ref, memo = n.memo, next_action = n.next_action, problem = n.problem,
       ask_at = n.ask_at, asked = n.asked, done_at = n.done_at
  FROM unnest($1::payouts.payout[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: insert_history
INSERT INTO payouts.history SELECT * FROM unnest($1::payouts.history[])

-- name: claim_payouts_to_ask
-- ask_at is the lease: whoever dies while asking is followed after it.
UPDATE payouts.payout p
   SET ask_at = now() + make_interval(secs => $2), asked = p.asked + 1
  FROM (SELECT book_id, id FROM payouts.payout
         WHERE ask_at <= now() AND channel_account_id <> ALL ($3::uuid[]) ORDER BY ask_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE p.book_id = k.book_id AND p.id = k.id
RETURNING p.*

-- name: find_payout
SELECT * FROM payouts.payout WHERE book_id = $1 AND id = $2

-- name: set_metadata
UPDATE payouts.payout SET metadata = $3 WHERE book_id = $1 AND id = $2

-- name: list_payouts
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM payouts.payout
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text[] IS NULL OR state = ANY ($7))
 ORDER BY id DESC
 LIMIT $6

-- name: touched_payouts
SELECT p.book_id, p.id, p.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payouts.payout p ON p.book_id = w.book_id AND p.id > w.after AND p.id <= w.upto
 UNION
SELECT h.book_id, h.about, h.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN payouts.history h ON h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto

-- name: audit_payouts
-- What was asked for is held; it is taken if it was paid, given back if it was not, and booked back if it returned.
SELECT p.book_id, 'po' AS kind, p.id,
       'the journal ' || v.rule || CASE WHEN b.key IS NULL THEN ' is missing' WHEN v.wanted THEN ' is of something else' ELSE ' should not be' END AS fault,
       CASE WHEN v.wanted THEN p.amount || ' ' || p.currency ELSE 'none' END || ', it is ' || p.state AS expected,
       coalesce(b.rule || ' ' || b.units || ' ' || b.asset, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN payouts.payout p ON p.book_id = k.book_id AND p.id = k.id
 CROSS JOIN LATERAL (VALUES ('payout_held', true), ('payout', p.state IN ('paid', 'returned')), ('payout_failed', p.state = 'failed'),
                            ('payout_returned', p.state = 'returned')) AS v (rule, wanted)
  LEFT JOIN ledger.booked b ON b.book_id = k.book_id AND b.key = v.rule || ':' || k.shown
 WHERE CASE WHEN b.archived THEN NOT v.wanted WHEN v.wanted THEN (b.rule, b.about, b.units, b.asset) IS DISTINCT FROM (v.rule, p.id, p.amount, p.currency) ELSE b.key IS NOT NULL END

-- name: find_payout_of_accounts
-- Whether one of these accounts ($1) of these books ($2) was asked for it.
SELECT EXISTS (SELECT FROM payouts.payout WHERE book_id = ANY ($2::uuid[]) AND id = $3 AND channel_account_id = ANY ($1::uuid[]))

-- name: story_of_payout
SELECT p.book_id, p.id FROM unnest($1::uuid[]) AS b (book_id) JOIN payouts.payout p ON p.book_id = b.book_id AND p.id = $2
 UNION ALL
SELECT p.book_id, p.id FROM payouts.payout p WHERE p.channel_ref = $3 AND p.book_id = ANY ($1::uuid[])

-- name: story_payouts
SELECT p.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN payouts.payout p USING (book_id, id) ORDER BY p.id

-- name: story_moves
SELECT h.* FROM payouts.history h WHERE h.about = ANY ($2::uuid[]) AND h.book_id = ANY ($1::uuid[]) ORDER BY h.at, h.id LIMIT $3
