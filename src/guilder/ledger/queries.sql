-- name: lock_books
-- Lock the books of a batch in their order, and read what decides it: heads, accounts, keys, holds.
SELECT * FROM ledger.lock($1, $2, $3, $4, $5, $6, $7)

-- name: open_accounts
SELECT ledger.open($1, $2, $3, $4, $5, $6, $7)

-- name: post
INSERT INTO ledger.posting (books, heads, journals, keys, transfers, refusals, notes) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: list_accounts
SELECT code, asset, normal, floor, balance, held, shown FROM ledger.balance WHERE book_id = $1 ORDER BY code, asset

-- name: list_lines
SELECT * FROM ledger.line WHERE book_id = $1 ORDER BY journal_id, line LIMIT 1000

-- name: sweep_L1
-- Transfers whose accounts are missing, or of another asset or book; journals without transfers; assets that do not sum to zero.
SELECT 'transfer ' || t.journal_id || '/' || t.line AS subject, 'an end is missing or of another asset' AS fault
  FROM ledger.transfer t
  LEFT JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id AND d.asset = t.asset
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id AND c.asset = t.asset
  LEFT JOIN ledger.journal j ON j.book_id = t.book_id AND j.id = t.journal_id
 WHERE d.id IS NULL OR (c.id IS NULL AND t.credit_id IS NOT NULL) OR j.id IS NULL
UNION ALL
SELECT 'journal ' || j.id, 'it has no transfers'
  FROM ledger.journal j
 WHERE NOT EXISTS (SELECT FROM ledger.transfer t WHERE t.book_id = j.book_id AND t.journal_id = j.id)
UNION ALL
SELECT 'book ' || book_id || ' ' || asset, 'balances sum to ' || sum(balance)
  FROM ledger.account GROUP BY book_id, asset HAVING sum(balance) <> 0
 LIMIT 100

-- name: sweep_L2
-- The guards that keep history as it is: the triggers stand, and the application may write nothing but through its two doors; and
-- every journal is what its digest says (model.Journal.digest).
SELECT 'table ledger.' || t.name AS subject, 'it can be changed' AS fault
  FROM (VALUES ('head'), ('account'), ('journal'), ('transfer'), ('note'), ('refusal'), ('key'), ('hold'), ('standing')) AS t (name)
 WHERE (t.name NOT IN ('head', 'account', 'hold') AND
        (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = ('ledger.' || t.name)::regclass AND g.tgname LIKE 'L2 %' AND g.tgenabled = 'O') < 2)
    OR has_any_column_privilege('guilder_app', 'ledger.' || t.name, 'INSERT')
    OR has_any_column_privilege('guilder_app', 'ledger.' || t.name, 'UPDATE')
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'DELETE')
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'TRUNCATE')
UNION ALL
SELECT * FROM (
    SELECT 'journal ' || j.id, 'its transfers are not those that were posted'
      FROM ledger.journal j
      JOIN ledger.key k ON k.book_id = j.book_id AND k.key = j.key
      JOIN (SELECT t.book_id, t.journal_id,
                   string_agg(convert_to(t.kind, 'UTF8') || '\x00' || convert_to(d.code, 'UTF8') || '\x00' || convert_to(t.asset, 'UTF8') || '\x00'
                              || convert_to(coalesce(c.code, ''), 'UTF8') || '\x00' || convert_to(coalesce(c.asset, ''), 'UTF8') || '\x00'
                              || convert_to(coalesce(t.hold_id::text, ''), 'UTF8') || '\x0a', '' ORDER BY t.line) AS lines,
                   string_agg(CASE WHEN t.kind IN ('rest', 'expire') THEN '*' ELSE t.units::text END, ',' ORDER BY t.line) AS units
              FROM ledger.transfer t
              JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
              LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
             GROUP BY t.book_id, t.journal_id) l ON l.book_id = j.book_id AND l.journal_id = j.id
     WHERE k.digest <> substr(sha256(convert_to(j.rule, 'UTF8') || '\x0a' || l.lines), 1, 16) || substr(sha256(convert_to(l.units, 'UTF8')), 1, 8)
     LIMIT 100) AS changed

-- name: sweep_L3
SELECT 'account ' || a.code || ' ' || a.asset AS subject,
       'its balance is ' || a.balance || ', its transfers sum to ' || coalesce(m.sum, 0) AS fault
  FROM ledger.account a
  LEFT JOIN (SELECT book_id, id, sum(units) AS sum
               FROM (SELECT book_id, credit_id AS id, units FROM ledger.transfer WHERE credit_id IS NOT NULL
                     UNION ALL
                     SELECT book_id, debit_id, -units FROM ledger.transfer WHERE credit_id IS NOT NULL) AS ends
              GROUP BY book_id, id) m USING (book_id, id)
 WHERE a.balance <> coalesce(m.sum, 0)
 LIMIT 100

-- name: sweep_L4
SELECT 'account ' || code || ' ' || asset AS subject, 'its balance ' || balance || ' less ' || held || ' held is below its floor ' || floor AS fault
  FROM ledger.account WHERE balance - held < floor LIMIT 100

-- name: sweep_L5
-- Every journal and every refusal has its key, and every key one of them.
SELECT 'journal key ' || key AS subject, count(j.id) || ' journals and ' || count(r.id) || ' refusals have it' AS fault
  FROM ledger.key k
  FULL JOIN ledger.journal j USING (book_id, key)
  FULL JOIN ledger.refusal r USING (book_id, key)
 GROUP BY book_id, key
HAVING count(j.id) + count(r.id) <> 1 OR count(k.id) <> 1 OR max(k.refused) IS DISTINCT FROM max(r.code) OR bool_or(k.id IS DISTINCT FROM coalesce(j.id, r.id))
 LIMIT 100

-- name: sweep_L6
-- What is held is what remains of holds, and that is what their transfers left of them.
SELECT 'account ' || a.code || ' ' || a.asset AS subject, 'it holds ' || a.held || ', its holds sum to ' || coalesce(h.sum, 0) AS fault
  FROM ledger.account a
  LEFT JOIN (SELECT book_id, account_id, sum(remaining) AS sum FROM ledger.hold GROUP BY 1, 2) h ON h.book_id = a.book_id AND h.account_id = a.id
 WHERE a.held <> coalesce(h.sum, 0)
UNION ALL
SELECT * FROM (
    SELECT 'hold ' || coalesce(h.id, t.hold_id), 'its transfers leave ' || coalesce(t.remaining, 0) || ' of ' || coalesce(t.units, 0) || ', it says ' || coalesce(h.remaining, 0) || ' of ' || coalesce(h.units, 0)
      FROM ledger.hold h
      FULL JOIN (SELECT book_id, hold_id, min(debit_id::text) AS account, max(debit_id::text) AS other, min(asset) AS asset,
                        sum(CASE kind WHEN 'hold' THEN units ELSE 0 END) AS units,
                        sum(CASE kind WHEN 'hold' THEN units ELSE -units END) AS remaining,
                        max(expires_at) AS expires_at, max(CASE kind WHEN 'hold' THEN journal_id::text END) AS journal
                   FROM ledger.transfer WHERE hold_id IS NOT NULL GROUP BY 1, 2) t ON t.book_id = h.book_id AND t.hold_id = h.id
     WHERE (h.account_id::text, h.account_id::text, h.asset, h.units, h.remaining, h.expires_at, h.journal_id::text)
           IS DISTINCT FROM (t.account, t.other, t.asset, t.units, t.remaining, t.expires_at, t.journal)
     LIMIT 100) AS holds
