-- name: mark_commit
INSERT INTO platform.commit_mark (id) VALUES ($1)

-- name: settle_commit_mark
-- Waits for the transaction that wrote the mark, if it is still under way.  A row comes back only if it was rolled back; and
-- then it can never be committed any more, for the mark is taken.
INSERT INTO platform.commit_mark (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id

-- name: forget_commit_marks
DELETE FROM platform.commit_mark WHERE at < now() - make_interval(days => platform.kept_days('platform.commit_mark'))

-- name: find_answers
SELECT a.book_id, a.key, a.fingerprint, a.state, a.runner, a.subject, a.status, a.body,
       a.state = 'running' AND (a.lease_until < now() OR EXISTS (
           SELECT FROM platform.runner r WHERE r.id = a.runner AND r.alive_at < now() - make_interval(secs => $3))) AS lease_over
  FROM platform.answer a
  JOIN unnest($1::uuid[], $2::text[]) AS k (book_id, key) USING (book_id, key)

-- name: insert_answers
-- In key order.  A key that a concurrent transaction took raises a unique violation: the batch runs again and finds it.
INSERT INTO platform.answer (book_id, key, fingerprint, state, runner, lease_until, subject, status, body, request_id)
SELECT book_id, key, fingerprint, state, $10, now() + make_interval(secs => $9), subject, status, body, request_id
  FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::uuid[], $6::int[], $7::bytea[], $8::text[])
       AS a (book_id, key, fingerprint, state, subject, status, body, request_id)
 ORDER BY book_id, key

-- name: finish_answers
-- Only the runner that holds the key may answer for it: one that slept past its lease finds the key taken over.
UPDATE platform.answer a
   SET state = 'done', status = n.status, body = n.body
  FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bytea[]) AS n (book_id, key, status, body)
 WHERE a.book_id = n.book_id AND a.key = n.key AND a.state = 'running' AND a.runner = $5
RETURNING a.book_id, a.key

-- name: finish_own_answers
-- The same, without looking: a key that was taken over undoes everything.
UPDATE platform.answer a
   SET state = 'done', status = n.status, body = n.body
  FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bytea[]) AS n (book_id, key, status, body)
 WHERE a.book_id = n.book_id AND a.key = n.key AND platform.insist(a.state = 'running' AND a.runner = $5)

-- name: take_over_answers
UPDATE platform.answer a
   SET runner = $4, lease_until = now() + make_interval(secs => $3)
  FROM unnest($1::uuid[], $2::text[]) AS k (book_id, key)
 WHERE a.book_id = k.book_id AND a.key = k.key AND a.state = 'running'
   AND (a.lease_until < now() OR EXISTS (
       SELECT FROM platform.runner r WHERE r.id = a.runner AND r.alive_at < now() - make_interval(secs => $5)))
RETURNING a.book_id, a.key

-- name: beat
INSERT INTO platform.runner (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET alive_at = now()

-- name: forget_runners
DELETE FROM platform.runner WHERE alive_at < now() - interval '1 day'

-- name: release_answers
DELETE FROM platform.answer a
 USING unnest($1::uuid[], $2::text[]) AS k (book_id, key)
 WHERE a.book_id = k.book_id AND a.key = k.key AND a.state = 'running' AND a.runner = $3

-- name: replace_answer_body
UPDATE platform.answer SET body = $3 WHERE book_id = $1 AND key = $2 AND state = 'done'

-- name: expand_answer_body
-- Not while somebody of this book is erased, for what was expanded may have been read before: a replay expands it anew.
UPDATE platform.answer a SET body = $3
 WHERE a.book_id = $1 AND a.key = $2 AND a.state = 'done'
   AND NOT EXISTS (SELECT FROM platform.person_key p WHERE p.book_id = $1 AND p.erased_at > now() - interval '5 minutes')

-- name: forget_answers
-- The oldest $1 that their rule keeps no longer.  One that runs stays until it is answered.
DELETE FROM platform.answer a
 USING (SELECT o.book_id, o.key FROM platform.answer o
         WHERE o.created_at < now() - make_interval(days => platform.kept_days('platform.answer')) AND o.state = 'done'
         ORDER BY o.created_at LIMIT $1) AS old
 WHERE a.book_id = old.book_id AND a.key = old.key
RETURNING 1

-- name: grow
-- One partition that is missing, in a transaction of its own: whoever pays waits for no more than that.
SELECT platform.grow(1)

-- name: drop_expired
SELECT * FROM platform.drop_expired()

-- name: count_rest
-- Tables of which something lies in the partition for the rest: ids of a month that had none of its own.
SELECT count(*) FROM platform.partition WHERE first IS NULL AND heap > 0

-- name: list_rules
SELECT name, keep_days, least_days, reason FROM platform.retention ORDER BY name

-- name: keep
UPDATE platform.retention SET keep_days = $2 WHERE name = $1

-- name: list_partitions
SELECT name, part, platform.at_of(first) AS since, platform.at_of(upto) AS until, heap > 0 AS used, rows, bytes
  FROM platform.partition
 ORDER BY name, first NULLS FIRST

-- name: list_whole_tables
-- Of these tables those that have no partitions.
SELECT w.name, greatest(c.reltuples, 0)::bigint AS rows, pg_total_relation_size(c.oid) AS bytes
  FROM unnest($1::text[]) AS w (name)
  JOIN pg_class c ON c.oid = to_regclass(w.name)
 WHERE c.relkind = 'r'

-- name: insert_events
INSERT INTO platform.event SELECT * FROM unnest($1::platform.event[])

-- name: hold_person_keys
-- In key order, and held: nobody erases them before this transaction ends.
SELECT p.book_id, p.id, p.sealed
  FROM platform.person_key p
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
 ORDER BY p.book_id, p.id
   FOR SHARE OF p

-- name: find_person_keys
SELECT p.book_id, p.id, p.sealed
  FROM platform.person_key p
  JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)) AS k USING (book_id, id)
 WHERE p.sealed IS NOT NULL

-- name: insert_person_keys
-- A key that a concurrent transaction made, or erased, raises a unique violation: the work runs again and finds it.
INSERT INTO platform.person_key (book_id, id, sealed)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])

-- name: erase_person_key
-- Of one who has none, too: none is made later.
INSERT INTO platform.person_key AS p (book_id, id, sealed, erased_at) VALUES ($1, $2, NULL, now())
    ON CONFLICT (book_id, id) DO UPDATE SET sealed = NULL, erased_at = now() WHERE p.sealed IS NOT NULL
RETURNING id

-- name: erase_person_keys
UPDATE platform.person_key SET sealed = NULL, erased_at = now()
 WHERE book_id = $1 AND id = ANY ($2) AND sealed IS NOT NULL
RETURNING id

-- name: find_events_of_persons
SELECT * FROM platform.event WHERE book_id = $1 AND person_id = ANY ($2) ORDER BY id

-- name: find_answers_about
-- Answers in which one of these ids stands.  It reads every answer of the book: a person is seldom erased.
SELECT a.key, a.body, a.created_at
  FROM platform.answer a
 WHERE a.book_id = $1 AND a.state = 'done'
   AND EXISTS (SELECT FROM unnest($2::text[]) AS n (id) WHERE position(convert_to(n.id, 'UTF8') IN a.body) > 0)
 ORDER BY a.key
   FOR NO KEY UPDATE OF a

-- name: insert_outbox
INSERT INTO platform.outbox (subscriber, book_id, event_id)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[])

-- name: claim_outbox
-- Rows stay locked until their transaction ends; another worker steps over them, and a dead worker's come back at once.
SELECT o.subscriber, o.book_id, o.event_id, o.tries, e.type, e.object_id, e.object_version, e.data, e.previous,
       e.request_id, e.idempotency_key, e.root_id, e.business_line, e.created_at
  FROM (SELECT * FROM platform.outbox
         WHERE subscriber = $1 AND run_at <= now()
         ORDER BY event_id LIMIT $2
           FOR UPDATE SKIP LOCKED) o
  JOIN platform.event e ON e.book_id = o.book_id AND e.id = o.event_id
 ORDER BY o.event_id

-- name: delete_outbox
DELETE FROM platform.outbox o
 USING unnest($2::uuid[]) AS k (event_id)
 WHERE o.subscriber = $1 AND o.event_id = k.event_id

-- name: postpone_outbox
UPDATE platform.outbox
   SET tries = tries + 1, last_error = $3,
       run_at = now() + make_interval(secs => least(3600, power(2, least(tries, 12))))
 WHERE subscriber = $1 AND event_id = $2

-- name: count_outbox
SELECT count(*), coalesce(extract(epoch FROM now() - min(run_at)), 0)::float8 AS age_s FROM platform.outbox

-- name: insert_wire_messages
INSERT INTO platform.wire_message SELECT * FROM unnest($1::platform.wire_message[])

-- name: insert_trail
INSERT INTO platform.trail (book_id, id, at, actor, place, action, subject, before, after, why, request_id, root_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::text[], $12::uuid[])

-- name: plan_by_values
-- What is looked for decides by which index.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: list_trail
-- Of one book, or of all; by whom, about what, what it was, if asked for.
SELECT book_id, id, at, actor, place, action, subject, before, after, why, request_id, root_id
  FROM platform.trail
 WHERE ($1::uuid IS NULL OR book_id = $1) AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
   AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
   AND ($7::text IS NULL OR actor = $7) AND ($8::text IS NULL OR subject = $8) AND ($9::text IS NULL OR action = $9)
 ORDER BY id DESC LIMIT $6

-- name: seal_trail
SELECT platform.seal_trail($1)

-- name: oldest_unsealed_trail
-- When the first row was written that no seal covers.
SELECT u.at
  FROM platform.trail_end() e
 CROSS JOIN LATERAL (SELECT t.at FROM platform.trail t WHERE (t.tx, t.id) > (e.tx, e.id) ORDER BY t.tx, t.id LIMIT 1) AS u

-- name: trail_seals
-- The next $5 seals, each with what its rows are now: their number, their marks, and the hash that follows from them.
SELECT s.n, s.before, s.tx::text AS tx, s.id, s.entries, s.marks, s.at, s.hash, s.after_tx::text AS after_tx, s.after_id,
       l.n AS now_entries, l.marks AS now_marks, platform.trail_hash(s.hash_before, s.n, s.tx, s.id, s.at, l.leaves) AS now_hash
  FROM (SELECT x.*, lag(x.n, 1, $1::bigint) OVER w AS before, lag(x.tx, 1, $2::text::xid8) OVER w AS after_tx,
               lag(x.id, 1, $3::uuid) OVER w AS after_id, lag(x.hash, 1, $4::bytea) OVER w AS hash_before
          FROM (SELECT * FROM platform.trail_seal WHERE n > $1::bigint ORDER BY n LIMIT $5) AS x
        WINDOW w AS (ORDER BY x.n)) AS s
 CROSS JOIN LATERAL (SELECT count(*)::integer AS n, coalesce(string_agg(t.leaf, '' ORDER BY t.tx, t.id, t.book_id), '') AS leaves,
                            coalesce(string_agg(substr(t.leaf, 1, 4), '' ORDER BY t.tx, t.id, t.book_id), '') AS marks
                       FROM platform.trail_leaves(s.after_tx, s.after_id, s.tx, s.id) AS t) AS l
 ORDER BY s.n

-- name: trail_leaves
SELECT id, substr(leaf, 1, 4) AS mark
  FROM platform.trail_leaves($1::text::xid8, $2, $3::text::xid8, $4)
 ORDER BY tx, id, book_id

-- name: count_trail_seals
SELECT coalesce(max(n), 0) AS seals, coalesce(sum(entries), 0)::bigint AS entries FROM platform.trail_seal

-- name: trail_seal_at
-- Seal $1, or the last.
SELECT n, tx::text AS tx, id, at, hash FROM platform.trail_seal WHERE $1::bigint IS NULL OR n = $1 ORDER BY n DESC LIMIT 1

-- name: find_approval_chains
-- What rules there are for a kind in these books, with a row for each step.
SELECT c.book_id, c.id, c.kind, c.by_platform, c.asset, c.over, c.expires_s, c.made_by, c.created_at, s.permission, s.role, s.at, s.people
  FROM platform.approval_chain c
  JOIN platform.approval_step s ON s.book_id = c.book_id AND s.chain_id = c.id
 WHERE c.kind = $1 AND c.book_id = ANY ($2::uuid[])
 ORDER BY c.book_id, c.id, s.n

-- name: list_approval_chains
-- $1: of these books, NULL: of all.
SELECT c.book_id, c.id, c.kind, c.by_platform, c.asset, c.over, c.expires_s, c.made_by, c.created_at, s.permission, s.role, s.at, s.people
  FROM platform.approval_chain c
  JOIN platform.approval_step s ON s.book_id = c.book_id AND s.chain_id = c.id
 WHERE $1::uuid[] IS NULL OR c.book_id = ANY ($1)
 ORDER BY c.kind, c.book_id, c.by_platform, c.asset, c.over, c.id, s.n

-- name: insert_approval_chain
INSERT INTO platform.approval_chain (book_id, id, kind, by_platform, asset, over, expires_s, made_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (kind, book_id, by_platform, asset, over) DO NOTHING
RETURNING id

-- name: insert_approval_steps
INSERT INTO platform.approval_step (book_id, chain_id, n, permission, role, at, people)
SELECT $1, $2, n, permission, role, at, people
  FROM unnest($3::text[], $4::text[], $5::text[], $6::integer[]) WITH ORDINALITY AS s (permission, role, at, people, n)

-- name: delete_approval_chain
-- $1: only one of this merchant's own; NULL: anyone's.
DELETE FROM platform.approval_chain WHERE id = $2 AND ($1::uuid IS NULL OR (book_id = $1 AND NOT by_platform))
RETURNING book_id, kind, asset, over

-- name: insert_approval
INSERT INTO platform.approval (book_id, id, kind, subject, summary, command, hash, asset, units, maker, steps, root_id, business_line,
                               created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: lock_approval
SELECT * FROM platform.approval WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: find_approval
-- $1: of this book, NULL: of whatever book.
SELECT * FROM platform.approval WHERE id = $2 AND ($1::uuid IS NULL OR book_id = $1)

-- name: list_approvals
-- $1: of this book, NULL: of all; $2: older than this, $3: newer than this, $4 and $5: made within; $7: in this state, $8: of this kind
SELECT * FROM platform.approval
 WHERE ($1::uuid IS NULL OR book_id = $1)
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text IS NULL OR CASE WHEN state IN ('open', 'approved') AND expires_at <= now() THEN 'expired' ELSE state END = $7)
   AND ($8::text IS NULL OR kind = $8)
 ORDER BY id DESC
 LIMIT $6

-- name: find_approval_decisions
SELECT d.book_id, d.approval_id, d.actor, d.step, d.yes, d.hash, d.why, d.at
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  JOIN platform.approval_decision d ON d.book_id = k.book_id AND d.approval_id = k.id
 ORDER BY d.at, d.actor

-- name: insert_approval_decision
INSERT INTO platform.approval_decision (book_id, approval_id, actor, step, yes, hash, why, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: end_approval
UPDATE platform.approval SET state = $3, result = $4, reason = $5, ended_at = $6 WHERE book_id = $1 AND id = $2

-- name: expire_approvals
UPDATE platform.approval a SET state = 'expired', ended_at = $1
  FROM (SELECT book_id, id, state AS was FROM platform.approval
         WHERE state IN ('open', 'approved') AND expires_at <= $1
         ORDER BY expires_at LIMIT $2
           FOR NO KEY UPDATE SKIP LOCKED) k
 WHERE a.book_id = k.book_id AND a.id = k.id
RETURNING a.book_id, a.id, k.was

-- name: count_open_approvals
SELECT kind, count(*) AS n FROM platform.approval WHERE state IN ('open', 'approved') GROUP BY kind

-- name: open_cases
-- One case per subject and kind: evidence that comes again does not open it twice, unless it was resolved, and this is news.
INSERT INTO platform.case AS c (book_id, id, kind, subject, summary, evidence, root_id, fact, moved, proposal, due_at)
SELECT n.book_id, n.id, n.kind, n.subject, n.summary, n.evidence, n.root_id, n.fact, n.moved, n.proposal, now() + make_interval(days => n.due_days)
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::boolean[], $10::text[], $11::integer[])
       AS n (book_id, id, kind, subject, summary, evidence, root_id, fact, moved, proposal, due_days)
    ON CONFLICT (book_id, kind, subject) DO UPDATE
   SET seen = c.seen + 1, last_seen_at = now(),
       summary = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.summary ELSE c.summary END,
       evidence = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.evidence ELSE c.evidence END,
       fact = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.fact ELSE c.fact END,
       moved = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.moved ELSE c.moved END,
       proposal = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.proposal ELSE c.proposal END,
       due_at = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN EXCLUDED.due_at ELSE c.due_at END,
       resolved_at = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN NULL ELSE c.resolved_at END,
       state = CASE WHEN platform.is_news(c.state, c.fact, EXCLUDED.fact) THEN 'open' ELSE c.state END,
       version = c.version + platform.is_news(c.state, c.fact, EXCLUDED.fact)::integer,
       reopened = c.reopened + platform.is_news(c.state, c.fact, EXCLUDED.fact)::integer

-- name: list_cases
SELECT * FROM platform.case WHERE book_id = $1 ORDER BY id DESC LIMIT $2

-- name: page_cases
-- Of one book, or of all; of a kind, in a state, of an owner, overdue or not, if asked for.
SELECT book_id, id, kind, subject, summary, evidence, fact, moved, proposal, state, owner, due_at, wait_until, version, reopened, seen,
       root_id, created_at, last_seen_at, resolved_at
  FROM platform.case
 WHERE ($1::uuid IS NULL OR book_id = $1) AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text IS NULL OR kind = $7) AND ($8::text IS NULL OR state = $8) AND ($9::text IS NULL OR owner = $9)
   AND ($10::boolean IS NULL OR $10 = (state <> 'resolved' AND coalesce(due_at < now(), false)))
 ORDER BY id DESC LIMIT $6

-- name: find_case
SELECT book_id, id, kind, subject, summary, evidence, fact, moved, proposal, state, owner, due_at, wait_until, version, reopened, seen,
       root_id, created_at, last_seen_at, resolved_at
  FROM platform.case
 WHERE id = $1 AND ($2::uuid IS NULL OR book_id = $2) AND ($3::text IS NULL OR owner = $3)

-- name: lock_case
SELECT book_id, id, kind, subject, summary, evidence, fact, moved, proposal, state, owner, due_at, wait_until, version, reopened, seen,
       root_id, created_at, last_seen_at, resolved_at
  FROM platform.case
 WHERE id = $1 AND ($2::uuid IS NULL OR book_id = $2) AND ($3::text IS NULL OR owner = $3)
   FOR NO KEY UPDATE

-- name: change_case
UPDATE platform.case SET owner = $3, due_at = $4, state = $5, wait_until = $6, version = version + 1
 WHERE book_id = $1 AND id = $2
RETURNING book_id, id, kind, subject, summary, evidence, fact, moved, proposal, state, owner, due_at, wait_until, version, reopened, seen,
       root_id, created_at, last_seen_at, resolved_at

-- name: resolve_case
-- Only as it was when it was decided about.
UPDATE platform.case SET state = 'resolved', resolved_at = now(), wait_until = NULL, version = version + 1
 WHERE book_id = $1 AND id = $2 AND version = $3 AND state <> 'resolved'
RETURNING book_id, id, kind, subject, summary, evidence, fact, moved, proposal, state, owner, due_at, wait_until, version, reopened, seen,
       root_id, created_at, last_seen_at, resolved_at

-- name: close_cases
-- By what was decided elsewhere.
WITH done AS (
    UPDATE platform.case c SET state = 'resolved', resolved_at = now(), wait_until = NULL, version = version + 1
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) AS n (book_id, kind, subject, id)
     WHERE c.book_id = n.book_id AND c.kind = n.kind AND c.subject = n.subject AND c.state <> 'resolved'
    RETURNING c.book_id, c.id, c.reopened, n.id AS decision)
INSERT INTO platform.case_decision (book_id, id, case_id, round, actor, resolver, why)
SELECT d.book_id, d.decision, d.id, d.reopened, $5, $6, $7 FROM done d

-- name: wake_cases
UPDATE platform.case SET state = 'open', wait_until = NULL, version = version + 1
 WHERE state = 'waiting' AND wait_until <= now()
RETURNING 1

-- name: measure_cases
SELECT count(*) AS unresolved, count(*) FILTER (WHERE due_at < now()) AS overdue FROM platform.case WHERE state <> 'resolved'

-- name: insert_case_comment
INSERT INTO platform.case_comment (book_id, id, case_id, actor, text) VALUES ($1, $2, $3, $4, $5)
RETURNING id, actor, text, created_at

-- name: case_comments
SELECT id, actor, text, created_at FROM platform.case_comment WHERE case_id = $1 AND book_id = $2 ORDER BY id

-- name: insert_case_attachment
INSERT INTO platform.case_attachment (book_id, id, case_id, actor, name, type, sha256, content) VALUES ($1, $2, $3, $4, $5, $6, sha256($7), $7)
RETURNING id, actor, name, type, octet_length(content) AS size, sha256, created_at

-- name: case_attachments
SELECT id, actor, name, type, octet_length(content) AS size, sha256, created_at
  FROM platform.case_attachment WHERE case_id = $1 AND book_id = $2 ORDER BY id

-- name: find_case_attachment
SELECT id, actor, name, type, octet_length(content) AS size, sha256, created_at, content
  FROM platform.case_attachment WHERE case_id = $1 AND book_id = $2 AND id = $3

-- name: insert_case_decision
INSERT INTO platform.case_decision (book_id, id, case_id, round, actor, resolver, why, journal_id, approval_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: case_decisions
SELECT id, round, actor, resolver, why, journal_id, approval_id, created_at
  FROM platform.case_decision WHERE case_id = $1 AND book_id = $2 ORDER BY round

-- name: put_job
INSERT INTO platform.job (kind, key, payload, run_at, root_id)
VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, key) DO NOTHING

-- name: claim_jobs
-- The fence grows with every claim; a worker that slept past its lease can no longer finish the job.
UPDATE platform.job j
   SET lease_until = now() + make_interval(secs => $3), fence = fence + 1, tries = tries + 1
  FROM (SELECT kind, key FROM platform.job
         WHERE kind = ANY ($1) AND run_at <= now() AND done_at IS NULL
           AND (lease_until IS NULL OR lease_until < now())
         ORDER BY run_at LIMIT $2
           FOR UPDATE SKIP LOCKED) k
 WHERE j.kind = k.kind AND j.key = k.key
RETURNING j.kind, j.key, j.payload, j.fence, j.tries, j.root_id

-- name: finish_job
UPDATE platform.job SET done_at = now(), lease_until = NULL, last_error = NULL
 WHERE kind = $1 AND key = $2 AND fence = $3 AND done_at IS NULL

-- name: postpone_job
UPDATE platform.job SET run_at = $4, lease_until = NULL, last_error = $5
 WHERE kind = $1 AND key = $2 AND fence = $3 AND done_at IS NULL

-- name: forget_jobs
DELETE FROM platform.job WHERE done_at < now() - make_interval(days => platform.kept_days('platform.job'))

-- name: applied_schema
SELECT digest FROM schema_version.applied

-- name: plan_freely
SELECT set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
       set_config('enable_material', 'on', true), set_config('enable_hashjoin', 'on', true),
       set_config('enable_mergejoin', 'on', true), set_config('plan_cache_mode', 'auto', true)

-- name: open_counters
-- Lock the counters of a batch in key order, end leases that are over, and read what decides it.
SELECT * FROM platform.open_counters($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: crowd_counters
-- Tallies of everything that counters took until now; from now on they are kept.
WITH made AS (
    INSERT INTO platform.tally (book_id, key, size, start, units)
    SELECT t.book_id, t.key, y.size, y.start, sum(t.units)
      FROM unnest($1::uuid[], $2::text[]) AS w (book_id, key)
      JOIN platform.take t USING (book_id, key)
     CROSS JOIN LATERAL platform.tallies(t.at) y
     GROUP BY 1, 2, 3, 4)
UPDATE platform.counter c SET crowded = true
  FROM unnest($1::uuid[], $2::text[]) AS w (book_id, key) WHERE c.book_id = w.book_id AND c.key = w.key

-- name: insert_takes
INSERT INTO platform.take (book_id, id, key, units, at, expires_at)
SELECT book_id, id, key, units, $6, expires_at
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[]) AS t (book_id, id, key, units, expires_at)

-- name: add_to_tallies
INSERT INTO platform.tally AS t (book_id, key, size, start, units)
SELECT w.book_id, w.key, y.size, y.start, w.units
  FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS w (book_id, key, units)
 CROSS JOIN LATERAL platform.tallies($4) y
    ON CONFLICT (book_id, key, size, start) DO UPDATE SET units = t.units + EXCLUDED.units

-- name: find_room
SELECT platform.freed_at(w.book_id, w.key, w.since, w.need) AS at
  FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[]) WITH ORDINALITY AS w (book_id, key, since, need, n)
 ORDER BY w.n

-- name: commit_takes
-- In key order; what stands already is locked, too, so that the answer lasts until this transaction ends.
WITH locked AS (
    SELECT t.book_id, t.id
      FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)) AS k
      JOIN platform.take t USING (book_id, id)
     WHERE t.expires_at IS NULL OR t.expires_at > $3
     ORDER BY t.book_id, t.id, t.key
       FOR NO KEY UPDATE OF t),
standing AS (SELECT DISTINCT book_id, id FROM locked),
kept AS (
    UPDATE platform.take t SET expires_at = NULL
      FROM standing s WHERE t.book_id = s.book_id AND t.id = s.id AND t.expires_at > $3)
SELECT book_id, id FROM standing

-- name: release_takes
SELECT book_id, id FROM platform.release_takes($1, $2, $3)

-- name: peek_counters
SELECT coalesce(s.units, 0)::bigint AS used
  FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS w (book_id, key, since, n)
  LEFT JOIN platform.counter c USING (book_id, key)
  LEFT JOIN LATERAL (
       SELECT sum(p.units) - (SELECT coalesce(sum(t.units) FILTER (WHERE t.at > w.since), 0) FROM platform.take t
                               WHERE t.book_id = c.book_id AND t.key = c.key AND t.expires_at <= $4) AS units
         FROM platform.parts(c.book_id, c.key, c.crowded, w.since) p) AS s ON true
 ORDER BY w.n

-- name: forget_takes
SELECT platform.forget_takes($1, $2, $3)

-- name: claim_audit
-- The pass, if nobody has it for the moment; and until when everything that began to be written is there to be seen: some seconds ago, or
-- when the oldest transaction began, but one that lasts for $4 is not waited for.
UPDATE platform.auditor
   SET run_at = now() + make_interval(secs => $2)
 WHERE name = $1 AND run_at <= now()
RETURNING book_id, id,
          least(now() - make_interval(secs => $3),
                (SELECT min(a.xact_start) FROM pg_stat_activity a
                  WHERE a.datname = current_database() AND a.xact_start > now() - make_interval(secs => $4))) AS horizon

-- name: keep_audit
UPDATE platform.auditor
   SET book_id = $2, id = $3, run_at = now() + make_interval(secs => $4), done_at = CASE WHEN $5 THEN now() ELSE done_at END
 WHERE name = $1

-- name: measure_audits
SELECT name, id, done_at FROM platform.auditor

-- name: count_open_cases
SELECT count(*) FROM platform.case WHERE kind = $1 AND state <> 'resolved'

-- name: list_books
-- Every book of which something was said: one probe of the index each.
WITH RECURSIVE book AS (
    (SELECT book_id FROM platform.event ORDER BY book_id LIMIT 1)
    UNION ALL
    SELECT n.book_id FROM book b CROSS JOIN LATERAL (
           SELECT e.book_id FROM platform.event e WHERE e.book_id > b.book_id ORDER BY e.book_id LIMIT 1) n
)
SELECT book_id FROM book

-- name: next_events
-- The next $3 events of the walk: the last of each book, and how many there are.
SELECT DISTINCT ON (book_id) book_id, id, count(*) OVER () AS n
  FROM (SELECT book_id, id FROM platform.event WHERE (book_id, id) > ($1, $2) ORDER BY book_id, id LIMIT $3) AS next
 ORDER BY book_id, id DESC

-- name: count_events
SELECT count(*) FROM platform.event

-- name: audit_events
-- Each version of an object is said once, and after the one before it, unless that was so long ago that it is gone.  Most objects lie in one
-- window with all that was said of them: if that is 1, 2, 3 …, it is plain, and nothing is looked up.  What was said elsewhere is, there.
WITH e AS MATERIALIZED (
    SELECT e.book_id, e.id, e.type, e.object_id, e.object_version,
           e.object_id > w.after AND e.object_id <= w.upto AND e.object_version = count(*) OVER (PARTITION BY e.object_id ORDER BY e.object_version) AS plain
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
      JOIN platform.event e ON e.book_id = w.book_id AND e.id > w.after AND e.id <= w.upto)
SELECT e.book_id, 'evt' AS kind, e.id,
       CASE WHEN s.same <> 1 THEN 'a version of its object is said more than once' ELSE 'the version before it was never said' END AS fault,
       'one event of each version of ' || e.object_id AS expected,
       e.type || ' of version ' || e.object_version || ': ' || s.same || ' of it, ' || s.before || ' of the one before' AS found
  FROM e
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE s.object_version = e.object_version) AS same,
              count(*) FILTER (WHERE s.object_version < e.object_version) AS before
         FROM platform.event s
        WHERE s.object_id = e.object_id AND s.object_version BETWEEN e.object_version - 1 AND e.object_version
          AND s.id >= (SELECT platform.said_since(e.object_id) FROM e ORDER BY e.object_id LIMIT 1)) s -- once for all
 WHERE NOT e.plain
   AND (s.same <> 1
        OR s.before <> CASE e.object_version WHEN 1 THEN 0 ELSE 1 END
           AND NOT (s.before = 0 AND e.object_id < platform.gone_before('platform.event')))

-- name: story_of_event
-- $1: books.  A few rows of the primary key, one probe for each book.
SELECT e.data::jsonb ->> 'id' AS subject
  FROM unnest($1::uuid[]) AS b (book_id) JOIN platform.event e ON e.book_id = b.book_id AND e.id = $2

-- name: story_of_case
SELECT c.subject FROM platform.case c WHERE c.id = $2 AND c.book_id = ANY ($1::uuid[])

-- name: story_of_approval
SELECT a.subject FROM platform.approval a WHERE a.id = $2 AND a.book_id = ANY ($1::uuid[])

-- name: story_of_trail
SELECT t.subject FROM platform.trail t WHERE t.id = $2 AND t.book_id = ANY ($1::uuid[])

-- name: story_around
-- What was said and done between two ids by a request ($4), or first by a chain of work ($5).
(SELECT DISTINCT e.data::jsonb ->> 'id' AS subject
   FROM unnest($1::uuid[]) AS b (book_id) JOIN platform.event e ON e.book_id = b.book_id AND e.id > $2 AND e.id < $3
  WHERE e.request_id = $4 OR e.root_id = $5
  LIMIT 50)
 UNION
(SELECT t.subject
   FROM unnest($1::uuid[]) AS b (book_id) JOIN platform.trail t ON t.book_id = b.book_id AND t.id > $2 AND t.id < $3
  WHERE t.request_id = $4 OR t.root_id = $5
  LIMIT 50)

-- name: story_cases_and_approvals
SELECT 'case' AS prefix, c.book_id, c.id, c.root_id, d.journal_id
  FROM platform.case c LEFT JOIN platform.case_decision d ON d.case_id = c.id AND d.book_id = c.book_id
 WHERE c.subject = ANY ($2::text[]) AND c.book_id = ANY ($1::uuid[])
 UNION ALL
SELECT 'apr', a.book_id, a.id, a.root_id, NULL
  FROM platform.approval a
 WHERE a.subject = ANY ($2::text[]) AND a.book_id = ANY ($1::uuid[])

-- name: story_requests
-- Of each request what it had said first, and its answer, if it had a key.
SELECT e.book_id, e.request_id, e.idempotency_key, coalesce(least(a.created_at, e.at), e.at) AS at, a.status, e.types
  FROM (SELECT e.book_id, e.request_id, max(e.idempotency_key) AS idempotency_key, min(e.created_at) AS at,
               array_agg(e.type ORDER BY e.id) AS types
          FROM platform.event e
         WHERE e.object_id = ANY ($2::uuid[]) AND e.book_id = ANY ($1::uuid[]) AND e.id > $3 AND e.request_id IS NOT NULL
         GROUP BY e.book_id, e.request_id) AS e
  LEFT JOIN platform.answer a ON a.book_id = e.book_id AND a.key = e.idempotency_key AND a.request_id = e.request_id
 ORDER BY at LIMIT $4

-- name: story_messages
SELECT m.* FROM platform.wire_message m
 WHERE m.about = ANY ($2::uuid[]) AND m.book_id = ANY ($1::uuid[]) AND m.id > $3
 ORDER BY m.at, m.id LIMIT $4

-- name: story_events
SELECT e.id, e.type, e.object_id, e.object_version, e.request_id, e.created_at FROM platform.event e
 WHERE e.object_id = ANY ($2::uuid[]) AND e.book_id = ANY ($1::uuid[]) AND e.id > $3
 ORDER BY e.created_at, e.id LIMIT $4

-- name: story_cases
SELECT s.* FROM (
    SELECT c.id, c.created_at AS at, 'opened as ' || c.kind AS what, c.summary AS says,
           jsonb_build_object('kind', c.kind, 'state', c.state, 'owner', c.owner, 'seen', c.seen, 'evidence', c.evidence::jsonb)::text AS details
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.case c USING (book_id, id)
     UNION ALL
    SELECT m.case_id, m.created_at, 'comment of ' || m.actor, m.text, '{}'
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.case_comment m ON m.case_id = k.id AND m.book_id = k.book_id
     UNION ALL
    SELECT d.case_id, d.created_at, 'resolved by ' || d.actor, d.resolver || ', ' || d.why, jsonb_build_object('round', d.round)::text
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.case_decision d ON d.case_id = k.id AND d.book_id = k.book_id) AS s
 ORDER BY s.at LIMIT $3

-- name: story_approvals
SELECT s.* FROM (
    SELECT a.id, a.created_at AS at, 'asked' AS what, a.maker AS actor, a.summary AS says, a.asset, a.units, '' AS why
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.approval a USING (book_id, id)
     UNION ALL
    SELECT d.approval_id, d.at, CASE WHEN d.yes THEN 'yes' ELSE 'no' END, d.actor, 'step ' || d.step, '', NULL, d.why
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.approval_decision d ON d.approval_id = k.id AND d.book_id = k.book_id
     UNION ALL
    SELECT a.id, a.ended_at, a.state, 'the machine', coalesce(a.reason, 'it is done'), '', NULL, ''
      FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) JOIN platform.approval a USING (book_id, id)
     WHERE a.ended_at IS NOT NULL) AS s
 ORDER BY s.at LIMIT $3

-- name: story_trail
SELECT t.* FROM platform.trail t
 WHERE t.subject = ANY ($2::text[]) AND t.book_id = ANY ($1::uuid[])
 ORDER BY t.at, t.id LIMIT $3

-- name: read_breakers
SELECT b.book_id, b.version, b.state, b.until, b.opens, b.paused, b.guard FROM platform.breaker b

-- name: exchange_seen
-- What this process ($8) saw, for the others; and what they saw.
WITH mine AS (
    INSERT INTO platform.channel_seen AS s (book_id, op, version, good, refused, bad, ms, runner, at)
    SELECT n.book_id, n.op, n.version, n.good, n.refused, n.bad, n.ms, $8, now()
      FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[], $6::int[], $7::bigint[])
           AS n (book_id, op, version, good, refused, bad, ms)
        ON CONFLICT (book_id, op, runner) DO UPDATE
       SET version = EXCLUDED.version, at = EXCLUDED.at, good = EXCLUDED.good, refused = EXCLUDED.refused, bad = EXCLUDED.bad, ms = EXCLUDED.ms),
gone AS (DELETE FROM platform.channel_seen g WHERE g.at < now() - interval '1 minute' AND g.runner <> $8)
SELECT s.book_id, s.runner, s.op, s.version, s.good, s.refused, s.bad, s.ms
  FROM platform.channel_seen s
 WHERE s.runner <> $8 AND s.at > now() - interval '5 seconds'

-- name: move_breaker
-- Only from the version that was seen; nothing comes back if it is another by now.
INSERT INTO platform.breaker AS b (book_id, version, state, until, opens, why)
SELECT $1, $2 + 1, $3, $4, $5, $6 WHERE $2 = 0 OR EXISTS (SELECT FROM platform.breaker o WHERE o.book_id = $1)
    ON CONFLICT (book_id) DO UPDATE
   SET version = b.version + 1, state = EXCLUDED.state, until = EXCLUDED.until, opens = EXCLUDED.opens, why = EXCLUDED.why, changed_at = now()
 WHERE b.version = $2
RETURNING b.version

-- name: insert_breaker_move
INSERT INTO platform.breaker_move (book_id, id, was, became, why) VALUES ($1, $2, $3, $4, $5)

-- name: switch_breaker
INSERT INTO platform.breaker AS b (book_id, version, paused) SELECT $1, 1, true WHERE $2 OR EXISTS (SELECT FROM platform.breaker o WHERE o.book_id = $1)
    ON CONFLICT (book_id) DO UPDATE SET version = b.version + 1, paused = $2, changed_at = now() WHERE b.paused <> $2
RETURNING b.version

-- name: set_guard
INSERT INTO platform.breaker AS b (book_id, version, guard) VALUES ($1, 1, $2)
    ON CONFLICT (book_id) DO UPDATE SET version = b.version + 1, guard = EXCLUDED.guard, changed_at = now()

-- name: show_breakers
SELECT k.book_id, coalesce(b.state, 'closed') AS state, coalesce(b.paused, false) AS paused, coalesce(b.why, '') AS why,
       coalesce(b.guard, '{}') AS guard, b.changed_at, b.until,
       coalesce((SELECT jsonb_object_agg(s.op, jsonb_build_object('good', s.good, 'refused', s.refused, 'bad', s.bad, 'ms', s.ms))
                   FROM (SELECT s.op, sum(s.good) AS good, sum(s.refused) AS refused, sum(s.bad) AS bad, sum(s.ms) AS ms
                           FROM platform.channel_seen s
                          WHERE s.book_id = k.book_id AND s.at > now() - interval '5 seconds' AND s.version = coalesce(b.version, 0)
                          GROUP BY s.op) s), '{}')::text AS seen
  FROM unnest($1::uuid[]) AS k (book_id)
  LEFT JOIN platform.breaker b ON b.book_id = k.book_id

-- name: breaker_moves
SELECT m.was, m.became, m.why, m.at FROM platform.breaker_move m WHERE m.book_id = $1 ORDER BY m.id DESC LIMIT $2

-- name: find_case_of_breaker
SELECT c.id FROM platform.case c WHERE c.book_id = $1 AND c.kind = $2 AND c.state <> 'resolved'

-- name: carry_over_answers
-- What runs under a key goes on as something else ($3), as long as this process ($4) holds the key.
UPDATE platform.answer a
   SET subject = n.subject
  FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS n (book_id, key, subject)
 WHERE a.book_id = n.book_id AND a.key = n.key AND a.state = 'running' AND a.runner = $4
RETURNING a.book_id, a.key
