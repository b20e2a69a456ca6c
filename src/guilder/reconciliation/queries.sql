-- name: take_turn
-- One run at a time per channel account.
SELECT pg_advisory_xact_lock(hashtextextended('reconciliation ' || $1::uuid::text, 0))

-- name: find_statement
SELECT id, version, sha256, matched_at FROM reconciliation.statement
 WHERE channel_account_id = $1 AND day = $2 AND archived_at IS NULL

-- name: archive_statement
UPDATE reconciliation.statement SET archived_at = $3 WHERE book_id = $1 AND id = $2

-- name: forget_matches
DELETE FROM reconciliation.match WHERE book_id = $1 AND statement_id = $2

-- name: supersede_breaks
UPDATE reconciliation.break SET state = 'superseded', resolved_at = $3
 WHERE book_id = ANY ($1) AND statement_id = $2

-- name: reopen_breaks
-- What an archived version had resolved on other days waits again.
UPDATE reconciliation.break
   SET state = CASE reason WHEN 'pending_cutover' THEN 'carried' ELSE 'open' END,
       resolution = NULL, resolved_by = NULL, resolved_at = NULL
 WHERE resolved_by = $1 AND statement_id <> $1 AND state = 'resolved'

-- name: insert_statement
INSERT INTO reconciliation.statement (book_id, id, channel_account_id, channel, day, version, sha256, raw, currency, fee_exponent,
                                      payments, paid, refunds, refunded, fee, root_id, fetched_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)

-- name: insert_lines
INSERT INTO reconciliation.line (book_id, statement_id, number, kind, about, key, payment_key, channel_ref, amount, currency, fee, at,
                                 status)
SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[],
                             $11::bigint[], $12::timestamptz[], $13::text[])

-- name: match_day
-- The whole of matching.  $1 book, $2 statement, $3 channel account, $4 start and $5 end of the day, $6 the day, $7 cut-over window,
-- $8 is the day before reconciled, $9 the day after, $10 currency of the file, $11 root id.
--
-- `channel`: the lines of payments and refunds, for others are kept and compared with nothing; `turn` counts those of one key.  `ours`: what took part on our side, that is what moved that day, what waited
-- from earlier days and what the lines name, unless another day's statement has it already.  A refund may be listed on any day from its
-- request to its end; a payment on the day it was paid.  They meet on kind and id, the first line of a key only; never on amounts.
WITH channel AS MATERIALIZED (
    SELECT l.*, row_number() OVER (PARTITION BY l.kind, l.key ORDER BY l.number) AS turn, m.about IS NOT NULL AS taken
      FROM reconciliation.line l
      LEFT JOIN reconciliation.match m ON m.book_id = l.book_id AND m.about = l.about
     WHERE l.book_id = $1 AND l.statement_id = $2 AND l.kind IN ('payment', 'refund')
), wanted AS (
    SELECT c.about AS id FROM channel c WHERE c.about IS NOT NULL
    UNION
    SELECT p.id FROM payments.payment_line p
     WHERE p.book_id = $1 AND p.channel_account_id = $3 AND p.paid_at >= $4 AND p.paid_at < $5
       AND p.state IN ('succeeded', 'surplus')
    UNION
    SELECT r.id FROM payments.refund_line r
     WHERE r.book_id = $1 AND r.channel_account_id = $3 AND r.done_at >= $4 AND r.created_at < $5 AND r.state = 'succeeded'
    UNION
    SELECT b.about FROM reconciliation.break b
     WHERE b.channel_account_id = $3 AND b.book_id = $1 AND b.state = 'carried' AND b.day < $6
), ours AS MATERIALIZED (
    SELECT 'payment' AS kind, p.id, 1::bigint AS turn, p.amount, p.currency, p.state, p.state IN ('succeeded', 'surplus') AS moved,
           p.channel_ref, p.paid_at AS since, p.paid_at AS until, p.root_id
      FROM wanted w JOIN payments.payment_line p ON p.book_id = $1 AND p.id = w.id AND p.channel_account_id = $3
     WHERE NOT EXISTS (SELECT FROM reconciliation.match m WHERE m.book_id = $1 AND m.about = p.id)
    UNION ALL
    SELECT 'refund', r.id, 1, r.amount, r.currency, r.state, r.state <> 'failed',
           r.channel_ref, r.created_at, coalesce(r.done_at, r.created_at), r.root_id
      FROM wanted w JOIN payments.refund_line r ON r.book_id = $1 AND r.id = w.id AND r.channel_account_id = $3
     WHERE NOT EXISTS (SELECT FROM reconciliation.match m WHERE m.book_id = $1 AND m.about = r.id)
), judged AS MATERIALIZED (
    SELECT coalesce(c.kind, o.kind) AS kind, coalesce(o.id, c.about) AS about, o.id AS ours, c.number, c.key,
           coalesce(c.channel_ref, o.channel_ref) AS channel_ref, c.amount AS channel_amount, c.currency AS channel_currency,
           CASE WHEN o.moved THEN o.amount END AS our_amount, CASE WHEN o.moved THEN o.currency END AS our_currency,
           o.state AS our_state, coalesce(c.at, o.until) AS at, o.root_id,
           CASE WHEN o.id IS NULL AND (c.turn > 1 OR c.taken)                            THEN 'duplicate_channel'
                WHEN o.id IS NULL                                                        THEN 'missing_local'
                WHEN c.number IS NULL AND (o.until >= $5::timestamptz - $7::interval AND NOT $9
                                           OR o.since < $4::timestamptz + $7::interval AND NOT $8) THEN 'pending_cutover'
                WHEN c.number IS NULL                                                    THEN 'missing_channel'
                WHEN c.currency <> o.currency                                            THEN 'currency'
                WHEN NOT o.moved                                                         THEN 'status'
                WHEN c.amount <> o.amount                                                THEN 'amount'
           END AS reason
      FROM channel c FULL JOIN ours o ON o.kind = c.kind AND o.id = c.about AND o.turn = c.turn
), matched AS (
    INSERT INTO reconciliation.match (book_id, about, statement_id, number, kind, amount)
    SELECT $1, j.ours, $2, j.number, j.kind, j.channel_amount FROM judged j WHERE j.reason IS NULL
), broken AS (
    INSERT INTO reconciliation.break (book_id, statement_id, number, channel_account_id, day, kind, reason, about, key, line, channel_ref,
                                      channel_amount, channel_currency, our_amount, our_currency, our_state, at, state, root_id)
    SELECT CASE WHEN j.reason = 'missing_local' OR j.about IS NULL THEN $3 ELSE $1 END, $2,
           row_number() OVER (ORDER BY j.number, j.about), $3, $6, j.kind, j.reason, j.about, j.key, j.number, j.channel_ref,
           j.channel_amount, j.channel_currency, j.our_amount, j.our_currency, j.our_state, j.at,
           CASE j.reason WHEN 'pending_cutover' THEN 'carried' ELSE 'open' END, coalesce(j.root_id, $11)
      FROM judged j WHERE j.reason IS NOT NULL
)
SELECT count(*) FILTER (WHERE kind = 'payment') AS payments,
       coalesce(sum(amount) FILTER (WHERE kind = 'payment' AND currency = $10), 0)::bigint AS paid,
       count(*) FILTER (WHERE kind = 'refund') AS refunds,
       coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND currency = $10), 0)::bigint AS refunded
  FROM ours WHERE moved

-- name: settle_earlier
-- What waited from other days and has now been judged: matched, or a break of this statement.
UPDATE reconciliation.break b
   SET state = 'resolved', resolution = j.how, resolved_by = $3, resolved_at = $4
  FROM (SELECT m.about, 'matched on ' || $5::date AS how FROM reconciliation.match m WHERE m.book_id = $1 AND m.statement_id = $3
        UNION ALL
        SELECT n.about, n.reason || ' on ' || $5::date FROM reconciliation.break n
         WHERE n.book_id = $1 AND n.statement_id = $3 AND n.about IS NOT NULL AND n.reason <> 'duplicate_channel') j
 WHERE b.channel_account_id = $2 AND b.about = j.about AND b.statement_id <> $3 AND b.state IN ('open', 'carried')
   AND b.reason IN ('pending_cutover', 'missing_channel')

-- name: keep_decided
-- What a person had decided of a line in an archived version of this day stays decided.
UPDATE reconciliation.break b
   SET state = 'resolved', resolution = o.resolution, case_id = o.case_id, decided_by = o.decided_by, resolved_at = $3
  FROM reconciliation.break n
  JOIN reconciliation.break o ON o.book_id = n.book_id AND o.channel_account_id = n.channel_account_id AND o.day = n.day AND o.statement_id <> n.statement_id
                             AND o.channel_ref = n.channel_ref AND (o.channel_amount, o.channel_currency) = (n.channel_amount, n.channel_currency)
 WHERE n.book_id = $1 AND n.statement_id = $2 AND n.reason = 'missing_local' AND n.state = 'open'
   AND o.reason = 'missing_local' AND o.state = 'superseded' AND o.case_id IS NOT NULL
   AND b.book_id = n.book_id AND b.statement_id = n.statement_id AND b.number = n.number

-- name: decide_missing_local
UPDATE reconciliation.break
   SET state = 'resolved', resolution = $7, case_id = $5, decided_by = $6, resolved_at = $8
 WHERE channel_account_id = $1 AND channel_ref = $2 AND channel_amount = $3 AND channel_currency = $4
   AND reason = 'missing_local' AND kind = 'payment' AND state = 'open'

-- name: decide_missing_channel
UPDATE reconciliation.break
   SET state = 'resolved', resolution = $6, case_id = $4, decided_by = $5, resolved_at = $7
 WHERE channel_account_id = $1 AND book_id = $2 AND about = $3 AND reason = 'missing_channel' AND state = 'open'

-- name: finish_statement
UPDATE reconciliation.statement
   SET our_payments = $3, our_paid = $4, our_refunds = $5, our_refunded = $6, matched_at = $7
 WHERE book_id = $1 AND id = $2

-- name: is_reconciled
SELECT EXISTS (SELECT FROM reconciliation.statement
                WHERE channel_account_id = $1 AND day = $2 AND archived_at IS NULL AND matched_at IS NOT NULL)

-- name: list_reconciled_days
SELECT day FROM reconciliation.statement
 WHERE channel_account_id = $1 AND day >= $2 AND archived_at IS NULL AND matched_at IS NOT NULL

-- name: list_news
-- Payments that the channel lists and that we do not hold as paid, with their lines.  What the same file gives back whole (a cancel at the
-- till) is no payment: it is left to a person.
SELECT b.number, b.about, b.root_id, l.key, l.channel_ref, l.amount, l.currency, l.at
  FROM reconciliation.break b
  JOIN reconciliation.line l ON l.book_id = b.book_id AND l.statement_id = b.statement_id AND l.number = b.line
 WHERE b.book_id = $1 AND b.statement_id = $2 AND b.reason = 'status' AND b.kind = 'payment' AND b.state = 'open' AND b.number > $3
   AND NOT EXISTS (SELECT FROM reconciliation.line g
                    WHERE g.book_id = l.book_id AND g.statement_id = l.statement_id AND g.kind = 'refund' AND g.payment_key = l.key
                      AND g.amount = l.amount)
 ORDER BY b.number LIMIT $4

-- name: resolve_told
WITH told AS (
    UPDATE reconciliation.break b
       SET state = 'resolved', resolution = n.became, resolved_by = $2, resolved_at = $5
      FROM unnest($3::int[], $4::text[]) AS n (number, became)
     WHERE b.book_id = $1 AND b.statement_id = $2 AND b.number = n.number AND b.state = 'open'
    RETURNING b.about, b.line, b.kind, b.channel_amount
)
INSERT INTO reconciliation.match (book_id, about, statement_id, number, kind, amount, told)
SELECT $1, about, $2, line, kind, channel_amount, true FROM told
    ON CONFLICT DO NOTHING

-- name: list_unknown_attempts
-- Nobody has told us what became of them; their time is over, and no statement that counts lists them.
SELECT p.id, p.way, p.created_at, p.expires_at, p.root_id, p.memo
  FROM payments.payment_line p
 WHERE p.book_id = $1 AND p.channel_account_id = $2 AND p.state = 'unknown' AND p.ask_at IS NOT NULL AND p.expires_at < $3
   AND NOT EXISTS (SELECT FROM reconciliation.line l
                     JOIN reconciliation.statement s ON s.book_id = l.book_id AND s.id = l.statement_id
                    WHERE l.book_id = $1 AND l.about = p.id AND s.archived_at IS NULL)
 ORDER BY p.id

-- name: get_statement
SELECT s.id, s.day, s.version, s.currency, s.fee_exponent, s.payments, s.paid, s.refunds, s.refunded, s.fee, s.our_payments, s.our_paid,
       s.our_refunds, s.our_refunded
  FROM reconciliation.statement s WHERE s.book_id = $1 AND s.id = $2

-- name: sum_matches
SELECT kind, count(*) AS rows, coalesce(sum(amount), 0)::bigint AS units
  FROM reconciliation.match WHERE book_id = $1 AND statement_id = $2 AND NOT told GROUP BY kind

-- name: sum_breaks
SELECT reason, kind, count(*) FILTER (WHERE state = 'open') AS open,
       count(channel_amount) AS channel_rows, coalesce(sum(channel_amount), 0)::bigint AS channel_units,
       count(our_amount) AS our_rows, coalesce(sum(our_amount) FILTER (WHERE our_currency = $3), 0)::bigint AS our_units
  FROM reconciliation.break WHERE book_id = ANY ($1) AND statement_id = $2 GROUP BY reason, kind

-- name: list_breaks
SELECT number, kind, reason, about, key, channel_ref, channel_amount, channel_currency, our_amount, our_currency, our_state, difference,
       at, state, resolution, owner
  FROM reconciliation.break WHERE book_id = ANY ($1) AND statement_id = $2 ORDER BY number LIMIT $3

-- name: story_of_line
SELECT l.key FROM unnest($1::uuid[]) AS b (book_id) JOIN reconciliation.line l ON l.book_id = b.book_id AND l.statement_id = $2 AND l.number = $3

-- name: story_lines
SELECT l.about, l.statement_id, l.number, l.kind, l.key, l.channel_ref, l.amount, l.currency, l.fee, l.at, l.status, s.channel, s.day,
       s.fee_exponent, s.fetched_at, s.archived_at IS NOT NULL AS archived, m.about IS NOT NULL AS matched
  FROM reconciliation.line l
  JOIN reconciliation.statement s ON s.book_id = l.book_id AND s.id = l.statement_id
  LEFT JOIN reconciliation.match m ON m.book_id = l.book_id AND m.about = l.about AND m.statement_id = l.statement_id AND m.number = l.number
 WHERE l.about = ANY ($2::uuid[]) AND l.book_id = ANY ($1::uuid[])
 ORDER BY s.fetched_at, l.number
 LIMIT $3

-- name: story_breaks
SELECT b.* FROM reconciliation.break b
 WHERE b.about = ANY ($2::uuid[]) AND b.book_id = ANY ($1::uuid[])
 ORDER BY b.created_at
 LIMIT $3
