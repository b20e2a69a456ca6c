-- name: find_key
SELECT k.id, k.merchant_id, k.env, k.kind, k.scopes, k.expires_at, m.name, m.business_line, m.late_success
  FROM control.api_key k JOIN control.merchant m ON m.id = k.merchant_id
 WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())

-- name: find_merchant_by_book_code
SELECT id, name, business_line, late_success FROM control.merchant WHERE book_code = $1

-- name: find_merchant
SELECT id, name, business_line, late_success FROM control.merchant WHERE id = $1

-- name: revision
SELECT n FROM control.revision

-- name: bump_revision
UPDATE control.revision SET n = n + 1

-- name: insert_merchant
INSERT INTO control.merchant (id, book_code, name, country, business_line, late_success) VALUES ($1, $2, $3, $4, $5, $6)

-- name: insert_key
INSERT INTO control.api_key (id, merchant_id, env, kind, hash, last4, scopes, name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: get_key
SELECT id, merchant_id, env, kind, scopes, name, last4, created_at, expires_at, revoked_at FROM control.api_key WHERE id = $1

-- name: list_keys
SELECT id, merchant_id, env, kind, scopes, name, last4, created_at, expires_at, revoked_at
  FROM control.api_key WHERE merchant_id = $1 ORDER BY id

-- name: expire_key
UPDATE control.api_key SET expires_at = now() + make_interval(secs => $2), replaced_by = $3
 WHERE id = $1 AND revoked_at IS NULL AND replaced_by IS NULL
RETURNING id

-- name: revoke_key
UPDATE control.api_key SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING merchant_id

-- name: insert_channel_account
INSERT INTO merchants.channel_account (book_id, id, channel, name, funds, public, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: set_channel_account_enabled
UPDATE merchants.channel_account SET enabled = $3 WHERE book_id = $1 AND id = $2 RETURNING id

-- name: show_channel_account
SELECT id, channel, name, funds, public, enabled, created_at FROM merchants.channel_account WHERE book_id = $1 AND id = $2

-- name: show_channel_accounts
SELECT id, channel, name, funds, public, enabled, created_at FROM merchants.channel_account WHERE book_id = $1 ORDER BY id

-- name: find_channel_account
SELECT book_id, id, channel, name, funds, sealed, enabled FROM merchants.channel_account WHERE id = $1

-- name: list_channel_accounts
SELECT book_id, id, channel, name, funds, sealed, enabled FROM merchants.channel_account WHERE book_id = $1 ORDER BY id

-- name: list_all_channel_accounts
SELECT book_id, id, channel, name FROM merchants.channel_account WHERE enabled ORDER BY id

-- name: list_channel_accounts_of_channel
SELECT book_id, id FROM merchants.channel_account WHERE channel = $1 ORDER BY id

-- name: find_customer_id
SELECT id FROM merchants.customer WHERE book_id = $1 AND id = $2 AND deleted_at IS NULL

-- name: find_customers
SELECT * FROM merchants.customer WHERE book_id = $1 AND id = ANY ($2)

-- name: lock_customer
SELECT * FROM merchants.customer WHERE book_id = $1 AND id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: lock_any_customer
-- Deleted ones, too.
SELECT * FROM merchants.customer WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: find_book_of_customer
SELECT book_id FROM merchants.customer WHERE id = $1

-- name: lock_customer_shared
SELECT id FROM merchants.customer WHERE book_id = $1 AND id = $2 AND deleted_at IS NULL FOR SHARE

-- name: insert_customer
INSERT INTO merchants.customer (book_id, id, version, name, email, phone, description, address, shipping, locales, metadata,
                                created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)

-- name: update_customer
UPDATE merchants.customer
   SET version = $3, name = $4, email = $5, phone = $6, description = $7, address = $8, shipping = $9, locales = $10,
       metadata = $11
 WHERE book_id = $1 AND id = $2

-- name: delete_customer
-- Nothing personal is left: what payments still refer to is an empty row.
UPDATE merchants.customer
   SET version = $3, deleted_at = $4, name = NULL, email = NULL, phone = NULL, description = NULL, address = NULL,
       shipping = NULL, locales = '{}', metadata = '{}'
 WHERE book_id = $1 AND id = $2

-- name: list_customers
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM merchants.customer
 WHERE book_id = $1 AND deleted_at IS NULL
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text IS NULL OR email = $7)
 ORDER BY id DESC
 LIMIT $6

-- name: list_merchants
SELECT id, name, business_line, fee_bps, created_at FROM control.merchant ORDER BY id

-- name: find_fee
SELECT fee_bps FROM control.merchant WHERE id = $1

-- name: lock_fee
SELECT fee_bps FROM control.merchant WHERE id = $1 FOR NO KEY UPDATE

-- name: set_fee
UPDATE control.merchant SET fee_bps = $2 WHERE id = $1

-- name: insert_store
INSERT INTO merchants.store (book_id, id, code, name, currency, address, metadata, enabled, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (book_id, code) DO NOTHING RETURNING id

-- name: update_store
UPDATE merchants.store SET name = $3, address = $4, metadata = $5, enabled = $6 WHERE book_id = $1 AND id = $2

-- name: find_store
SELECT * FROM merchants.store WHERE book_id = $1 AND id = $2

-- name: lock_store
SELECT * FROM merchants.store WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: list_stores
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM merchants.store
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::text IS NULL OR code = $7)
 ORDER BY id DESC
 LIMIT $6

-- name: insert_terminal
INSERT INTO merchants.terminal (book_id, id, store_id, code, name, metadata, enabled, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (book_id, store_id, code) DO NOTHING RETURNING id

-- name: update_terminal
UPDATE merchants.terminal SET name = $3, metadata = $4, enabled = $5 WHERE book_id = $1 AND id = $2

-- name: present_at_terminal
UPDATE merchants.terminal SET presented_id = $3, presented_until = $4 WHERE book_id = $1 AND id = $2

-- name: find_terminal
SELECT * FROM merchants.terminal WHERE book_id = $1 AND id = $2

-- name: lock_terminal
SELECT * FROM merchants.terminal WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: list_terminals
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM merchants.terminal
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR store_id = $7)
 ORDER BY id DESC
 LIMIT $6

-- name: insert_operator
INSERT INTO merchants.operator (book_id, id, store_id, code, name, enabled, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (book_id, code) DO NOTHING RETURNING id

-- name: update_operator
UPDATE merchants.operator SET name = $3, store_id = $4, enabled = $5 WHERE book_id = $1 AND id = $2

-- name: find_operator
SELECT * FROM merchants.operator WHERE book_id = $1 AND id = $2

-- name: lock_operator
SELECT * FROM merchants.operator WHERE book_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: list_operators
-- $2: older than this, $3: newer than this, $4 and $5: made within
SELECT * FROM merchants.operator
 WHERE book_id = $1
   AND id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
   AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
   AND ($7::uuid IS NULL OR store_id = $7)
 ORDER BY id DESC
 LIMIT $6
