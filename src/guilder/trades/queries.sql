-- name: lock_trades
-- In key order, so that batches which share trades queue and never deadlock.
SELECT t.* FROM trades.trade t
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
 ORDER BY t.book_id, t.id
   FOR NO KEY UPDATE OF t

-- name: find_trades
SELECT t.* FROM trades.trade t WHERE t.book_id = $1 AND t.id = ANY ($2::uuid[])

-- name: list_trades
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM trades.trade
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text IS NULL OR merchant_ref = $7) AND ($8::uuid IS NULL OR parent_id = $8) AND ($9::text IS NULL OR status = $9)
   AND ($10::uuid[] IS NULL OR id = ANY ($10))
 ORDER BY id DESC
 LIMIT $6

-- name: items_of_trades
SELECT t.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, trade_id) JOIN trades.item t USING (book_id, trade_id) ORDER BY t.trade_id, t.n

-- name: parts_of_trades
SELECT t.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, trade_id) JOIN trades.part t USING (book_id, trade_id) ORDER BY t.intent_id

-- name: give_backs_of_trades
SELECT t.* FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, trade_id) JOIN trades.give_back t USING (book_id, trade_id) ORDER BY t.refund_id, t.item_id

-- name: children_of_trades
SELECT t.book_id, t.parent_id, t.id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, parent_id) JOIN trades.trade t USING (book_id, parent_id) ORDER BY t.id

-- name: taken_refs
-- Which of these numbers name a trade already.
SELECT t.book_id, t.merchant_ref, t.id FROM unnest($1::uuid[], $2::text[]) AS k (book_id, merchant_ref) JOIN trades.trade t USING (book_id, merchant_ref)

-- name: find_parents
SELECT t.book_id, t.id, t.parent_id, t.currency, t.status FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN trades.trade t USING (book_id, id)

-- name: trades_of_intents
SELECT p.book_id, p.intent_id, p.trade_id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, intent_id) JOIN trades.part p USING (book_id, intent_id)

-- name: trades_of_refunds
SELECT DISTINCT b.book_id, b.refund_id, b.trade_id FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, refund_id) JOIN trades.give_back b USING (book_id, refund_id)

-- name: insert_trades
INSERT INTO trades.trade SELECT * FROM unnest($1::trades.trade[])

-- name: insert_items
INSERT INTO trades.item SELECT * FROM unnest($1::trades.item[])

-- name: insert_parts
INSERT INTO trades.part SELECT * FROM unnest($1::trades.part[])

-- name: insert_give_backs
INSERT INTO trades.give_back SELECT * FROM unnest($1::trades.give_back[])

-- name: insert_moves
INSERT INTO trades.move SELECT * FROM unnest($1::trades.move[])

-- name: update_trades
UPDATE trades.trade t
   SET version = n.version, status = n.status, reserved = n.reserved, paid = n.paid, refunded = n.refunded, returned = n.returned,
       released_at = n.released_at, metadata = n.metadata, description = n.description, canceled_at = n.canceled_at
  FROM unnest($1::trades.trade[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_items
UPDATE trades.item t
   SET paid = n.paid, held = n.held, released = n.released, refunded = n.refunded, returned = n.returned
  FROM unnest($1::trades.item[]) AS n
 WHERE t.book_id = n.book_id AND t.id = n.id

-- name: update_parts
UPDATE trades.part t SET state = n.state, received = n.received, excess = n.excess
  FROM unnest($1::trades.part[]) AS n
 WHERE t.book_id = n.book_id AND t.intent_id = n.intent_id

-- name: update_give_backs
UPDATE trades.give_back t SET state = n.state
  FROM unnest($1::trades.give_back[]) AS n
 WHERE t.book_id = n.book_id AND t.refund_id = n.refund_id AND t.item_id = n.item_id

-- name: story_of_trade
SELECT t.book_id, t.id FROM unnest($1::uuid[]) AS b (book_id) JOIN trades.trade t ON t.book_id = b.book_id AND t.id = $2
 UNION ALL
SELECT i.book_id, i.trade_id FROM unnest($1::uuid[]) AS b (book_id) JOIN trades.item i ON i.book_id = b.book_id AND i.id = $3
 UNION ALL
SELECT t.book_id, t.id FROM trades.trade t WHERE t.merchant_ref = $4 AND t.book_id = ANY ($1::uuid[])

-- name: story_trades
-- $1, $2: trades that were asked for; $3, $4: payments.
SELECT 'pi' AS prefix, p.book_id, p.intent_id AS id, NULL::uuid AS root_id, true AS below
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, trade_id) JOIN trades.part p USING (book_id, trade_id)
 UNION ALL
SELECT 'trd', t.book_id, t.id, t.root_id, true
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, parent_id) JOIN trades.trade t USING (book_id, parent_id)
 UNION ALL
SELECT 'trd', t.book_id, t.id, t.root_id, false
  FROM unnest($3::uuid[], $4::uuid[]) AS k (book_id, intent_id)
  JOIN trades.part p USING (book_id, intent_id)
  JOIN trades.trade t ON t.book_id = p.book_id AND t.id = p.trade_id

-- name: story_made
SELECT t.id, t.type, t.status, t.amount, t.currency, t.merchant_ref, t.created_at, (SELECT count(*) FROM trades.item i WHERE i.trade_id = t.id AND i.book_id = t.book_id) AS n,
       NULL::uuid AS intent_id, NULL AS purpose
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN trades.trade t USING (book_id, id)
 UNION ALL
SELECT t.id, t.type, p.state, p.amount, t.currency, t.merchant_ref, p.created_at, 0, p.intent_id, p.purpose
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN trades.trade t USING (book_id, id)
  JOIN trades.part p ON p.book_id = t.book_id AND p.trade_id = t.id

-- name: story_deals
SELECT m.*, t.currency, i.name
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, trade_id)
  JOIN trades.trade t ON t.book_id = k.book_id AND t.id = k.trade_id
  JOIN trades.move m ON m.trade_id = k.trade_id AND m.book_id = k.book_id
  LEFT JOIN trades.item i ON i.book_id = m.book_id AND i.id = m.item_id
 ORDER BY m.at, m.id
 LIMIT $3

-- name: touched_trades
-- Trades that were made, or of which money was dealt out, in these windows.
SELECT t.book_id, t.id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN trades.trade t ON t.book_id = w.book_id AND t.id > w.after AND t.id <= w.upto
 UNION
SELECT m.book_id, m.trade_id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
 CROSS JOIN LATERAL (SELECT * FROM trades.move m WHERE m.book_id = w.book_id AND m.id > w.after AND m.id <= w.upto OFFSET 0) AS m

-- name: audit_items
-- A trade is what its items, its payments and its refunds come to (T1, T2).
SELECT t.book_id, 'trd' AS kind, t.id, 'it is not what its items and payments come to' AS fault,
       concat_ws(' ', t.amount, 'reserved', t.reserved, 'paid', t.paid, 'refunded', t.refunded, 'returned', t.returned) AS expected,
       concat_ws(' ', i.amount, 'reserved', p.reserved, 'paid', i.paid, 'by payments', p.paid, 'refunded', i.refunded, 'returned', i.returned) AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN trades.trade t ON t.book_id = k.book_id AND t.id = k.id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(i.amount), 0) AS amount, coalesce(sum(i.paid), 0) AS paid, coalesce(sum(i.refunded), 0) AS refunded,
              coalesce(sum(i.returned), 0) AS returned
         FROM trades.item i WHERE i.trade_id = t.id AND i.book_id = t.book_id) AS i
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(p.amount) FILTER (WHERE p.state = 'open'), 0) AS reserved, coalesce(sum(p.received - p.excess), 0) AS paid
         FROM trades.part p WHERE p.trade_id = t.id AND p.book_id = t.book_id) AS p
 WHERE (t.amount, t.reserved, t.paid, t.paid, t.refunded, t.returned) IS DISTINCT FROM (i.amount, p.reserved, i.paid, p.paid, i.refunded, i.returned)

-- name: audit_dealt
-- Each item stands where the moves of its money led, and refunds of it are those that did not fail (T3, T4).
SELECT i.book_id, 'ti' AS kind, i.id, 'it does not stand where its money went' AS fault,
       concat_ws(' ', 'paid', i.paid, 'held', i.held, 'released', i.released, 'returned', i.returned, 'refunded', i.refunded) AS expected,
       concat_ws(' ', 'paid', m.paid, 'held', m.held, 'released', m.released, 'returned', m.returned, 'refunded', b.refunded) AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN trades.item i ON i.trade_id = k.id AND i.book_id = k.book_id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(CASE m.kind WHEN 'paid' THEN m.units END), 0) AS paid,
              coalesce(sum(CASE m.kind WHEN 'paid' THEN m.units WHEN 'taken_back' THEN 0 ELSE -m.units END), 0) AS held,
              coalesce(sum(CASE m.kind WHEN 'released' THEN m.units WHEN 'taken_back' THEN -m.units END), 0) AS released,
              coalesce(sum(CASE WHEN m.kind IN ('returned', 'taken_back') THEN m.units END), 0) AS returned
         FROM trades.move m WHERE m.trade_id = i.trade_id AND m.book_id = i.book_id AND m.item_id = i.id) AS m
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(b.units), 0) AS refunded
         FROM trades.give_back b WHERE b.trade_id = i.trade_id AND b.book_id = i.book_id AND b.item_id = i.id AND b.state <> 'failed') AS b
 WHERE (i.paid, i.held, i.released, i.returned, i.refunded) IS DISTINCT FROM (m.paid, m.held, m.released, m.returned, b.refunded)

-- name: audit_booked
-- What was dealt out is booked, in the book that it was to be taken from (T5).
SELECT m.book_id, 'trd' AS kind, m.trade_id AS id, 'what was dealt out is not booked so' AS fault,
       m.journal || ' ' || m.units || ' ' || t.currency AS expected, coalesce(b.units || ' ' || b.asset, 'none') AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN trades.trade t ON t.book_id = k.book_id AND t.id = k.id
  JOIN trades.move m ON m.trade_id = k.id AND m.book_id = k.book_id AND m.journal IS NOT NULL
  LEFT JOIN ledger.booked b ON b.book_id = CASE m.kind WHEN 'taken_back' THEN m.seller_id ELSE m.book_id END AND b.key = m.journal
 WHERE NOT coalesce(b.archived, false) AND (b.about, b.units, b.asset) IS DISTINCT FROM (m.id, m.units, t.currency)

-- name: audit_payments
-- What a trade takes for paid or given back is so; and what is so is taken note of within minutes.
SELECT p.book_id, 'pi' AS kind, p.intent_id AS id, 'its trade takes it for something else' AS fault,
       p.state || ' ' || p.received AS expected, i.status || ' ' || i.received AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN trades.part p ON p.trade_id = k.id AND p.book_id = k.book_id
  JOIN payments.trade_line i ON i.book_id = p.book_id AND i.id = p.intent_id
 WHERE CASE p.state WHEN 'paid' THEN (i.status, i.received) IS DISTINCT FROM ('succeeded', p.received)
                    ELSE i.collected_at < now() - interval '10 minutes' END
 UNION ALL
SELECT b.book_id, 're', b.refund_id, 'its trade takes it for something else', string_agg(b.state || ' ' || b.units, ', '), r.state || ' ' || r.amount
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN trades.give_back b ON b.trade_id = k.id AND b.book_id = k.book_id
  JOIN payments.refund_line r ON r.book_id = b.book_id AND r.id = b.refund_id
 GROUP BY b.book_id, b.refund_id, r.state, r.amount, r.done_at
HAVING sum(b.units) <> r.amount OR bool_or(b.state = 'done') AND r.state <> 'succeeded' OR bool_or(b.state = 'failed') AND r.state <> 'failed'
    OR bool_or(b.state = 'open') AND r.done_at < now() - interval '10 minutes'
