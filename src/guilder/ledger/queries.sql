-- name: lock_books
-- Lock the books of a batch in their order, and read what decides it: heads, accounts, keys, holds.
SELECT * FROM ledger.lock($1, $2, $3, $4, $5, $6, $7)

-- name: open_accounts
SELECT ledger.open($1, $2, $3, $4, $5, $6, $7)

-- name: post
INSERT INTO ledger.posting (books, heads, journals, keys, transfers, refusals, notes, decisions, orders, befores) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: ordered_books
-- Every book that has orders: one probe of the index each.
WITH RECURSIVE book AS (
    (SELECT book_id FROM ledger.order ORDER BY book_id LIMIT 1)
    UNION ALL
    SELECT n.book_id FROM book b CROSS JOIN LATERAL (
           SELECT o.book_id FROM ledger.order o WHERE o.book_id > b.book_id ORDER BY o.book_id LIMIT 1) n
)
SELECT book_id FROM book

-- name: take_orders
-- Rows stay locked until their transaction ends; another worker steps over them, and a dead worker's come back at once.
SELECT book_id, key, from_book, rule, credit, asset, units, about, root_id, business_line, at
  FROM ledger.order WHERE book_id = $1 AND (run_at IS NULL OR run_at <= now())
 ORDER BY book_id, key LIMIT $2
   FOR UPDATE SKIP LOCKED

-- name: put_orders_aside
UPDATE ledger.order o SET run_at = now() + make_interval(secs => $4), problem = w.problem
  FROM unnest($2::text[], $3::text[]) AS w (key, problem) WHERE o.book_id = $1 AND o.key = w.key

-- name: measure_orders
SELECT count(*) AS n, coalesce(extract(epoch FROM now() - min(made_at)), 0)::float8 AS age_s FROM ledger.order

-- name: expired_holds
SELECT h.book_id, h.id, a.code, a.asset
  FROM ledger.hold h JOIN ledger.account a ON a.book_id = h.book_id AND a.id = h.account_id
 WHERE h.remaining > 0 AND h.expires_at <= $1
 ORDER BY h.expires_at LIMIT $2

-- name: seal_books
-- Seal what is not, book by book, the one that waits longest first; how many books and entries.
SELECT count(*) AS books, coalesce(sum(ledger.seal_next(b.book_id, $1)), 0) AS entries
  FROM (SELECT h.book_id
          FROM ledger.head h
          LEFT JOIN LATERAL (SELECT s.last FROM ledger.seal s WHERE s.book_id = h.book_id ORDER BY s.n DESC LIMIT 1) AS s ON true
         WHERE h.id > coalesce(s.last, '00000000-0000-0000-0000-000000000000')
         ORDER BY s.last NULLS FIRST LIMIT $2) AS b

-- name: oldest_unsealed
-- The first entry of any book that no seal covers.
SELECT min(j.id::text)::uuid
  FROM ledger.head h
  LEFT JOIN LATERAL (SELECT s.last FROM ledger.seal s WHERE s.book_id = h.book_id ORDER BY s.n DESC LIMIT 1) AS s ON true
 CROSS JOIN LATERAL (SELECT j.id FROM ledger.journal j WHERE j.book_id = h.book_id AND j.id > coalesce(s.last, '00000000-0000-0000-0000-000000000000')
                      ORDER BY j.id LIMIT 1) AS j
 WHERE h.id > coalesce(s.last, '00000000-0000-0000-0000-000000000000')

-- name: seals
-- Seals of a book in order, each with what its entries are now: their number, their marks, and the hash that follows from them.  Of those
-- before $4, which went, $5 has the hashes.
SELECT s.n, s.after, s.last, s.entries, s.marks, s.hash, l.n AS now_entries, l.marks AS now_marks,
       ledger.seal_hash($3, s.book_id, s.n, s.after, s.last, s.at, $5 || l.leaves) AS now_hash
  FROM ledger.seal s
 CROSS JOIN LATERAL (SELECT count(*)::integer AS n, coalesce(string_agg(x.leaf, '' ORDER BY x.id, x.what, x.leaf), '') AS leaves,
                            coalesce(string_agg(substr(x.leaf, 1, 4), '' ORDER BY x.id, x.what, x.leaf), '') AS marks
                       FROM ledger.leaves(s.book_id, greatest(s.after, $4), s.last) AS x) AS l
 WHERE s.book_id = $1 AND s.n > $2
 ORDER BY s.n
 LIMIT 1

-- name: leaves
SELECT id, what, substr(leaf, 1, 4) AS mark FROM ledger.leaves($1, $2, $3) ORDER BY id, what, leaf

-- name: sealed_books
-- Every book with how much of it is sealed, and where its chain begins that can be looked at: after what went.
SELECT book_id, coalesce(s.n, 0) AS seals, coalesce(s.entries, 0) AS entries, coalesce(c.seal, 0) AS seal, c.after, c.hash, c.until, c.leaves
  FROM ledger.head h
  FULL JOIN (SELECT book_id, max(n) AS n, sum(entries) AS entries FROM ledger.seal GROUP BY book_id) AS s USING (book_id)
  LEFT JOIN ledger.cut c USING (book_id)
 ORDER BY book_id

-- name: chain_heads
SELECT DISTINCT ON (book_id) book_id, n, last, at, hash FROM ledger.seal ORDER BY book_id, n DESC

-- name: seal_at
SELECT last, hash FROM ledger.seal WHERE book_id = $1 AND n = $2

-- name: list_accounts
SELECT code, asset, normal, floor, balance, held, shown FROM ledger.balance WHERE book_id = $1 ORDER BY code, asset

-- name: list_lines
SELECT * FROM ledger.line WHERE book_id = $1 ORDER BY journal_id, line LIMIT 1000

-- name: find_account
SELECT * FROM ledger.balance WHERE book_id = $1 AND id = $2

-- name: page_accounts
SELECT * FROM ledger.balance
 WHERE book_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
 ORDER BY id DESC LIMIT $4

-- name: list_journals
SELECT id FROM ledger.journal
 WHERE book_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
   AND ($4::timestamptz IS NULL OR id >= platform.id_at($4)) AND ($5::timestamptz IS NULL OR id < platform.id_at($5))
 ORDER BY id DESC LIMIT $6

-- name: find_journals
SELECT j.id AS journal_id, j.key, j.rule, j.at, j.reverses, t.line, t.kind, d.code AS debit, c.code AS credit, t.asset, t.units
  FROM ledger.journal j
  LEFT JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
  LEFT JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
 WHERE j.book_id = $1 AND j.id = ANY ($2::uuid[])
 ORDER BY j.id, t.line

-- name: standing_at
SELECT balance, held FROM ledger.stood WHERE book_id = $1 AND account_id = $2 AND id <= $3 ORDER BY id DESC LIMIT 1

-- name: effective_balance
-- What the last period that was closed by then left, and what is dated since.
WITH closed AS (
    SELECT k.until, k.balance FROM ledger.closing k WHERE k.book_id = $1 AND k.account_id = $2 AND k.until <= $3 ORDER BY k.until DESC LIMIT 1)
SELECT coalesce((SELECT balance FROM closed), 0) + coalesce((
    SELECT sum(CASE WHEN t.credit_id = $2 THEN t.units ELSE -t.units END)
      FROM ledger.journal j
      JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id AND t.credit_id IS NOT NULL AND $2 IN (t.debit_id, t.credit_id)
     WHERE j.book_id = $1 AND j.at < $3
       AND ((SELECT until FROM closed) IS NULL OR (j.at >= (SELECT until FROM closed) AND j.id >= platform.id_at((SELECT until FROM closed) - interval '2 days')))), 0)

-- name: statement
-- An account's batches by its standings, the journals of each batch by their ids: a page costs what it shows.  $5, $6: the last line of the
-- page before.  A running balance begins at the standing before the first batch of the page.
WITH batches AS MATERIALIZED (
    SELECT s.id, s.before, s.balance, s.held
      FROM (SELECT s.id, s.balance, s.held, coalesce(p.id, '00000000-0000-0000-0000-000000000000') AS before
              FROM ledger.standing s
              LEFT JOIN LATERAL (SELECT b.id FROM ledger.stood b WHERE b.book_id = s.book_id AND b.account_id = s.account_id AND b.id < s.id
                                  ORDER BY b.id DESC LIMIT 1) AS p ON true
             WHERE s.book_id = $1 AND s.account_id = $2 AND s.id >= greatest($3::uuid, $5::uuid)
             ORDER BY s.id LIMIT $7 + 1) AS s),
begun AS (
    SELECT b.balance, b.held FROM ledger.stood b
     WHERE b.book_id = $1 AND b.account_id = $2 AND b.id < (SELECT id FROM batches ORDER BY id LIMIT 1) ORDER BY b.id DESC LIMIT 1),
lines AS (
    SELECT j.id AS journal_id, t.line, j.at, j.key, j.rule, t.kind, o.code AS other,
           CASE WHEN t.credit_id IS NULL THEN 0 WHEN t.credit_id = $2 THEN t.units ELSE -t.units END AS moved,
           CASE WHEN t.debit_id <> $2 OR t.kind = 'move' THEN 0 WHEN t.kind = 'hold' THEN t.units ELSE -t.units END AS reserved
      FROM batches b
      JOIN ledger.journal j ON j.book_id = $1 AND j.id > b.before AND j.id <= b.id
      JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id AND $2 IN (t.debit_id, t.credit_id)
      LEFT JOIN ledger.account o ON o.book_id = $1 AND o.id = CASE WHEN t.credit_id = $2 THEN t.debit_id ELSE t.credit_id END)
SELECT * FROM (
    SELECT journal_id, line, platform.at_of(journal_id) AS booked_at, at, key, rule, kind, other,
           CASE WHEN moved = 0 THEN reserved ELSE moved END AS units,
           coalesce((SELECT balance FROM begun), 0) + sum(moved) OVER w AS balance,
           coalesce((SELECT held FROM begun), 0) + sum(reserved) OVER w AS held
      FROM lines WINDOW w AS (ORDER BY journal_id, line)) AS run
 WHERE journal_id >= $3 AND journal_id < $4 AND (journal_id, line) > ($5, $6)
 ORDER BY journal_id, line LIMIT $7

-- name: archived_until
-- Where the months of a book end that went, and until when its closings stand; no row: nothing went.
SELECT until, closed FROM ledger.cut WHERE book_id = $1

-- name: archived_months
-- Months that are out, the last first.
SELECT platform.at_of(until) AS until FROM ledger.archived ORDER BY until DESC

-- name: hindrances
SELECT why, book_id FROM ledger.hindrances($1) ORDER BY why, book_id

-- name: detach
SELECT ledger.detach($1)

-- name: attach
SELECT ledger.attach($1)

-- name: trial_balance
SELECT split_part(code, ':', 1) AS code, asset, normal, count(*) AS accounts,
       sum(CASE WHEN balance < 0 THEN -balance ELSE 0 END) AS debit, sum(CASE WHEN balance > 0 THEN balance ELSE 0 END) AS credit,
       sum(balance) AS balance, sum(held) AS held
  FROM ledger.account
 WHERE $1::uuid IS NULL OR book_id = $1
 GROUP BY 1, 2, 3
 ORDER BY asset, code

-- name: closings
SELECT a.code, a.asset, a.normal, c.balance + c.debits - c.credits AS opening, c.debits, c.credits, c.balance
  FROM ledger.closing c JOIN ledger.account a ON a.book_id = c.book_id AND a.id = c.account_id
 WHERE c.book_id = $1 AND c.until = $2
 ORDER BY a.asset, a.code

-- name: period
SELECT a.code, a.asset, a.normal, p.opening, p.debits, p.credits, p.balance
  FROM ledger.period($1, $2, $3) AS p JOIN ledger.account a ON a.book_id = $1 AND a.id = p.account_id
 ORDER BY a.asset, a.code

-- name: lines_of_journal
SELECT j.key, j.about, j.business_line, t.line, t.kind, d.code AS debit, c.code AS credit, t.asset, t.units
  FROM ledger.journal j
  JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
  JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
 WHERE j.book_id = $1 AND j.id = $2
 ORDER BY t.line

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
 WHERE j.rule NOT IN ('account_closed', 'account_opened', 'period_closed')
   AND NOT EXISTS (SELECT FROM ledger.transfer t WHERE t.book_id = j.book_id AND t.journal_id = j.id)
UNION ALL
SELECT 'book ' || book_id || ' ' || asset, 'balances sum to ' || sum(balance)
  FROM ledger.account GROUP BY book_id, asset HAVING sum(balance) <> 0
 LIMIT 100

-- name: sweep_L2
-- The guards that keep history as it is: the triggers stand, and the application may write nothing but through its two doors; and
-- every journal is what its digest says (model.Journal.digest).
SELECT 'table ledger.' || t.name AS subject, 'it can be changed' AS fault
  FROM (VALUES ('head'), ('account'), ('journal'), ('transfer'), ('note'), ('refusal'), ('key'), ('hold'), ('standing'), ('seal'), ('closing'), ('order'),
               ('archived'), ('detached'), ('opening'), ('reserved')) AS t (name)
 WHERE (t.name NOT IN ('head', 'account', 'hold', 'order', 'archived') AND EXISTS (
        SELECT FROM (SELECT ('ledger.' || t.name)::regclass AS id UNION SELECT relid FROM pg_partition_tree(('ledger.' || t.name)::regclass)) AS part
         WHERE (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = part.id AND g.tgname LIKE 'L2 %' AND g.tgenabled = 'O') < 2))
    OR has_any_column_privilege('guilder_app', 'ledger.' || t.name, 'INSERT')
    OR (t.name <> 'order' AND has_any_column_privilege('guilder_app', 'ledger.' || t.name, 'UPDATE')) -- an order may be put aside
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'DELETE')
    OR has_table_privilege('guilder_app', 'ledger.' || t.name, 'TRUNCATE')
UNION ALL
SELECT * FROM (
    SELECT 'journal ' || j.id, 'its transfers are not those that were posted'
      FROM ledger.journal j
      JOIN ledger.key k ON k.book_id = j.book_id AND k.key = j.key
      JOIN (SELECT t.book_id, t.journal_id,
                   string_agg(ledger.said(t.kind, d.code, t.asset, c.code, c.asset, t.hold_id), '' ORDER BY t.line) AS lines,
                   string_agg(CASE WHEN t.kind IN ('rest', 'expire') THEN '*' ELSE t.units::text END, ',' ORDER BY t.line) AS units
              FROM ledger.transfer t
              JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
              LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
             GROUP BY t.book_id, t.journal_id) l ON l.book_id = j.book_id AND l.journal_id = j.id
     WHERE k.digest <> ledger.digest(j.rule, l.lines, l.units)
     LIMIT 100) AS changed

-- name: sweep_L3
SELECT 'account ' || a.code || ' ' || a.asset AS subject,
       'its balance is ' || a.balance || ', its transfers sum to ' || coalesce(o.balance, 0) + coalesce(m.sum, 0) AS fault
  FROM ledger.account a
  LEFT JOIN ledger.begun o ON o.book_id = a.book_id AND o.account_id = a.id
  LEFT JOIN (SELECT book_id, id, sum(units) AS sum
               FROM (SELECT book_id, credit_id AS id, units FROM ledger.transfer WHERE credit_id IS NOT NULL
                     UNION ALL
                     SELECT book_id, debit_id, -units FROM ledger.transfer WHERE credit_id IS NOT NULL) AS ends
              GROUP BY book_id, id) m ON m.book_id = a.book_id AND m.id = a.id
 WHERE a.balance <> coalesce(o.balance, 0) + coalesce(m.sum, 0)
 LIMIT 100

-- name: sweep_L4
SELECT 'account ' || code || ' ' || asset AS subject, 'its balance ' || balance || ' less ' || held || ' held is below its floor ' || floor AS fault
  FROM ledger.account WHERE balance - held < floor LIMIT 100

-- name: sweep_L5
-- Every journal and every refusal has its key, and every key one of them, unless that is archived.
SELECT 'journal key ' || key AS subject, count(j.id) || ' journals and ' || count(r.id) || ' refusals have it' AS fault
  FROM (SELECT y.* FROM ledger.key y LEFT JOIN ledger.cut c USING (book_id) WHERE c.until IS NULL OR y.id >= c.until) AS k
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
      FULL JOIN (SELECT book_id, hold_id, min(account_id::text) AS account, max(account_id::text) AS other, min(asset) AS asset,
                        sum(made) AS units, sum(rest) AS remaining, max(expires_at) AS expires_at, max(journal_id::text) AS journal
                   FROM (SELECT book_id, hold_id, debit_id AS account_id, asset, CASE kind WHEN 'hold' THEN units ELSE 0 END AS made,
                                CASE kind WHEN 'hold' THEN units ELSE -units END AS rest, expires_at, CASE kind WHEN 'hold' THEN journal_id END AS journal_id
                           FROM ledger.transfer WHERE hold_id IS NOT NULL
                          UNION ALL -- made in a month that went: what was left of it then
                         SELECT b.book_id, b.id, b.account_id, b.asset, b.units, coalesce(r.remaining, 0), b.expires_at, b.journal_id
                           FROM ledger.hold b
                           JOIN ledger.cut c ON c.book_id = b.book_id AND b.journal_id < c.until
                           LEFT JOIN ledger.reserved r ON r.book_id = b.book_id AND r.until = c.until AND r.hold_id = b.id) AS every
                  GROUP BY 1, 2) t ON t.book_id = h.book_id AND t.hold_id = h.id
     WHERE (h.account_id::text, h.account_id::text, h.asset, h.units, h.remaining, h.expires_at, h.journal_id::text)
           IS DISTINCT FROM (t.account, t.other, t.asset, t.units, t.remaining, t.expires_at, t.journal)
     LIMIT 100) AS holds

-- name: sweep_L7
-- The head of a book is its newest entry, and every standing is what the transfers until then make of its account.
SELECT 'book ' || h.book_id AS subject, 'its head is ' || h.id || ', its newest entry ' || coalesce(n.id, 'none') AS fault
  FROM ledger.head h
  LEFT JOIN (SELECT book_id, max(id::text) AS id
               FROM (SELECT book_id, id FROM ledger.journal UNION ALL SELECT book_id, id FROM ledger.refusal
                      UNION ALL SELECT book_id, last FROM ledger.cut) AS e GROUP BY book_id) AS n USING (book_id)
 WHERE h.id::text <> coalesce(n.id, '00000000-0000-0000-0000-000000000000')
UNION ALL
SELECT * FROM (
    SELECT 'standing ' || id || ' of account ' || account_id, 'it says ' || balance || ' and ' || held || ' held, the transfers until then make ' || sums || ' and ' || helds
      FROM (SELECT book_id, account_id, id, balance, held, is_standing,
                   sum(moves) OVER w AS sums, sum(holds) OVER w AS helds
              FROM (SELECT book_id, debit_id AS account_id, journal_id AS id, NULL::bigint AS balance, NULL::bigint AS held, false AS is_standing,
                           CASE WHEN credit_id IS NULL THEN 0 ELSE -units END AS moves,
                           CASE kind WHEN 'move' THEN 0 WHEN 'hold' THEN units ELSE -units END AS holds
                      FROM ledger.transfer
                     UNION ALL
                    SELECT book_id, credit_id, journal_id, NULL, NULL, false, units, 0 FROM ledger.transfer WHERE credit_id IS NOT NULL
                     UNION ALL
                    SELECT book_id, account_id, until, NULL, NULL, false, balance, held FROM ledger.begun
                     UNION ALL
                    SELECT book_id, account_id, id, balance, held, true, 0, 0 FROM ledger.standing) AS every
            WINDOW w AS (PARTITION BY book_id, account_id ORDER BY id, is_standing)) AS run
     WHERE is_standing AND (balance <> sums OR held <> helds)
     LIMIT 100) AS wrong
UNION ALL
SELECT * FROM (
    SELECT 'standing ' || s.id || ' of account ' || s.account_id, 'no batch ended there'
      FROM ledger.standing s
      LEFT JOIN ledger.journal j ON j.book_id = s.book_id AND j.id = s.id
      LEFT JOIN ledger.refusal r ON r.book_id = s.book_id AND r.id = s.id
     WHERE j.id IS NULL AND r.id IS NULL
     LIMIT 100) AS nowhere
UNION ALL
SELECT * FROM (
    SELECT 'account ' || a.code || ' ' || a.asset, 'its last standing says ' || coalesce(s.balance, 0) || ', it says ' || a.balance
      FROM ledger.account a
      LEFT JOIN (SELECT DISTINCT ON (book_id, account_id) book_id, account_id, balance, held FROM ledger.stood
                  ORDER BY book_id, account_id, id DESC) AS s ON s.book_id = a.book_id AND s.account_id = a.id
     WHERE (a.balance, a.held) <> (coalesce(s.balance, 0), coalesce(s.held, 0))
     LIMIT 100) AS last

-- name: sweep_L8
-- What is closed: accounts and books say what their journals decided, nothing moved in them since, and closings are what their periods did.
SELECT 'account ' || a.code || ' ' || a.asset AS subject, 'it is ' || CASE WHEN a.closed THEN 'closed' ELSE 'open' END || ', which no journal says' AS fault
  FROM ledger.account a
  LEFT JOIN (SELECT DISTINCT ON (book_id, about) book_id, about, id, rule FROM ledger.journal WHERE rule IN ('account_closed', 'account_opened')
              ORDER BY book_id, about, id DESC) AS j ON j.book_id = a.book_id AND j.about = a.id
  LEFT JOIN ledger.begun o ON o.book_id = a.book_id AND o.account_id = a.id
 WHERE a.closed <> coalesce(j.rule = 'account_closed', o.closed, false) OR (a.closed AND (a.balance, a.held) <> (0, 0))
UNION ALL
SELECT 'book ' || h.book_id, 'it is open from ' || coalesce(h.open_from::text, 'ever') || ', its journals say ' || coalesce(j.at::text, 'ever')
  FROM ledger.head h
  LEFT JOIN (SELECT book_id, max(at) AS at FROM ledger.journal WHERE rule = 'period_closed' GROUP BY book_id) AS j USING (book_id)
 WHERE h.open_from IS DISTINCT FROM j.at
UNION ALL
SELECT * FROM (
    SELECT 'closing ' || coalesce(k.until, p.until) || ' of account ' || coalesce(k.account_id, p.account_id),
           'it says ' || coalesce(k.balance::text, 'nothing') || ', its period makes ' || coalesce(p.balance::text, 'nothing')
      FROM (SELECT y.* FROM ledger.closing y LEFT JOIN ledger.cut c USING (book_id) WHERE c.closed IS NULL OR y.until > c.closed) AS k
      FULL JOIN (SELECT j.book_id, j.at AS until, j.id AS journal_id, c.account_id, c.debits, c.credits, c.balance
                   FROM (SELECT book_id, id, at, lag(at) OVER (PARTITION BY book_id ORDER BY id) AS since FROM ledger.journal WHERE rule = 'period_closed') AS j
                   LEFT JOIN ledger.cut t ON t.book_id = j.book_id
                  CROSS JOIN LATERAL ledger.period(j.book_id, j.since, j.at) AS c
                  WHERE t.closed IS NULL OR j.at > t.closed) AS p
        ON p.book_id = k.book_id AND p.until = k.until AND p.account_id = k.account_id
     WHERE (k.debits, k.credits, k.balance, k.journal_id) IS DISTINCT FROM (p.debits, p.credits, p.balance, p.journal_id)
     LIMIT 100) AS closings

-- name: sweep_L10
-- What stays of months that went is what was recorded when they did, and nothing was written in them since.
SELECT 'book ' || c.book_id AS subject, 'what stays of its archived months is not what was recorded' AS fault
  FROM ledger.cut c
 WHERE c.proof <> ledger.proof(c.book_id, c.until, c.last, c.seal, c.after, c.hash, c.leaves, c.closed)
UNION ALL
SELECT * FROM (
    SELECT 'entry ' || e.id, 'its month is archived, and it is in the book'
      FROM (SELECT id FROM ledger.journal UNION ALL SELECT id FROM ledger.refusal UNION ALL SELECT journal_id FROM ledger.transfer) AS e
     WHERE e.id < (SELECT b.id FROM ledger.boundary b)
     LIMIT 100) AS strange

-- name: sweep_L9
SELECT 'clearing accounts of ' || asset AS subject, 'they and the open orders add up to ' || sum(units) AS fault
  FROM (SELECT asset, balance AS units FROM ledger.account WHERE code LIKE 'clearing:%'
         UNION ALL
        SELECT asset, -units FROM ledger.order) AS owed
 GROUP BY asset HAVING sum(units) <> 0

-- name: posted_books
-- Books in which something was posted after their window began.
SELECT DISTINCT h.book_id, h.book_id AS id, h.book_id AS about
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN ledger.head h ON h.book_id = w.book_id AND h.id > w.after

-- name: audit_clearing
-- What a book owes the platform ($4, as characters $5) is what the platform has it owe, and what is ordered.
SELECT e.book_id, 'book' AS kind, e.book_id AS id, 'what it owes the platform is not what is ordered' AS fault, '0 ' || e.asset AS expected,
       sum(e.units) || ' ' || e.asset || ': it says ' || coalesce(sum(e.units) FILTER (WHERE e.what = 'it'), 0)
       || ', the platform ' || coalesce(sum(e.units) FILTER (WHERE e.what = 'platform'), 0)
       || ', orders ' || coalesce(sum(e.units) FILTER (WHERE e.what = 'ordered'), 0) AS found
  FROM (SELECT k.book_id, 'it' AS what, a.asset, a.balance AS units
          FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
         CROSS JOIN LATERAL (SELECT a.asset, a.balance FROM ledger.account a
                              WHERE a.code = 'clearing:' || $5::text AND a.book_id = k.book_id AND a.code LIKE 'clearing:%' OFFSET 0) AS a
         UNION ALL
        SELECT k.book_id, 'platform', a.asset, a.balance
          FROM unnest($1::uuid[], $3::text[]) AS k (book_id, shown)
         CROSS JOIN LATERAL (SELECT a.asset, a.balance FROM ledger.account a
                              WHERE a.code = 'clearing:' || k.shown AND a.book_id = $4 AND a.code LIKE 'clearing:%' OFFSET 0) AS a
         UNION ALL
        SELECT o.from_book, 'ordered', o.asset, -o.units FROM ledger.order o WHERE o.book_id = $4 AND o.from_book = ANY ($1::uuid[])) AS e
 GROUP BY e.book_id, e.asset HAVING sum(e.units) <> 0

-- name: audit_orders
-- Nothing that is ordered waits for long: somebody posts it, or it was refused.
SELECT o.from_book AS book_id, 'book' AS kind, o.from_book AS id, 'its orders wait for more than a minute' AS fault, 'none' AS expected,
       count(*) || ' since ' || min(o.made_at) || coalesce(', refused: ' || min(o.problem), '') AS found
  FROM ledger.order o
 WHERE o.made_at < now() - interval '1 minute'
   AND o.from_book = ANY (ARRAY(SELECT w.book_id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)))
 GROUP BY o.from_book

-- name: touched_journals
SELECT j.book_id, j.id
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN ledger.journal j ON j.book_id = w.book_id AND j.id > w.after AND j.id <= w.upto
 UNION
SELECT t.book_id, t.journal_id
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (book_id, after, upto)
  JOIN ledger.transfer t ON t.book_id = w.book_id AND t.journal_id > w.after AND t.journal_id <= w.upto

-- name: audit_journals
-- Each journal has its key, and is what its digest says (model.Journal.digest).
SELECT k.book_id, 'journal' AS kind, k.id,
       CASE WHEN j.id IS NULL THEN 'transfers have no journal' WHEN y.id IS NULL THEN 'its key does not lead to it'
            ELSE 'its transfers are not those that were posted' END AS fault,
       encode(y.digest, 'hex') AS expected, concat_ws(' ', j.key, j.rule, l.units) AS found
  FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
  LEFT JOIN ledger.journal j ON j.book_id = k.book_id AND j.id = k.id
  LEFT JOIN ledger.key y ON y.book_id = j.book_id AND y.key = j.key AND y.id = j.id AND y.refused IS NULL
 CROSS JOIN LATERAL (
       SELECT string_agg(ledger.said(t.kind, d.code, t.asset, c.code, c.asset, t.hold_id), '' ORDER BY t.line) AS lines,
                   string_agg(CASE WHEN t.kind IN ('rest', 'expire') THEN '*' ELSE t.units::text END, ',' ORDER BY t.line) AS units
         FROM ledger.transfer t
        CROSS JOIN LATERAL (SELECT a.code FROM ledger.account a WHERE a.book_id = t.book_id AND a.id = t.debit_id OFFSET 0) d
         LEFT JOIN LATERAL (SELECT a.code, a.asset FROM ledger.account a WHERE a.book_id = t.book_id AND a.id = t.credit_id OFFSET 0) c ON true
        WHERE t.book_id = k.book_id AND t.journal_id = k.id) l
 WHERE y.digest IS DISTINCT FROM ledger.digest(j.rule, l.lines, l.units) OR y.digest IS NULL

-- name: audit_balances
-- From where an account stood before these journals their transfers lead to each standing since, and it stands where the last one says.
-- The journals are all that their books have between two milliseconds, and no batch is cut by one.
WITH ends AS (
    SELECT t.book_id, n.id, t.journal_id AS at, n.balance, n.held, k.first, k.last
      FROM (SELECT k.*, first_value(k.id) OVER book AS first, last_value(k.id) OVER book AS last
              FROM unnest($1::uuid[], $2::uuid[]) AS k (book_id, id)
            WINDOW book AS (PARTITION BY k.book_id ORDER BY k.id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS k
      JOIN ledger.transfer t ON t.book_id = k.book_id AND t.journal_id = k.id
     CROSS JOIN LATERAL (VALUES
           (t.debit_id, CASE WHEN t.kind IN ('move', 'capture') THEN -t.units ELSE 0 END,
            CASE t.kind WHEN 'move' THEN 0 WHEN 'hold' THEN t.units ELSE -t.units END),
           (t.credit_id, t.units, 0)) AS n (id, balance, held)
     WHERE n.id IS NOT NULL),
touched AS (
    SELECT book_id, id, platform.id_at(uuid_extract_timestamp(first)) AS after, platform.id_at(uuid_extract_timestamp(last) + interval '1 ms') AS upto
      FROM ends GROUP BY book_id, id, first, last),
course AS (
    SELECT book_id, id, stood, sum(balance) OVER past AS balance, sum(held) OVER past AS held, stood_balance, stood_held
      FROM (SELECT book_id, id, at, false AS stood, balance, held, NULL::bigint AS stood_balance, NULL::bigint AS stood_held FROM ends
             UNION ALL
            SELECT w.book_id, w.id, w.after, false, s.balance, s.held, NULL, NULL
              FROM touched w CROSS JOIN LATERAL (
                   SELECT s.balance, s.held FROM ledger.stood s
                    WHERE s.book_id = w.book_id AND s.account_id = w.id AND s.id < w.after ORDER BY s.id DESC LIMIT 1) s
             UNION ALL
            SELECT w.book_id, w.id, s.id, true, 0, 0, s.balance, s.held
              FROM touched w JOIN ledger.standing s ON s.book_id = w.book_id AND s.account_id = w.id AND s.id >= w.after AND s.id < w.upto) AS step
    WINDOW past AS (PARTITION BY book_id, id ORDER BY at, stood))
SELECT DISTINCT book_id, 'account' AS kind, id, 'its transfers do not lead from one standing to the next' AS fault,
       first_value(concat_ws(' ', balance, 'held', held)) OVER account AS expected,
       first_value(concat_ws(' ', stood_balance, 'held', stood_held)) OVER account AS found
  FROM course
 WHERE stood AND (balance, held) IS DISTINCT FROM (stood_balance, stood_held)
WINDOW account AS (PARTITION BY book_id, id)
 UNION ALL
SELECT w.book_id, 'account', w.id, 'it is not where its last batch left it',
       concat_ws(' ', s.balance, 'held', s.held), concat_ws(' ', a.code, a.balance, 'held', a.held)
  FROM touched w
  LEFT JOIN ledger.account a ON a.book_id = w.book_id AND a.id = w.id
  LEFT JOIN LATERAL (SELECT s.balance, s.held FROM ledger.standing s
                      WHERE s.book_id = w.book_id AND s.account_id = w.id ORDER BY s.id DESC LIMIT 1) s ON true
 WHERE (a.balance, a.held) IS DISTINCT FROM (s.balance, s.held)

-- name: story_of_journal
SELECT j.about FROM unnest($1::uuid[]) AS b (book_id) JOIN ledger.journal j ON j.book_id = b.book_id AND j.id = $2

-- name: story_journals
-- By key ($1, $2), which are found whenever they were booked, and by id ($3, $4).
WITH wanted AS (
    SELECT k.book_id, k.key, k.id, k.refused
      FROM unnest($1::uuid[], $2::text[]) AS w (book_id, key) JOIN ledger.key k USING (book_id, key)
     UNION
    SELECT j.book_id, j.key, j.id, NULL
      FROM unnest($3::uuid[], $4::uuid[]) AS w (book_id, id) JOIN ledger.journal j USING (book_id, id))
SELECT w.book_id, w.key, w.id, w.refused, platform.at_of(w.id) AS booked_at, j.rule, j.at, t.line, t.kind, d.code AS debit, c.code AS credit,
       t.asset, t.units
  FROM wanted w
  LEFT JOIN ledger.journal j ON j.book_id = w.book_id AND j.id = w.id AND j.key = w.key
  LEFT JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
  LEFT JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id
 ORDER BY w.id, t.line
 LIMIT $5

-- name: story_orders
SELECT o.* FROM unnest($1::uuid[], $2::text[]) AS w (book_id, key) JOIN ledger.order o USING (book_id, key) ORDER BY o.made_at
