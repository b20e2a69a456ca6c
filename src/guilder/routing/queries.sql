-- name: insert_ruleset
INSERT INTO routing.ruleset (book_id, id, number, content, note, made_by)
SELECT $1, $2, 1 + coalesce((SELECT max(o.number) FROM routing.ruleset o WHERE o.book_id = $1), 0), $3, $4, $5
RETURNING *

-- name: find_ruleset
SELECT * FROM routing.ruleset WHERE book_id = $1 AND id = $2

-- name: find_ruleset_by_number
SELECT * FROM routing.ruleset WHERE book_id = $1 AND number = $2

-- name: live_ruleset
SELECT * FROM routing.ruleset WHERE book_id = $1 AND state = 'live'

-- name: earlier_ruleset
-- The one that was live before the one that is.
SELECT * FROM routing.ruleset WHERE book_id = $1 AND state = 'retired' ORDER BY live_at DESC LIMIT 1

-- name: list_rulesets
SELECT * FROM routing.ruleset
 WHERE book_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at <= $5)
 ORDER BY id DESC LIMIT $6

-- name: retire_ruleset
UPDATE routing.ruleset SET state = 'retired' WHERE book_id = $1 AND state = 'live' AND id <> $2 RETURNING id, number

-- name: make_ruleset_live
UPDATE routing.ruleset SET state = 'live', live_by = $3, live_at = now() WHERE book_id = $1 AND id = $2 AND state <> 'live' RETURNING *
