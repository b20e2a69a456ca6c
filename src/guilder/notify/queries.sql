-- name: insert_deliveries
-- A batch of events meets the endpoints that want them.
INSERT INTO notify.delivery (book_id, endpoint_id, event_id, siblings, run_at, created_at)
SELECT e.book_id, e.id, k.event_id, count(*) OVER (PARTITION BY k.event_id), $4, $4
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k (book_id, event_id, type)
  JOIN notify.endpoint e ON e.book_id = k.book_id AND e.status = 'enabled' AND e.enabled_events && ARRAY['*', k.type]
    ON CONFLICT DO NOTHING

-- name: claim_deliveries
-- One statement is the whole transaction, and does not wait for the disk: a claim that a power cut takes away is made again.
-- Endpoint by endpoint, so that the backlog of one is never walked through to find the others' deliveries: `waiting` finds
-- each endpoint that has anything pending by one probe of the index.  An endpoint gets $4 (one that is failing: $5) less what
-- of it is under way ($6, $7); all healthy ones together $2, all failing ones $3.
WITH RECURSIVE waiting AS (
    (SELECT book_id, endpoint_id FROM notify.delivery WHERE state = 'pending' ORDER BY book_id, endpoint_id LIMIT 1)
    UNION ALL
    SELECT n.book_id, n.endpoint_id
      FROM waiting w
     CROSS JOIN LATERAL (
           SELECT d.book_id, d.endpoint_id FROM notify.delivery d
            WHERE d.state = 'pending' AND (d.book_id, d.endpoint_id) > (w.book_id, w.endpoint_id)
            ORDER BY d.book_id, d.endpoint_id LIMIT 1) n
), due AS (
    SELECT e.book_id, e.id AS endpoint_id, e.url, e.secret, CASE WHEN e.old_until > $1 THEN e.old_secret END AS old_secret,
           e.failing_since IS NOT NULL AS failing, d.event_id,
           row_number() OVER (PARTITION BY e.failing_since IS NOT NULL ORDER BY d.run_at, d.event_id) AS place
      FROM waiting w
      JOIN notify.endpoint e ON e.book_id = w.book_id AND e.id = w.endpoint_id AND e.status = 'enabled'
      LEFT JOIN unnest($6::uuid[], $7::int[]) AS busy (id, n) ON busy.id = e.id
     CROSS JOIN LATERAL (
           SELECT d.event_id, d.run_at FROM notify.delivery d
            WHERE d.book_id = e.book_id AND d.endpoint_id = e.id AND d.state = 'pending' AND d.run_at <= $1
            ORDER BY d.run_at
            LIMIT greatest(0, CASE WHEN e.failing_since IS NULL THEN $4::int ELSE $5::int END - coalesce(busy.n, 0))
              FOR NO KEY UPDATE SKIP LOCKED) d
)
UPDATE notify.delivery d
   SET tries = d.tries + 1, fence = d.fence + 1, run_at = $8
  FROM due
  JOIN platform.event v ON v.book_id = due.book_id AND v.id = due.event_id
 WHERE place <= CASE WHEN due.failing THEN $3::int ELSE $2::int END
   AND d.book_id = due.book_id AND d.endpoint_id = due.endpoint_id AND d.event_id = due.event_id
RETURNING d.book_id, d.endpoint_id, d.event_id, d.tries, d.fence, d.siblings, due.url, due.secret, due.old_secret, due.failing,
          v.type, v.object_version, v.data, v.previous, v.request_id, v.idempotency_key, v.root_id, v.business_line, v.created_at,
          v.person_id, v.personal,
          set_config('synchronous_commit', 'off', true)

-- name: insert_tries
INSERT INTO notify.delivery_try SELECT * FROM unnest($1::notify.delivery_try[])
    ON CONFLICT DO NOTHING

-- name: settle_deliveries
-- A delivery moves on only under the latest claim (N5), and only if it still waits: the endpoint may have been disabled meanwhile.
UPDATE notify.delivery d
   SET state = s.state, run_at = s.run_at, ended_at = CASE WHEN s.state <> 'pending' THEN s.run_at END
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::timestamptz[])
       AS s (book_id, endpoint_id, event_id, fence, state, run_at)
 WHERE d.book_id = s.book_id AND d.endpoint_id = s.endpoint_id AND d.event_id = s.event_id
   AND d.fence = s.fence AND d.state = 'pending'

-- name: note_health
-- The rows come back as they are now.
UPDATE notify.endpoint e
   SET failing_since = CASE WHEN k.failed THEN coalesce(e.failing_since, k.at) END
  FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::timestamptz[]) AS k (book_id, id, failed, at)
 WHERE e.book_id = k.book_id AND e.id = k.id AND e.status = 'enabled'
RETURNING e.*

-- name: end_deliveries
-- What waits for endpoints that are not enabled any more; it can be asked for again.
UPDATE notify.delivery d
   SET state = 'dead', ended_at = $3
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, endpoint_id)
 WHERE d.book_id = k.book_id AND d.endpoint_id = k.endpoint_id AND d.state = 'pending'

-- name: count_endpoints
SELECT e.book_id, count(*)::int AS n FROM notify.endpoint e
 WHERE e.book_id = ANY ($1::uuid[]) AND e.status <> 'deleted'
 GROUP BY e.book_id

-- name: insert_endpoints
INSERT INTO notify.endpoint (book_id, id, url, enabled_events, api_version, description, metadata, secret, status, created_at)
SELECT book_id, id, url, string_to_array(enabled_events, ' '), api_version, description, metadata, secret, 'enabled', at
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[])
       AS n (book_id, id, url, enabled_events, api_version, description, metadata, secret, at)

-- name: lock_endpoints
SELECT e.* FROM notify.endpoint e
  JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)) AS k USING (book_id, id)
 WHERE e.status <> 'deleted'
 ORDER BY e.book_id, e.id
   FOR NO KEY UPDATE OF e

-- name: save_endpoints
UPDATE notify.endpoint e
   SET url = n.url, enabled_events = string_to_array(n.enabled_events, ' '), description = n.description, metadata = n.metadata,
       secret = n.secret, old_secret = n.old_secret, old_until = n.old_until, status = n.status, reason = n.reason,
       failing_since = n.failing_since, version = n.version, changed_at = now()
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[],
              $9::timestamptz[], $10::text[], $11::text[], $12::timestamptz[], $13::int[])
       AS n (book_id, id, url, enabled_events, description, metadata, secret, old_secret, old_until, status, reason,
             failing_since, version)
 WHERE e.book_id = n.book_id AND e.id = n.id

-- name: find_endpoint
SELECT * FROM notify.endpoint WHERE book_id = $1 AND id = $2 AND status <> 'deleted'

-- name: list_endpoints
SELECT * FROM notify.endpoint
 WHERE book_id = $1 AND status <> 'deleted'
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
 ORDER BY id DESC
 LIMIT $6

-- name: redeliver_event
-- Asked for by name, an event goes out again whatever became of it, and whether or not the filter wants its type.
INSERT INTO notify.delivery AS d (book_id, endpoint_id, event_id, siblings, run_at, created_at)
SELECT v.book_id, $2, v.id, 1, $4, $4 FROM platform.event v WHERE v.book_id = $1 AND v.id = $3
    ON CONFLICT (book_id, endpoint_id, event_id)
    DO UPDATE SET state = 'pending', tries = 0, run_at = $4, ended_at = NULL
RETURNING 1

-- name: redeliver_range
-- Everything of a time that the endpoint wants and has not had, oldest first.
INSERT INTO notify.delivery AS d (book_id, endpoint_id, event_id, siblings, run_at, created_at)
SELECT v.book_id, e.id, v.id, 1, $5, $5
  FROM notify.endpoint e
  JOIN platform.event v ON v.book_id = e.book_id AND e.enabled_events && ARRAY['*', v.type]
  LEFT JOIN notify.delivery had ON had.book_id = v.book_id AND had.endpoint_id = e.id AND had.event_id = v.id
 WHERE e.book_id = $1 AND e.id = $2
   AND ($3::timestamptz IS NULL OR v.created_at >= $3) AND ($4::timestamptz IS NULL OR v.created_at < $4)
   AND (had.state IS NULL OR had.state = 'dead')
 ORDER BY v.id
 LIMIT $6
    ON CONFLICT (book_id, endpoint_id, event_id)
    DO UPDATE SET state = 'pending', tries = 0, run_at = $5, ended_at = NULL
RETURNING 1

-- name: list_deliveries
SELECT d.*, v.type
  FROM notify.delivery d
  JOIN platform.event v ON v.book_id = d.book_id AND v.id = d.event_id
 WHERE d.book_id = $1 AND d.endpoint_id = $2
   AND d.event_id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND d.event_id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($5::timestamptz IS NULL OR d.created_at >= $5) AND ($6::timestamptz IS NULL OR d.created_at < $6)
   AND ($7::text IS NULL OR d.state = $7) AND ($8::uuid IS NULL OR d.event_id = $8)
 ORDER BY d.event_id DESC
 LIMIT $9

-- name: list_tries
-- The latest ten of each.
SELECT t.*
  FROM unnest($3::uuid[]) AS k (event_id)
 CROSS JOIN LATERAL (
       SELECT * FROM notify.delivery_try t
        WHERE t.book_id = $1 AND t.endpoint_id = $2 AND t.event_id = k.event_id
        ORDER BY t.fence DESC LIMIT 10) t
 ORDER BY t.event_id, t.fence

-- name: list_events
-- With how many of its deliveries have yet to succeed; $8 asks for those of which all have ($8) or some have not (NOT $8).
SELECT v.*, p.pending
  FROM platform.event v
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS pending
         FROM notify.endpoint e
         JOIN notify.delivery d ON d.book_id = e.book_id AND d.endpoint_id = e.id AND d.event_id = v.id
        WHERE e.book_id = v.book_id AND e.status <> 'deleted' AND d.state <> 'delivered') p
 WHERE v.book_id = $1
   AND v.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND v.id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::text[] IS NULL OR v.type LIKE ANY ($4))
   AND ($5::timestamptz IS NULL OR v.created_at >= $5) AND ($6::timestamptz IS NULL OR v.created_at < $6)
   AND ($8::bool IS NULL OR (p.pending = 0) = $8) AND ($9::uuid IS NULL OR v.id = $9)
 ORDER BY v.id DESC
 LIMIT $7

-- name: find_tries_of_persons
-- What endpoints answered to what was said of these persons.
SELECT t.endpoint_id, t.event_id, t.at, t.response
  FROM platform.said v
  JOIN notify.endpoint e ON e.book_id = v.book_id
  JOIN notify.delivery_try t ON t.book_id = v.book_id AND t.endpoint_id = e.id AND t.event_id = v.id
 WHERE v.book_id = $1 AND v.person_id = ANY ($2) AND t.response <> ''
 ORDER BY t.event_id, t.at

-- name: forget_tries_of_persons
-- A try is never changed: the whole goes.  The delivery stays, and says what became of it.
DELETE FROM notify.delivery_try t
 USING platform.said v, notify.endpoint e
 WHERE v.book_id = $1 AND v.person_id = ANY ($2) AND e.book_id = v.book_id
   AND t.book_id = v.book_id AND t.endpoint_id = e.id AND t.event_id = v.id AND t.response <> ''
RETURNING t.event_id

-- name: measure_backlog
SELECT count(*) AS pending, coalesce(extract(epoch FROM $1 - min(run_at)), 0)::float8 AS age_s
  FROM (SELECT run_at FROM notify.delivery WHERE state = 'pending' AND run_at <= $1 LIMIT 100000) AS due

-- name: forget_tries
DELETE FROM notify.delivery_try t
 USING (SELECT book_id, endpoint_id, event_id FROM notify.delivery
         WHERE created_at < now() - make_interval(days => platform.kept_days('notify.delivery')) AND state <> 'pending' LIMIT $1) AS d
 WHERE t.book_id = d.book_id AND t.endpoint_id = d.endpoint_id AND t.event_id = d.event_id

-- name: forget_deliveries
DELETE FROM notify.delivery
 WHERE (book_id, endpoint_id, event_id) IN (
       SELECT d.book_id, d.endpoint_id, d.event_id FROM notify.delivery d
        WHERE d.created_at < now() - make_interval(days => platform.kept_days('notify.delivery')) AND d.state <> 'pending'
          AND NOT EXISTS (SELECT FROM notify.delivery_try t WHERE t.book_id = d.book_id AND t.endpoint_id = d.endpoint_id
                                                              AND t.event_id = d.event_id)
        LIMIT $1)
RETURNING 1

-- name: audit_deliveries
-- An event has its delivery to each endpoint that wants it.  An endpoint is judged from a minute after its last change: an event that was
-- being said then saw it as it was before.  Deliveries that their rule keeps no longer may be forgotten.
WITH said AS MATERIALIZED ( -- by its window, before anything else is known of its book
    SELECT v.*
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
      JOIN platform.said v ON v.book_id = w.book_id AND v.id > w.after AND v.id <= w.upto)
SELECT v.book_id, 'evt' AS kind, v.id, 'an endpoint wants it, and there is no delivery' AS fault, v.type || ' to ' || e.id AS expected, 'none' AS found
  FROM said v
  JOIN notify.endpoint e ON e.book_id = v.book_id AND e.status = 'enabled' AND e.enabled_events && ARRAY['*', v.type]
                        AND e.changed_at < v.created_at - interval '1 minute'
  LEFT JOIN notify.delivery d ON d.book_id = v.book_id AND d.endpoint_id = e.id AND d.event_id = v.id
 WHERE d.event_id IS NULL AND v.created_at > (SELECT now() - make_interval(days => coalesce(platform.kept_days('notify.delivery'), 36500) - 1)) -- once for all

-- name: story_tries
-- Deliveries of what was said of these objects ($2), by the book's endpoints; NULL in `at`: no try is known.
SELECT d.endpoint_id, d.event_id, d.state, d.run_at, d.created_at, v.type, e.url, t.at, t.took_ms, t.status, t.error, t.response
  FROM platform.event v
  JOIN notify.endpoint e ON e.book_id = v.book_id
  JOIN notify.delivery d ON d.book_id = v.book_id AND d.endpoint_id = e.id AND d.event_id = v.id
  LEFT JOIN notify.delivery_try t ON t.book_id = d.book_id AND t.endpoint_id = d.endpoint_id AND t.event_id = d.event_id
 WHERE v.object_id = ANY ($2::uuid[]) AND v.book_id = ANY ($1::uuid[]) AND v.id > $3
 ORDER BY coalesce(t.at, d.created_at), t.fence
 LIMIT $4
