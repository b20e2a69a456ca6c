-- name: lock_accounts_and_find_journals
-- Accounts in key order, so that batches which share some queue and never deadlock; the journals in the same round trip.
-- A journal that was posted while we waited for a lock is not seen; its key is then found taken when ours is written.
WITH locked AS (
    SELECT a.book_id, a.id, a.balance, a.floor
      FROM ledger.account a
      JOIN unnest($1::uuid[], $2::uuid[]) AS k (book_id, id) USING (book_id, id)
     ORDER BY a.book_id, a.id
       FOR NO KEY UPDATE OF a)
SELECT book_id, id, balance, floor, NULL AS key, NULL AS digest FROM locked
UNION ALL
SELECT j.book_id, j.id, NULL, NULL, j.key, j.digest
  FROM ledger.journal j
  JOIN unnest($3::uuid[], $4::text[]) AS k (book_id, key) USING (book_id, key)

-- name: open_accounts
INSERT INTO ledger.account (book_id, id, code, asset, normal, floor)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[]) AS a (book_id, id, code, asset, normal, floor)
 ORDER BY a.book_id, a.id
    ON CONFLICT DO NOTHING

-- name: write_journals
INSERT INTO ledger.journal SELECT * FROM unnest($1::ledger.journal[])

-- name: write_transfers
INSERT INTO ledger.transfer SELECT * FROM unnest($1::ledger.transfer[])

-- name: move_balances
-- Each account once, by its sum: the locks are held, and no row is updated twice in a transaction.  A batch may move more than
-- 64 bits on its way from one balance to the next.
UPDATE ledger.account a
   SET balance = a.balance + d.delta
  FROM unnest($1::uuid[], $2::uuid[], $3::numeric[]) AS d (book_id, id, delta)
 WHERE a.book_id = d.book_id AND a.id = d.id

-- name: list_accounts
SELECT code, asset, normal, floor, balance, shown FROM ledger.balance WHERE book_id = $1 ORDER BY code, asset

-- name: list_lines
SELECT * FROM ledger.line WHERE book_id = $1 ORDER BY at, journal_id, line LIMIT 1000

-- name: sweep_L1
-- Transfers whose accounts are missing, or of another asset or book; journals without transfers; assets that do not sum to zero.
SELECT 'transfer ' || t.journal_id || '/' || t.line AS subject, 'an end is missing or of another asset' AS fault
  FROM ledger.transfer t
  LEFT JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id AND d.asset = t.asset
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id AND c.asset = t.asset
  LEFT JOIN ledger.journal j ON j.book_id = t.book_id AND j.id = t.journal_id
 WHERE d.id IS NULL OR c.id IS NULL OR j.id IS NULL OR t.units <= 0 OR t.debit_id = t.credit_id
UNION ALL
SELECT 'journal ' || j.id, 'it has no transfers'
  FROM ledger.journal j
 WHERE NOT EXISTS (SELECT FROM ledger.transfer t WHERE t.book_id = j.book_id AND t.journal_id = j.id)
UNION ALL
SELECT 'book ' || book_id || ' ' || asset, 'balances sum to ' || sum(balance)
  FROM ledger.account GROUP BY book_id, asset HAVING sum(balance) <> 0
 LIMIT 100

-- name: sweep_L2
-- The guards that keep history as it is: the triggers stand, and the application may not change what is written; and every
-- journal is what its digest says (posting.Journal.digest).
SELECT 'table ledger.' || t.name AS subject, 'it can be changed' AS fault
  FROM (VALUES ('journal'), ('transfer')) AS t (name)
 WHERE (SELECT count(*) FROM pg_trigger g
         WHERE g.tgrelid = ('ledger.' || t.name)::regclass AND g.tgname LIKE 'L2 %' AND g.tgenabled = 'O') < 2
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'UPDATE')
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'DELETE')
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'TRUNCATE')
UNION ALL
SELECT * FROM (
    SELECT 'journal ' || j.id, 'its transfers are not those that were posted'
      FROM ledger.journal j
      JOIN (SELECT t.book_id, t.journal_id,
                   string_agg(convert_to(d.code, 'UTF8') || '\x00' || convert_to(c.code, 'UTF8') || '\x00' || convert_to(t.asset, 'UTF8') || '\x00' || convert_to(t.units::text, 'UTF8')
                              || '\x0a', '' ORDER BY t.line) AS lines
              FROM ledger.transfer t
              JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
              JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
             GROUP BY t.book_id, t.journal_id) l ON l.book_id = j.book_id AND l.journal_id = j.id
     WHERE j.digest <> substr(sha256(convert_to(j.rule, 'UTF8') || '\x0a' || l.lines), 1, 16)
     LIMIT 100) AS changed

-- name: sweep_L3
SELECT 'account ' || a.code || ' ' || a.asset AS subject,
       'its balance is ' || a.balance || ', its transfers sum to ' || coalesce(m.sum, 0) AS fault
  FROM ledger.account a
  LEFT JOIN (SELECT book_id, id, sum(units) AS sum
               FROM (SELECT book_id, credit_id AS id, units FROM ledger.transfer
                     UNION ALL
                     SELECT book_id, debit_id, -units FROM ledger.transfer) AS ends
              GROUP BY book_id, id) m USING (book_id, id)
 WHERE a.balance <> coalesce(m.sum, 0)
 LIMIT 100

-- name: sweep_L4
SELECT 'account ' || code || ' ' || asset AS subject, 'its balance ' || balance || ' is below its floor ' || floor AS fault
  FROM ledger.account WHERE balance < floor LIMIT 100

-- name: sweep_L5
SELECT 'journal key ' || key AS subject, count(*) || ' journals have it' AS fault
  FROM ledger.journal GROUP BY book_id, key HAVING count(*) > 1 LIMIT 100
