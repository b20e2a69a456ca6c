-- name: lock_disputes
-- In key order, so that batches which share disputes queue and never deadlock.
SELECT d.*
  FROM disputes.dispute d
 WHERE (d.channel_account_id, d.ref) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
 ORDER BY d.book_id, d.id
   FOR NO KEY UPDATE OF d

-- name: lock_dispute
SELECT * FROM disputes.dispute WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: insert_disputes
INSERT INTO disputes.dispute SELECT * FROM unnest($1::disputes.dispute[])

-- name: update_disputes
UPDATE disputes.dispute t
   SET version = n.version, state = n.state, amount = n.amount, reason = n.reason, taken = n.taken, moves = n.moves, fee = n.fee, due_at = n.due_at,
       evidence = n.evidence, submitted_at = n.submitted_at, metadata = n.metadata
  FROM unnest($1::disputes.dispute[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: insert_history
INSERT INTO disputes.history SELECT * FROM unnest($1::disputes.history[])

-- name: taken_of_charges
SELECT d.charge_id, d.id
  FROM disputes.dispute d
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) ON k.book_id = d.book_id AND k.id = d.charge_id
 WHERE d.taken

-- name: find_dispute
SELECT * FROM disputes.dispute WHERE book_id = $1 AND id = $2

-- name: list_disputes
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM disputes.dispute
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR charge_id = $7) AND ($8::uuid IS NULL OR intent_id = $8)
 ORDER BY id DESC
 LIMIT $6

-- name: touched_disputes
SELECT d.book_id, d.id, d.id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN disputes.dispute d ON d.book_id = w.book_id AND d.id > w.after AND d.id <= w.upto
 UNION
SELECT h.book_id, h.about, h.about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN disputes.history h ON h.book_id = w.book_id AND h.id > w.after AND h.id <= w.upto

-- name: audit_disputes
-- What the channel has of a dispute is what its journals say: each move out, less each move back.
SELECT d.book_id, 'dp' AS kind, d.id, 'what the channel has is not what is booked' AS fault,
       (CASE WHEN d.taken THEN d.amount ELSE 0 END) || ' ' || d.currency || ' in ' || d.moves || ' moves' AS expected,
       coalesce(b.units, 0) || ' in ' || b.n AS found
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, id, shown)
  JOIN disputes.dispute d ON d.book_id = k.book_id AND d.id = k.id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n, sum(CASE b.rule WHEN 'dispute_taken' THEN b.units ELSE -b.units END) AS units, coalesce(bool_or(b.archived), false) AS archived
         FROM generate_series(1, d.moves) AS m
         JOIN ledger.booked b ON b.book_id = d.book_id AND b.key = 'dispute:' || k.shown || ':' || m AND b.line = 0) AS b
 WHERE NOT b.archived AND (b.n, coalesce(b.units, 0)) IS DISTINCT FROM (d.moves::bigint, (CASE WHEN d.taken THEN d.amount ELSE 0 END)::numeric)

-- name: find_collected
-- $3: our attempt, if the channel names it; $4: the channel's numbers of the payment.
SELECT c.* FROM payments.charge_line c
 WHERE c.book_id = $1
   AND c.attempt_id = coalesce($3::uuid, (SELECT r.about FROM payments.known_ref r WHERE r.channel_account_id = $2 AND r.ref = ANY ($4::text[]) AND r.book_id = $1 LIMIT 1))
   AND c.channel_account_id = $2

-- name: keep_stray
-- The same dispute is one row; what is said anew goes to the end.
INSERT INTO disputes.stray AS s (book_id, channel_account_id, ref, payment_key, payment_refs, said, root_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (book_id, channel_account_id, ref) DO UPDATE
   SET said = CASE WHEN s.said @> EXCLUDED.said THEN s.said ELSE s.said || EXCLUDED.said END,
       payment_key = coalesce(s.payment_key, EXCLUDED.payment_key),
       payment_refs = ARRAY(SELECT DISTINCT r FROM unnest(s.payment_refs || EXCLUDED.payment_refs) AS r ORDER BY r),
       try_at = now()

-- name: claim_strays
-- try_at is lease and schedule in one: each look is twice as far from the last, and after $4 days there is none.
UPDATE disputes.stray s
   SET try_at = CASE WHEN s.created_at > now() - make_interval(days => $4) THEN now() + make_interval(secs => least($2 * 2 ^ least(s.tries, 20), $3)) END,
       tries = s.tries + 1
  FROM (SELECT book_id, channel_account_id, ref FROM disputes.stray
         WHERE try_at <= now() ORDER BY try_at LIMIT $1
           FOR UPDATE SKIP LOCKED) k
 WHERE s.book_id = k.book_id AND s.channel_account_id = k.channel_account_id AND s.ref = k.ref
RETURNING s.*

-- name: show_stray
UPDATE disputes.stray SET shown = $4 WHERE book_id = $1 AND channel_account_id = $2 AND ref = $3

-- name: end_strays
-- Only with all that was said: what came since is looked for again.
DELETE FROM disputes.stray s
 USING unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[]) AS n (book_id, channel_account_id, ref, said)
 WHERE s.book_id = n.book_id AND s.channel_account_id = n.channel_account_id AND s.ref = n.ref AND jsonb_array_length(s.said) = n.said

-- name: story_of_dispute
SELECT d.book_id, d.id FROM unnest($1::uuid[]) AS b (book_id) JOIN disputes.dispute d ON d.book_id = b.book_id AND d.id = $2

-- name: story_disputes
-- Disputes that are named ($1, $2), and those of charges ($3, $4).
SELECT d.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN disputes.dispute d USING (book_id, id)
 UNION
SELECT d.* FROM unnest($3::uuid[], $4::uuid[]) AS k (book_id, charge_id) JOIN disputes.dispute d USING (book_id, charge_id)

-- name: story_moves
SELECT h.* FROM disputes.history h WHERE h.about = ANY ($2::uuid[]) AND h.book_id = ANY ($1::uuid[]) ORDER BY h.at, h.id LIMIT $3
