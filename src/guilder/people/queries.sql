-- name: find_session
SELECT s.id, s.person_id AS whose, coalesce(nullif(p.name, ''), p.email) AS name, s.expires_at
  FROM people.session s JOIN people.person p ON p.id = s.person_id
 WHERE s.hash = $1 AND s.revoked_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL

-- name: find_service_key
SELECT k.id, k.service_id AS whose, v.name, k.expires_at
  FROM people.service_key k JOIN people.service v ON v.id = k.service_id
 WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND v.disabled_at IS NULL

-- name: grants_of
-- What a person or a service account was given; of somebody who is disabled, nothing.
SELECT g.role, g.at, g.merchant_id, r.permissions
  FROM people.grant g
  JOIN people.role r ON r.name = g.role
  LEFT JOIN people.person p ON p.id = g.person_id
  LEFT JOIN people.service v ON v.id = g.service_id
 WHERE coalesce(g.person_id, g.service_id) = $1 AND p.disabled_at IS NULL AND v.disabled_at IS NULL
