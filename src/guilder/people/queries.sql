-- name: find_session
SELECT s.id, s.person_id AS whose, coalesce(nullif(p.name, ''), p.email) AS name, s.expires_at, s.last_seen_at
  FROM people.session s JOIN people.person p ON p.id = s.person_id
 WHERE s.hash = $1 AND s.revoked_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
   AND s.last_seen_at > now() - make_interval(secs => $2)

-- name: find_service_key
SELECT k.id, k.service_id AS whose, v.name, k.expires_at
  FROM people.service_key k JOIN people.service v ON v.id = k.service_id
 WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND v.disabled_at IS NULL

-- name: insert_service
INSERT INTO people.service (id, name, created_at) VALUES ($1, $2, $3)

-- name: list_services
-- $1: older than this, $2: newer than this, $3 and $4: made within, $6: this one
SELECT id, name, disabled_at, created_at FROM people.service
 WHERE id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
   AND ($6::uuid IS NULL OR id = $6)
 ORDER BY id DESC
 LIMIT $5

-- name: lock_service
SELECT id, name, disabled_at, created_at FROM people.service WHERE id = $1 FOR NO KEY UPDATE

-- name: change_service
UPDATE people.service SET name = $2, disabled_at = $3 WHERE id = $1

-- name: grants_of_services
-- What they were given, whether they are disabled or not.
SELECT g.service_id, g.role, g.at, g.merchant_id, array_remove(r.permissions, 'approvals:decide') AS permissions
  FROM people.grant g JOIN people.role r ON r.name = g.role
 WHERE g.service_id = ANY($1::uuid[])
 ORDER BY g.id

-- name: insert_service_key
INSERT INTO people.service_key (id, service_id, hash, last4, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)

-- name: list_service_keys
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT id, service_id, last4, created_at, expires_at, revoked_at, replaced_by FROM people.service_key
 WHERE service_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
 ORDER BY id DESC
 LIMIT $6

-- name: lock_service_key
SELECT id, service_id, last4, created_at, expires_at, revoked_at, replaced_by FROM people.service_key WHERE service_id = $1 AND id = $2
   FOR NO KEY UPDATE

-- name: change_service_key
UPDATE people.service_key SET expires_at = $2, revoked_at = $3, replaced_by = $4 WHERE id = $1

-- name: insert_provider
INSERT INTO people.provider (id, name, issuer, client_id, secret, domains, link) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: list_providers
SELECT id, name, issuer, client_id, secret, domains, link, created_at FROM people.provider ORDER BY name

-- name: find_provider
SELECT id, name, issuer, client_id, secret, domains, link, created_at FROM people.provider WHERE name = $1

-- name: delete_provider
DELETE FROM people.provider WHERE name = $1 RETURNING id, issuer

-- name: delete_expired_sign_ins
DELETE FROM people.sign_in WHERE expires_at < now()

-- name: count_sign_ins
SELECT count(*) FROM people.sign_in WHERE place = $1

-- name: insert_sign_in
INSERT INTO people.sign_in (state, browser, provider_id, session_id, nonce, verifier, place, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: take_sign_in
-- Once: whoever gets the row is the one who goes on.
DELETE FROM people.sign_in WHERE state = $1 AND browser = $2 AND provider_id = $3 AND expires_at > now() RETURNING session_id, nonce, verifier

-- name: lock_identity
SELECT p.id, p.email, p.disabled_at, p.totp
  FROM people.identity i JOIN people.person p ON p.id = i.person_id
 WHERE i.issuer = $1 AND i.subject = $2
   FOR NO KEY UPDATE OF p

-- name: find_linking_person
-- Who has this session, if it still is one.
SELECT p.id, p.disabled_at
  FROM people.session s JOIN people.person p ON p.id = s.person_id
 WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > now()

-- name: insert_identity
INSERT INTO people.identity (issuer, subject, person_id) VALUES ($1, $2, $3)

-- name: lock_invitations_of_email
SELECT id, role, at, merchant_id, given_by FROM people.invitation
 WHERE email = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()
 ORDER BY id FOR NO KEY UPDATE

-- name: grants_of
-- What a person or a service account was given; of somebody who is disabled, nothing.  To decide is a person's: a key may be in the hands
-- of whoever made what is to be decided.
SELECT g.role, g.at, g.merchant_id,
       CASE WHEN g.service_id IS NULL THEN r.permissions ELSE array_remove(r.permissions, 'approvals:decide') END AS permissions
  FROM people.grant g
  JOIN people.role r ON r.name = g.role
  LEFT JOIN people.person p ON p.id = g.person_id
  LEFT JOIN people.service v ON v.id = g.service_id
 WHERE coalesce(g.person_id, g.service_id) = $1 AND p.disabled_at IS NULL AND v.disabled_at IS NULL

-- name: see_session
-- Note that it is in use; no row: it is over, or nobody has used it for too long.
UPDATE people.session SET last_seen_at = greatest(last_seen_at, now())
 WHERE id = $1 AND revoked_at IS NULL AND expires_at > now() AND last_seen_at > now() - make_interval(secs => $2)
RETURNING last_seen_at

-- name: insert_session
INSERT INTO people.session (id, person_id, hash, ip, agent, created_at, last_seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)

-- name: list_sessions
-- $1: whose; $2: older than this, $3: newer than this, $4 and $5: made within
SELECT id, person_id, ip, agent, created_at, last_seen_at, expires_at FROM people.session
 WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > now() AND last_seen_at > now() - make_interval(secs => $7)
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
 ORDER BY id DESC
 LIMIT $6

-- name: all_sessions
SELECT s.id, s.person_id, p.email, s.ip, s.agent, s.created_at, s.last_seen_at, s.expires_at
  FROM people.session s JOIN people.person p ON p.id = s.person_id
 WHERE s.revoked_at IS NULL AND s.expires_at > now() AND s.last_seen_at > now() - make_interval(secs => $1)
 ORDER BY s.id

-- name: revoke_session
-- $2: whose it has to be; NULL: anybody's.
UPDATE people.session SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR person_id = $2)
RETURNING id, person_id

-- name: revoke_sessions
-- All of a person's but one.
UPDATE people.session SET revoked_at = now()
 WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > now() AND id IS DISTINCT FROM $2::uuid
RETURNING id

-- name: forget_sessions
-- Such that were over a month ago.
DELETE FROM people.session WHERE expires_at < now() - interval '30 days'

-- name: find_person
SELECT id, email, name, password, totp, totp_new, disabled_at, created_at FROM people.person WHERE id = $1

-- name: find_person_by_email
SELECT id, email, name, password, totp, totp_new, disabled_at, created_at FROM people.person WHERE email = $1

-- name: lock_proven
-- The person whose password and second factor were looked at, if they are what they were then, and locked from now on.
SELECT id FROM people.person
 WHERE id = $1 AND password = $2 AND totp IS NOT DISTINCT FROM $3 AND disabled_at IS NULL FOR NO KEY UPDATE

-- name: lock_person
SELECT id, email, name, password, totp, totp_new, disabled_at, created_at FROM people.person WHERE id = $1 FOR NO KEY UPDATE

-- name: list_people
-- $1: older than this, $2: newer than this, $3 and $4: made within; $6: who has a role at this merchant
SELECT p.id, p.email, p.name, p.totp, p.disabled_at, p.created_at FROM people.person p
 WHERE p.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND p.id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($3::timestamptz IS NULL OR p.created_at >= $3) AND ($4::timestamptz IS NULL OR p.created_at < $4)
   AND ($6::uuid IS NULL OR EXISTS (SELECT FROM people.grant g WHERE g.person_id = p.id AND g.merchant_id = $6))
   AND ($7::text IS NULL OR p.email = $7)
 ORDER BY p.id DESC
 LIMIT $5

-- name: works_at
SELECT EXISTS (SELECT FROM people.grant g WHERE g.person_id = $1 AND g.merchant_id = $2)

-- name: everybody
SELECT p.id, p.email, p.name, p.totp IS NOT NULL AS totp, p.disabled_at, p.created_at,
       coalesce((SELECT array_agg(g.role || ' at ' || g.at ORDER BY g.id) FROM people.grant g WHERE g.person_id = p.id), '{}') AS roles
  FROM people.person p ORDER BY p.id

-- name: insert_person
INSERT INTO people.person (id, email, name, password, created_at) VALUES ($1, $2, $3, $4, $5)

-- name: rename_person
UPDATE people.person SET name = $2 WHERE id = $1

-- name: disable_person
UPDATE people.person SET disabled_at = now() WHERE id = $1

-- name: enable_person
UPDATE people.person SET disabled_at = NULL WHERE id = $1

-- name: set_password
-- $3: the one that was proven.
UPDATE people.person SET password = $2 WHERE id = $1 AND password = $3 AND disabled_at IS NULL RETURNING id

-- name: use_step
-- A time step's code counts once, and none that is older counts after it.
UPDATE people.person SET totp_step = $2 WHERE id = $1 AND totp_step < $2 RETURNING id

-- name: use_recovery_code
UPDATE people.recovery_code SET used_at = now() WHERE person_id = $1 AND hash = $2 AND used_at IS NULL RETURNING person_id

-- name: delete_recovery_codes
DELETE FROM people.recovery_code WHERE person_id = $1

-- name: insert_recovery_codes
INSERT INTO people.recovery_code (person_id, hash) SELECT $1, h FROM unnest($2::bytea[]) AS h

-- name: begin_totp
UPDATE people.person SET totp_new = $2 WHERE id = $1 AND totp IS NULL AND disabled_at IS NULL RETURNING id

-- name: confirm_totp
-- $2: the one whose code was looked at; $3: the step of that code, which is used with it.
UPDATE people.person SET totp = totp_new, totp_new = NULL, totp_step = $3 WHERE id = $1 AND totp_new = $2 RETURNING id

-- name: remove_totp
UPDATE people.person SET totp = NULL, totp_new = NULL WHERE id = $1

-- name: lock_attempts
-- In key order; such that are new are made.
INSERT INTO people.attempt AS a (key, n, at, wait_until)
SELECT k, 0, $2, 'epoch' FROM unnest($1::bytea[]) AS k ORDER BY k
    ON CONFLICT (key) DO UPDATE SET n = a.n
RETURNING key, n, at, wait_until

-- name: save_attempts
UPDATE people.attempt a SET n = k.n, at = $4, wait_until = k.wait_until
  FROM unnest($1::bytea[], $2::int[], $3::timestamptz[]) AS k (key, n, wait_until)
 WHERE a.key = k.key

-- name: delete_attempt
DELETE FROM people.attempt WHERE key = $1

-- name: forget_attempts
DELETE FROM people.attempt WHERE at < now() - interval '2 days'

-- name: insert_invitation
INSERT INTO people.invitation (id, email, hash, role, at, merchant_id, given_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: find_invitation
SELECT * FROM people.invitation WHERE id = $1

-- name: find_open_invitation
SELECT * FROM people.invitation WHERE hash = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()

-- name: accept_invitation
-- Whoever is first.
UPDATE people.invitation SET accepted_at = now()
 WHERE id = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()
RETURNING id

-- name: revoke_invitation
UPDATE people.invitation SET revoked_at = now() WHERE id = $1 AND accepted_at IS NULL AND revoked_at IS NULL RETURNING *

-- name: revoke_invitations_of
-- Those that somebody has given.
UPDATE people.invitation SET revoked_at = now() WHERE given_by = $1 AND accepted_at IS NULL AND revoked_at IS NULL RETURNING id

-- name: list_invitations
-- $1: older than this, $2: newer than this, $3 and $4: made within; $6: to this merchant
SELECT * FROM people.invitation
 WHERE id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
   AND ($6::uuid IS NULL OR merchant_id = $6)
 ORDER BY id DESC
 LIMIT $5

-- name: forget_invitations
-- Such that nobody accepted, a month after their end: an address of somebody who never came.
DELETE FROM people.invitation WHERE expires_at < now() - interval '30 days' AND accepted_at IS NULL

-- name: list_roles
SELECT name, permissions, built_in, description FROM people.role ORDER BY name

-- name: find_role
SELECT name, permissions, built_in, description FROM people.role WHERE name = $1

-- name: lock_role
SELECT name, permissions, built_in, description FROM people.role WHERE name = $1 FOR UPDATE

-- name: share_role
-- It stays while a grant of it is made.
SELECT name, permissions, built_in, description FROM people.role WHERE name = $1 FOR KEY SHARE

-- name: insert_role
INSERT INTO people.role (name, permissions, description) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING RETURNING name

-- name: update_role
UPDATE people.role SET permissions = $2, description = $3 WHERE name = $1

-- name: delete_role
DELETE FROM people.role WHERE name = $1

-- name: count_services_with_role
SELECT count(*) FROM people.grant WHERE role = $1 AND service_id IS NOT NULL

-- name: count_role
-- Who has it, and who is invited to it.
SELECT (SELECT count(*) FROM people.grant g WHERE g.role = $1)
     + (SELECT count(*) FROM people.invitation i WHERE i.role = $1 AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now())

-- name: insert_grant
INSERT INTO people.grant (id, person_id, service_id, role, at, merchant_id, given_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING
RETURNING *

-- name: find_grant
SELECT * FROM people.grant WHERE id = $1

-- name: find_same_grant
SELECT * FROM people.grant
 WHERE coalesce(person_id, service_id) = $1 AND role = $2 AND at = $3 AND merchant_id IS NOT DISTINCT FROM $4

-- name: delete_grant
DELETE FROM people.grant WHERE id = $1 RETURNING *

-- name: list_grants
-- $1: older than this, $2: newer than this, $3 and $4: made within; $6: at this merchant; $7: whose
SELECT * FROM people.grant
 WHERE id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
   AND ($6::uuid IS NULL OR merchant_id = $6) AND ($7::uuid IS NULL OR coalesce(person_id, service_id) = $7)
 ORDER BY id DESC
 LIMIT $5

-- name: find_service
SELECT id, name, disabled_at FROM people.service WHERE id = $1
