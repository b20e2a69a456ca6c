-- The book.  See guilder/ledger/__init__.py for the invariants L1 to L10.
--
-- The application's role reads, and calls two doors: lock() and posting.  It has no INSERT, UPDATE or DELETE on any table here: balances,
-- holds and standings are moved by PostgreSQL itself, from the transfers that are written, so that SQL cannot unbalance a book either.
CREATE SCHEMA ledger;
CREATE SCHEMA archive; -- months that were detached

-- One row a book: whoever posts in it holds this row until he commits.  So ids rise in the order of commits, book by book.
CREATE TABLE ledger.head (
    book_id   uuid PRIMARY KEY,
    id        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the newest id in the book
    open_from timestamptz                -- what moved before that is closed; NULL: nothing is
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE ledger.account (
    book_id  uuid    NOT NULL,
    id       uuid    NOT NULL,           -- derived from book, code and asset
    code     text    NOT NULL,           -- 'receivable:06b2…', see chart.py
    asset    text    NOT NULL,
    normal   text    NOT NULL CHECK (normal IN ('debit', 'credit')),
    floor    bigint,                     -- L4; NULL: may go anywhere
    opened   uuid    NOT NULL,           -- an id of its time: seals find it by that
    closed   boolean NOT NULL DEFAULT false,
    balance  bigint  NOT NULL DEFAULT 0, -- L3; credits - debits
    held     bigint  NOT NULL DEFAULT 0, -- L6; reserved by holds
    PRIMARY KEY (book_id, id),
    CONSTRAINT "L4 floor" CHECK (floor IS NULL OR balance - held >= floor),
    CONSTRAINT "L6 held" CHECK (held >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01); -- balances are updated in place: keep them HOT

CREATE TABLE ledger.journal (
    book_id       uuid        NOT NULL,
    id            uuid        NOT NULL,  -- tells when it was booked, too
    key           text        NOT NULL,  -- L5; 'charge:06b2…'
    rule          text        NOT NULL,  -- which event booked it
    about         uuid        NOT NULL,  -- charge, refund or attempt
    root_id       uuid        NOT NULL,
    business_line text        NOT NULL,
    at            timestamptz NOT NULL,  -- when the money moved
    reverses      uuid,                  -- the journal that this one takes back
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);

CREATE TABLE ledger.transfer (
    book_id    uuid     NOT NULL,
    journal_id uuid     NOT NULL,
    line       smallint NOT NULL,
    kind       text     NOT NULL,        -- 'move', or what it does to a hold: 'hold', 'capture', 'release', 'rest', 'expire'
    debit_id   uuid     NOT NULL,        -- the account that gives, or whose units are held
    credit_id  uuid,
    asset      text     NOT NULL,
    units      bigint   NOT NULL,
    hold_id    uuid,
    expires_at timestamptz,              -- of a hold that does not last for ever
    PRIMARY KEY (book_id, journal_id, line),
    CONSTRAINT "L1 something moves" CHECK (units > 0),
    CONSTRAINT "L1 two ends" CHECK (debit_id <> credit_id),
    CONSTRAINT "L1 ends by kind" CHECK (CASE kind
        WHEN 'move' THEN credit_id IS NOT NULL AND hold_id IS NULL
        WHEN 'capture' THEN credit_id IS NOT NULL AND hold_id IS NOT NULL
        ELSE kind IN ('hold', 'release', 'rest', 'expire') AND credit_id IS NULL AND hold_id IS NOT NULL END)
) PARTITION BY RANGE (journal_id);

-- What a journal says beside its money, out of the way of those who count.
CREATE TABLE ledger.note (
    book_id    uuid NOT NULL,
    journal_id uuid NOT NULL,
    text       text NOT NULL,            -- JSON: {"description": …, "metadata": {…}, "rate": …}
    PRIMARY KEY (book_id, journal_id)
) PARTITION BY RANGE (journal_id);

-- Journals that were refused.  Their keys stay refused for ever.
CREATE TABLE ledger.refusal (
    book_id uuid        NOT NULL,
    id      uuid        NOT NULL,
    key     text        NOT NULL,
    rule    text        NOT NULL,
    code    text        NOT NULL,        -- 'insufficient_funds'
    about   uuid        NOT NULL,
    root_id uuid        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);

-- L5: which journal, or which refusal, a key has.  Kept when old partitions of journals go.
CREATE TABLE ledger.key (
    book_id uuid  NOT NULL,
    key     text  NOT NULL,
    id      uuid  NOT NULL,              -- of the journal or the refusal
    digest  bytea NOT NULL,              -- of the rule and the transfers: 16 bytes what moves between whom, 8 bytes how much
    refused text,                        -- NULL: it is in the book
    CONSTRAINT "L5 one key, one answer" PRIMARY KEY (book_id, key)
);

CREATE TABLE ledger.hold (
    book_id    uuid   NOT NULL,
    id         uuid   NOT NULL,
    account_id uuid   NOT NULL,
    asset      text   NOT NULL,
    units      bigint NOT NULL,
    remaining  bigint NOT NULL,          -- L6; units - captured - released
    expires_at timestamptz,
    journal_id uuid   NOT NULL,          -- that made it
    PRIMARY KEY (book_id, id),
    CONSTRAINT "L6 remaining" CHECK (remaining BETWEEN 0 AND units)
) WITH (fillfactor = 70);
CREATE INDEX hold_expires ON ledger.hold (expires_at) WHERE remaining > 0;

-- What an account stood at after each batch that touched it: a balance of any instant is one row of this.
CREATE TABLE ledger.standing (
    book_id    uuid   NOT NULL,
    account_id uuid   NOT NULL,
    id         uuid   NOT NULL,          -- the newest in the book when the batch ended
    balance    bigint NOT NULL,
    held       bigint NOT NULL,
    PRIMARY KEY (book_id, account_id, id)
) PARTITION BY RANGE (id);

-- Tamper evidence: what was written in a book between two ids, hashed after the fact, each seal over the one before.
CREATE TABLE ledger.seal (
    book_id uuid        NOT NULL,
    n       bigint      NOT NULL,        -- 1, 2, 3 … without gaps
    after   uuid        NOT NULL,        -- the seal is over what is in the book after this id …
    last    uuid        NOT NULL,        -- … up to this one
    entries integer     NOT NULL,        -- journals, refusals and opened accounts
    marks   bytea       NOT NULL,        -- the first four bytes of each entry's hash: they tell which one was changed
    at      timestamptz NOT NULL,
    hash    bytea       NOT NULL,        -- sha256, see seal_hash()
    PRIMARY KEY (book_id, n)
);
CREATE INDEX account_opened ON ledger.account (opened, book_id);
CREATE INDEX account_clearing ON ledger.account (code, book_id) WHERE code LIKE 'clearing:%';

-- What a book is to post because another one owes it: written with the journal that owes it, gone with the journal that posts it (L9).
CREATE TABLE ledger.order (
    book_id       uuid        NOT NULL,  -- where it is to be posted
    key           text        NOT NULL,  -- the journal's, and it is posted once; 'fee:06b2…'
    from_book     uuid        NOT NULL,  -- who owes it: the journal is from its clearing account
    rule          text        NOT NULL,
    credit        text        NOT NULL,  -- the account that gets it, by its code
    asset         text        NOT NULL,
    units         bigint      NOT NULL CHECK (units > 0),
    about         uuid        NOT NULL,
    root_id       uuid        NOT NULL,
    business_line text        NOT NULL,
    at            timestamptz NOT NULL,  -- when the money moved
    made_at       timestamptz NOT NULL,
    run_at        timestamptz,           -- not before this, after a refusal
    problem       text,                  -- why it was refused
    PRIMARY KEY (book_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.01); -- comes and goes

-- What each account stood at when a period was closed, by when the money moved.
CREATE TABLE ledger.closing (
    book_id    uuid        NOT NULL,
    until      timestamptz NOT NULL,     -- the first instant after the period
    account_id uuid        NOT NULL,
    debits     bigint      NOT NULL,     -- of the period
    credits    bigint      NOT NULL,
    balance    bigint      NOT NULL,     -- at its end
    journal_id uuid        NOT NULL,     -- that closed it
    PRIMARY KEY (book_id, until, account_id)
);

-- Months that are out of the book, in the schema `archive` (L10), each by where it ends: ids before that are there.
CREATE TABLE ledger.archived (
    until uuid PRIMARY KEY
);

-- What a book was where a month ended that went: what proves the rest of it without the month.  It never changes: a month that comes back
-- and goes again finds it there.
CREATE TABLE ledger.detached (
    book_id uuid        NOT NULL,
    until   uuid        NOT NULL,        -- ids before this went
    last    uuid        NOT NULL,        -- the last entry of them
    seal    bigint      NOT NULL,        -- the last seal that ends before it; 0: none
    after   uuid        NOT NULL,        -- where that ends
    hash    bytea       NOT NULL,        -- and its hash
    leaves  bytea       NOT NULL,        -- the hashes of those entries of the next seal that went
    closed  timestamptz NOT NULL,        -- closings up to this one stand as they are; those after it can be derived
    proof   bytea       NOT NULL,        -- over all this, and whatever stays of the months that went: see proof()
    PRIMARY KEY (book_id, until)
);

-- What an account stood at there, if something happened to it in the month.
CREATE TABLE ledger.opening (
    book_id    uuid    NOT NULL,
    account_id uuid    NOT NULL,
    until      uuid    NOT NULL,
    balance    bigint  NOT NULL,
    held       bigint  NOT NULL,
    closed     boolean NOT NULL,
    PRIMARY KEY (book_id, account_id, until)
);

-- What a hold had left there, if anything.
CREATE TABLE ledger.reserved (
    book_id   uuid   NOT NULL,
    until     uuid   NOT NULL,
    hold_id   uuid   NOT NULL,
    remaining bigint NOT NULL,
    PRIMARY KEY (book_id, until, hold_id)
);

-- What has a lower id is in the archive; no row: nothing is.
CREATE VIEW ledger.boundary AS SELECT a.until AS id FROM ledger.archived a ORDER BY a.until DESC LIMIT 1;

-- Of each book that lost a month the latest record.
CREATE VIEW ledger.cut AS
SELECT DISTINCT ON (d.book_id) d.* FROM ledger.detached d WHERE d.until <= (SELECT b.id FROM ledger.boundary b) ORDER BY d.book_id, d.until DESC;

-- What each account begins with, before what is in the book now.
CREATE VIEW ledger.begun AS
SELECT DISTINCT ON (o.book_id, o.account_id) o.* FROM ledger.opening o WHERE o.until <= (SELECT b.id FROM ledger.boundary b) ORDER BY o.book_id, o.account_id, o.until DESC;

-- Standings, and what stays of those that went: an opening is one at its boundary.
CREATE VIEW ledger.stood AS
SELECT s.book_id, s.account_id, s.id, s.balance, s.held FROM ledger.standing s
 UNION ALL
SELECT o.book_id, o.account_id, o.until, o.balance, o.held FROM ledger.opening o WHERE o.until <= (SELECT b.id FROM ledger.boundary b);

CREATE FUNCTION ledger.written_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'L2: %.% is written once; % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END $$;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['journal', 'transfer', 'note', 'refusal', 'key', 'standing', 'seal', 'closing', 'detached', 'opening', 'reserved'] LOOP
        EXECUTE format('CREATE TRIGGER "L2 written once" BEFORE UPDATE OR DELETE ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.written_once()', name);
        EXECUTE format('CREATE TRIGGER "L2 never emptied" BEFORE TRUNCATE ON ledger.%I EXECUTE FUNCTION ledger.written_once()', name);
    END LOOP;
END $$;

SELECT platform.grow(100);

INSERT INTO platform.retention (name, reason)
SELECT 'ledger.' || t, 'the book: by law and for its own proof nothing of it is let go of; closed months may be detached'
  FROM unnest(ARRAY['account', 'journal', 'transfer', 'note', 'refusal', 'key', 'hold', 'standing', 'seal', 'closing',
                    'detached', 'opening', 'reserved']) AS t;

-- Lock books for a batch, in their order, and read what decides it: heads, accounts, keys, holds.  A later statement of a volatile function
-- sees what was committed while an earlier one waited; that is why this is one.  Whoever waits for a book waits in a queue: of a row that
-- was just updated, who comes next finds the new version before who waits for the old one does, and takes it from him.
CREATE FUNCTION ledger.lock(books uuid[], account_books uuid[], accounts uuid[], key_books uuid[], keys text[], hold_books uuid[], holds uuid[])
RETURNS TABLE (what text, book_id uuid, id uuid, n bigint, m bigint, f bigint, word text, bytes bytea, at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(b.queue) FROM (SELECT DISTINCT uuid_hash_extended(b, 7172) AS queue FROM unnest(books) AS b ORDER BY 1) AS b;
    SELECT count(*) INTO found FROM (
        SELECT FROM ledger.head h JOIN unnest(books) AS b (book_id) USING (book_id) ORDER BY h.book_id FOR NO KEY UPDATE OF h) AS locked;
    IF found < cardinality(books) THEN
        INSERT INTO ledger.head (book_id) SELECT DISTINCT b FROM unnest(books) AS b ORDER BY b ON CONFLICT DO NOTHING;
        PERFORM FROM ledger.head h JOIN unnest(books) AS b (book_id) USING (book_id) ORDER BY h.book_id FOR NO KEY UPDATE OF h;
    END IF;
    RETURN QUERY SELECT 'head', h.book_id, h.id, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text, NULL::bytea, h.open_from
                   FROM unnest(books) AS b (book_id) JOIN ledger.head h USING (book_id);
    RETURN QUERY SELECT CASE WHEN a.closed THEN 'closed' ELSE 'account' END, a.book_id, a.id, a.balance, a.held, a.floor, NULL::text, NULL::bytea, NULL::timestamptz
                   FROM unnest(account_books, accounts) AS w (book_id, id) JOIN ledger.account a USING (book_id, id);
    IF cardinality(keys) > 0 THEN
        RETURN QUERY SELECT coalesce(k.refused, ''), k.book_id, k.id, NULL::bigint, NULL::bigint, NULL::bigint, k.key, k.digest, NULL::timestamptz
                       FROM unnest(key_books, keys) AS w (book_id, key) JOIN ledger.key k USING (book_id, key);
    END IF;
    IF cardinality(holds) > 0 THEN
        RETURN QUERY SELECT 'hold', h.book_id, h.id, h.remaining, NULL::bigint, NULL::bigint, NULL::text, uuid_send(h.account_id), h.expires_at
                       FROM unnest(hold_books, holds) AS w (book_id, id) JOIN ledger.hold h USING (book_id, id);
    END IF;
END $$;

-- The one way in: a row of this view is a batch, and inserting it writes what it holds and moves what that moves.
CREATE VIEW ledger.posting AS
SELECT NULL::uuid[] AS books, NULL::uuid[] AS heads, -- each book's newest id after this batch
       NULL::ledger.journal[] AS journals, NULL::ledger.key[] AS keys, NULL::ledger.transfer[] AS transfers,
       NULL::ledger.refusal[] AS refusals, NULL::ledger.note[] AS notes,
       NULL::uuid[] AS decisions,       -- those journals that move nothing and close or open something
       NULL::ledger.order[] AS orders,  -- what its journals have other books post
       NULL::uuid[] AS befores          -- each book's newest id when it was judged, if that was before it was locked
 WHERE false;

CREATE FUNCTION ledger.write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    befores uuid[]; -- each book's newest id until now
    written bigint; done bigint; moved bigint; holds boolean; clears boolean;
BEGIN
    SELECT array_agg(h.id ORDER BY w.n) INTO befores
      FROM (SELECT h.book_id, h.id FROM ledger.head h WHERE h.book_id = ANY (NEW.books) ORDER BY h.book_id FOR NO KEY UPDATE) AS h
      JOIN unnest(NEW.books) WITH ORDINALITY AS w (book_id, n) USING (book_id);
    IF NEW.befores IS NOT NULL THEN -- whatever changes a book moves its head
        PERFORM platform.insist(befores = NEW.befores);
    END IF;
    UPDATE ledger.head h SET id = b.head FROM unnest(NEW.books, NEW.heads) AS b (book_id, head) WHERE h.book_id = b.book_id AND b.head > h.id;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> cardinality(NEW.books) THEN
        RAISE EXCEPTION 'a batch comes after what is in its book: % of % books were locked, and each once', done, cardinality(NEW.books);
    END IF;

    INSERT INTO ledger.journal
    SELECT j.* FROM unnest(NEW.journals) AS j, unnest(NEW.books, befores, NEW.heads) AS b (book_id, before, head)
     WHERE j.book_id = b.book_id AND j.id > b.before AND j.id <= b.head;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> cardinality(NEW.journals) THEN
        RAISE EXCEPTION 'L2: a batch writes after what is in its book, and nowhere else';
    END IF;
    IF cardinality(NEW.keys) <> cardinality(NEW.journals) + cardinality(NEW.refusals) THEN
        RAISE EXCEPTION 'L5: every journal and every refusal has its key';
    END IF;
    INSERT INTO ledger.key
    SELECT k.* FROM unnest(NEW.keys) AS k, unnest(NEW.books, befores, NEW.heads) AS b (book_id, before, head)
     WHERE k.book_id = b.book_id AND k.id > b.before AND k.id <= b.head;
    GET DIAGNOSTICS written = ROW_COUNT;
    INSERT INTO ledger.refusal
    SELECT r.* FROM unnest(NEW.refusals) AS r, unnest(NEW.books, befores, NEW.heads) AS b (book_id, before, head)
     WHERE r.book_id = b.book_id AND r.id > b.before AND r.id <= b.head;
    GET DIAGNOSTICS moved = ROW_COUNT;
    INSERT INTO ledger.note
    SELECT n.* FROM unnest(NEW.notes) AS n, unnest(NEW.books, befores, NEW.heads) AS b (book_id, before, head)
     WHERE n.book_id = b.book_id AND n.journal_id > b.before AND n.journal_id <= b.head;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF written <> cardinality(NEW.keys) OR moved <> cardinality(NEW.refusals) OR done <> cardinality(NEW.notes) THEN
        RAISE EXCEPTION 'L2: a batch writes after what is in its book, and nowhere else';
    END IF;

    -- Each account once, by its sum: no row is updated twice in a transaction.
    WITH wrote AS (
        INSERT INTO ledger.transfer
        SELECT t.* FROM unnest(NEW.transfers) AS t, unnest(NEW.books, befores, NEW.heads) AS b (book_id, before, head)
         WHERE t.book_id = b.book_id AND t.journal_id > b.before AND t.journal_id <= b.head
        RETURNING book_id, kind, debit_id, credit_id, asset, units),
    ends AS (
        SELECT w.book_id, w.debit_id AS id, w.asset,
               sum(CASE WHEN w.kind IN ('move', 'capture') THEN -w.units ELSE 0 END) AS balance,
               sum(CASE w.kind WHEN 'move' THEN 0 WHEN 'hold' THEN w.units ELSE -w.units END) AS held
          FROM wrote w GROUP BY 1, 2, 3
         UNION ALL
        SELECT w.book_id, w.credit_id, w.asset, sum(w.units), 0
          FROM wrote w WHERE w.credit_id IS NOT NULL GROUP BY 1, 2, 3),
    sums AS (SELECT book_id, id, asset, sum(balance) AS balance, sum(held) AS held FROM ends GROUP BY 1, 2, 3),
    changed AS (
        UPDATE ledger.account a SET balance = a.balance + s.balance, held = a.held + s.held
          FROM sums s WHERE a.book_id = s.book_id AND a.id = s.id AND a.asset = s.asset AND NOT a.closed
        RETURNING a.book_id, a.id, a.balance, a.held, a.code),
    stood AS (
        INSERT INTO ledger.standing
        SELECT c.book_id, c.id, b.head, c.balance, c.held FROM changed c JOIN unnest(NEW.books, NEW.heads) AS b (book_id, head) USING (book_id)
        RETURNING 1)
    SELECT (SELECT count(*) FROM wrote), (SELECT bool_or(w.kind <> 'move') FROM wrote w), (SELECT count(*) FROM sums), (SELECT count(*) FROM stood),
           (SELECT bool_or(c.code LIKE 'clearing:%') FROM changed c)
      INTO written, holds, moved, done, clears;
    IF written <> cardinality(NEW.transfers) THEN
        RAISE EXCEPTION 'L2: a batch writes after what is in its book, and nowhere else';
    END IF;
    IF done <> moved THEN
        RAISE EXCEPTION 'L1: an end of a transfer is missing, closed, or of another asset';
    END IF;

    IF holds THEN
        PERFORM ledger.move_holds(NEW.transfers);
    END IF;
    IF clears OR cardinality(NEW.orders) > 0 THEN
        PERFORM ledger.keep_orders(NEW.journals, NEW.transfers, NEW.orders);
    END IF;
    IF cardinality(NEW.decisions) > 0 THEN
        PERFORM ledger.decide(NEW.decisions, NEW.journals);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER write INSTEAD OF INSERT ON ledger.posting FOR EACH ROW EXECUTE FUNCTION ledger.write();

CREATE FUNCTION ledger.move_holds(transfers ledger.transfer[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE done bigint; moved bigint;
BEGIN
    INSERT INTO ledger.hold
    SELECT t.book_id, t.hold_id, t.debit_id, t.asset, t.units, t.units, t.expires_at, t.journal_id FROM unnest(transfers) AS t WHERE t.kind = 'hold';
    WITH sums AS (
        SELECT t.book_id, t.hold_id AS id, t.debit_id, t.asset, sum(t.units) AS units
          FROM unnest(transfers) AS t WHERE t.kind <> 'hold' AND t.hold_id IS NOT NULL GROUP BY 1, 2, 3, 4),
    changed AS (
        UPDATE ledger.hold h SET remaining = h.remaining - s.units
          FROM sums s WHERE h.book_id = s.book_id AND h.id = s.id AND h.account_id = s.debit_id AND h.asset = s.asset RETURNING 1)
    SELECT (SELECT count(*) FROM sums), (SELECT count(*) FROM changed) INTO moved, done;
    IF done <> moved THEN
        RAISE EXCEPTION 'L6: a hold is missing, or of another account';
    END IF;
END $$;

-- Write the orders of a batch, and take away those that it posts: what moves on clearing accounts is ordered, or was (L9).
CREATE FUNCTION ledger.keep_orders(journals ledger.journal[], transfers ledger.transfer[], orders ledger.order[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE uneven text;
BEGIN
    WITH made AS (INSERT INTO ledger.order SELECT o.* FROM unnest(orders) AS o RETURNING asset, units),
    posted AS (
        DELETE FROM ledger.order WHERE ctid = ANY (ARRAY(
            SELECT o.ctid FROM unnest(journals) AS j
             CROSS JOIN LATERAL (SELECT o.ctid FROM ledger.order o WHERE o.book_id = j.book_id AND o.key = j.key OFFSET 0) AS o))
        RETURNING asset, units)
    SELECT string_agg(u.units || ' ' || u.asset, ', ') INTO uneven FROM (
        SELECT e.asset, sum(e.units) AS units FROM (
            SELECT t.asset, CASE a.id WHEN t.credit_id THEN t.units ELSE -t.units END AS units
              FROM unnest(transfers) AS t
             CROSS JOIN LATERAL (SELECT a.id, a.code FROM ledger.account a WHERE a.book_id = t.book_id AND a.id IN (t.debit_id, t.credit_id) OFFSET 0) AS a
             WHERE t.credit_id IS NOT NULL AND a.code LIKE 'clearing:%'
             UNION ALL SELECT m.asset, -m.units FROM made m
             UNION ALL SELECT p.asset, p.units FROM posted p) AS e
         GROUP BY e.asset HAVING sum(e.units) <> 0) AS u;
    IF uneven IS NOT NULL THEN
        RAISE EXCEPTION 'L9: what moves on clearing accounts is not what is ordered or posted: % too much', uneven;
    END IF;
END $$;

-- Journals without transfers: their rule says what they close or open, `about` which account, `at` until when.
CREATE FUNCTION ledger.decide(decisions uuid[], journals ledger.journal[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE j ledger.journal; since timestamptz; done boolean;
BEGIN
    FOR j IN SELECT x.* FROM unnest(journals) AS x WHERE x.id = ANY (decisions) ORDER BY x.id LOOP
        done := false;
        IF j.rule IN ('account_closed', 'account_opened') THEN
            UPDATE ledger.account a SET closed = (j.rule = 'account_closed')
             WHERE a.book_id = j.book_id AND a.id = j.about AND a.balance = 0 AND a.held = 0;
            done := FOUND;
        ELSIF j.rule = 'period_closed' THEN
            SELECT h.open_from INTO since FROM ledger.head h WHERE h.book_id = j.book_id;
            UPDATE ledger.head h SET open_from = j.at WHERE h.book_id = j.book_id AND (since IS NULL OR since < j.at);
            done := FOUND;
            INSERT INTO ledger.closing SELECT j.book_id, j.at, c.account_id, c.debits, c.credits, c.balance, j.id FROM ledger.period(j.book_id, since, j.at) AS c;
        END IF;
        IF NOT done THEN
            RAISE EXCEPTION 'L8: journal % closes or opens nothing', j.key;
        END IF;
    END LOOP;
END $$;

-- What a period did to every account of a book, by when the money moved: what the one before left, and what moved since.  Nothing is dated
-- more than a day ahead: what is booked earlier than that before the period is not in it.
CREATE FUNCTION ledger.period(book uuid, since timestamptz, until timestamptz)
RETURNS TABLE (account_id uuid, opening numeric, debits numeric, credits numeric, balance numeric) LANGUAGE sql STABLE AS $$
    WITH moved AS (
        SELECT e.account_id, sum(e.debit) AS debits, sum(e.credit) AS credits
          FROM ledger.journal j
          JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id AND t.credit_id IS NOT NULL
         CROSS JOIN LATERAL (VALUES (t.debit_id, t.units, 0), (t.credit_id, 0, t.units)) AS e (account_id, debit, credit)
         WHERE j.book_id = book AND j.at < until AND (since IS NULL OR (j.at >= since AND j.id >= platform.id_at(since - interval '2 days')))
           AND t.journal_id >= coalesce(platform.id_at(since - interval '2 days'), '00000000-0000-0000-0000-000000000000')
         GROUP BY e.account_id)
    SELECT coalesce(m.account_id, c.account_id), coalesce(c.balance, 0), coalesce(m.debits, 0), coalesce(m.credits, 0),
           coalesce(c.balance, 0) + coalesce(m.credits, 0) - coalesce(m.debits, 0)
      FROM moved m
      FULL JOIN (SELECT k.account_id, k.balance FROM ledger.closing k WHERE k.book_id = book AND k.until = since) AS c ON c.account_id = m.account_id
$$;

-- What a journal says, as its digest has it (model.Journal.digest): the bytes of a line, and the digest of all.
CREATE FUNCTION ledger.said(kind text, debit text, asset text, credit text, credit_asset text, hold uuid) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT convert_to(kind, 'UTF8') || '\x00' || convert_to(debit, 'UTF8') || '\x00' || convert_to(asset, 'UTF8') || '\x00'
           || convert_to(coalesce(credit, ''), 'UTF8') || '\x00' || convert_to(coalesce(credit_asset, ''), 'UTF8') || '\x00'
           || convert_to(coalesce(hold::text, ''), 'UTF8') || '\x0a'
$$;

CREATE FUNCTION ledger.digest(rule text, lines bytea, units text) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT substr(sha256(convert_to(rule, 'UTF8') || '\x0a' || coalesce(lines, '')), 1, 16) || substr(sha256(convert_to(coalesce(units, ''), 'UTF8')), 1, 8)
$$;

-- Open accounts; those that are there stay as they are.
CREATE FUNCTION ledger.open(books uuid[], ids uuid[], codes text[], assets text[], normals text[], floors bigint[], at uuid)
RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ledger.account (book_id, id, code, asset, normal, floor, opened)
    SELECT a.*, at FROM unnest(books, ids, codes, assets, normals, floors) AS a (book_id, id, code, asset, normal, floor)
     ORDER BY a.book_id, a.id
        ON CONFLICT DO NOTHING
$$;

-- Bytes of a text: its length, so that no two rows read alike; NULL is none of any length.
CREATE FUNCTION ledger.sized(t text) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(int4send(octet_length(t)) || convert_to(t, 'UTF8'), '\xffffffff'::bytea)
$$;

-- The hash of every entry of a book between two ids: every column that is written once, and of accounts what never changes.
CREATE FUNCTION ledger.leaves(book uuid, after uuid, last uuid) RETURNS TABLE (id uuid, what text, leaf bytea) LANGUAGE sql STABLE AS $$
    SELECT j.id, 'journal', sha256('\x01'::bytea || uuid_send(j.book_id) || uuid_send(j.id) || ledger.sized(j.key) || ledger.sized(j.rule)
                || uuid_send(j.about) || uuid_send(j.root_id) || ledger.sized(j.business_line) || timestamptz_send(j.at)
                || ledger.sized(j.reverses::text) || coalesce(k.digest, '') || ledger.sized(n.text)
                || coalesce((SELECT string_agg(int2send(t.line) || ledger.sized(t.kind) || uuid_send(t.debit_id) || ledger.sized(t.credit_id::text)
                                               || ledger.sized(t.asset) || int8send(t.units) || ledger.sized(t.hold_id::text)
                                               || coalesce(timestamptz_send(t.expires_at), '\x00'), '' ORDER BY t.line)
                               FROM ledger.transfer t WHERE t.book_id = j.book_id AND t.journal_id = j.id), ''))
      FROM ledger.journal j
      LEFT JOIN ledger.key k ON k.book_id = j.book_id AND k.key = j.key
      LEFT JOIN ledger.note n ON n.book_id = j.book_id AND n.journal_id = j.id
     WHERE j.book_id = book AND j.id > after AND j.id <= last
     UNION ALL
    SELECT r.id, 'refusal', sha256('\x02'::bytea || uuid_send(r.book_id) || uuid_send(r.id) || ledger.sized(r.key) || ledger.sized(r.rule) || ledger.sized(r.code)
                || uuid_send(r.about) || uuid_send(r.root_id) || timestamptz_send(r.at) || coalesce(k.digest, ''))
      FROM ledger.refusal r
      LEFT JOIN ledger.key k ON k.book_id = r.book_id AND k.key = r.key
     WHERE r.book_id = book AND r.id > after AND r.id <= last
     UNION ALL
    SELECT a.opened, 'account', sha256('\x03'::bytea || uuid_send(a.book_id) || uuid_send(a.id) || uuid_send(a.opened) || ledger.sized(a.code)
                || ledger.sized(a.asset) || ledger.sized(a.normal) || ledger.sized(a.floor::text))
      FROM ledger.account a
     WHERE a.book_id = book AND a.opened > after AND a.opened <= last
$$;

CREATE FUNCTION ledger.seal_hash(before bytea, book uuid, n bigint, after uuid, last uuid, at timestamptz, leaves bytea) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to('guilder seal 1', 'UTF8') || before || uuid_send(book) || int8send(n) || uuid_send(after) || uuid_send(last)
                  || timestamptz_send(at) || int8send(octet_length(leaves)) || leaves)
$$;

-- Seal what has been committed in a book since its last seal, `most` journals at a time; how many entries that were.  Nobody who posts
-- waits for it: up to the head everything is committed, for ids rise with commits.
CREATE FUNCTION ledger.seal_next(book uuid, most integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest uuid; upto uuid; before record; entries record; now timestamptz := clock_timestamp();
BEGIN
    SELECT h.id INTO newest FROM ledger.head h WHERE h.book_id = book;
    SELECT s.n, s.last, s.hash INTO before FROM ledger.seal s WHERE s.book_id = book ORDER BY s.n DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT 0::bigint AS n, '00000000-0000-0000-0000-000000000000'::uuid AS last, ''::bytea AS hash INTO before;
    END IF;
    SELECT j.id INTO upto FROM ledger.journal j WHERE j.book_id = book AND j.id > before.last AND j.id <= newest ORDER BY j.id OFFSET most - 1 LIMIT 1;
    upto := coalesce(upto, newest);
    IF upto IS NULL OR upto <= before.last THEN
        RETURN 0;
    END IF;
    SELECT count(*) AS n, coalesce(string_agg(l.leaf, '' ORDER BY l.id, l.what, l.leaf), '') AS leaves,
           coalesce(string_agg(substr(l.leaf, 1, 4), '' ORDER BY l.id, l.what, l.leaf), '') AS marks
      INTO entries FROM ledger.leaves(book, before.last, upto) AS l;
    INSERT INTO ledger.seal
    VALUES (book, before.n + 1, before.last, upto, entries.n, entries.marks, now,
            ledger.seal_hash(before.hash, book, before.n + 1, before.last, upto, now, entries.leaves))
        ON CONFLICT DO NOTHING;
    RETURN entries.n;
END $$;

-- A hash over a record and over what stays though its months went (L10): openings, what holds had left, keys, accounts, holds, closings,
-- seals.  Keys are hashed by the minute in which they were used, for there are many.
CREATE FUNCTION ledger.proof(book uuid, until uuid, last uuid, seal bigint, after uuid, hash bytea, leaves bytea, closed timestamptz)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(record_send(ROW(book, until, last, seal, after, hash, leaves, closed)) || string_agg(sha256(coalesce(s.part, '')), '' ORDER BY s.n))
      FROM (SELECT 1 AS n, string_agg(sha256(record_send(ROW(o.account_id, o.until, o.balance, o.held, o.closed))), '' ORDER BY o.account_id, o.until) AS part
              FROM ledger.opening o WHERE o.book_id = book AND o.until <= proof.until
             UNION ALL
            SELECT 2, string_agg(sha256(record_send(ROW(r.hold_id, r.remaining))), '' ORDER BY r.hold_id)
              FROM ledger.reserved r WHERE r.book_id = book AND r.until = proof.until
             UNION ALL
            SELECT 3, string_agg(k.part, '' ORDER BY k.minute)
              FROM (SELECT left(k.id::text, 8) AS minute, sha256(string_agg(sha256(record_send(ROW(k.key, k.id, k.digest, k.refused))), '' ORDER BY k.id)) AS part
                      FROM ledger.key k WHERE k.book_id = book AND k.id < proof.until GROUP BY 1) AS k
             UNION ALL
            SELECT 4, string_agg(sha256(record_send(ROW(a.id, a.opened, a.code, a.asset, a.normal, a.floor))), '' ORDER BY a.id)
              FROM ledger.account a WHERE a.book_id = book AND a.opened < proof.until
             UNION ALL
            SELECT 5, string_agg(sha256(record_send(ROW(h.id, h.account_id, h.asset, h.units, h.expires_at, h.journal_id))), '' ORDER BY h.id)
              FROM ledger.hold h WHERE h.book_id = book AND h.journal_id < proof.until
             UNION ALL
            SELECT 6, string_agg(sha256(record_send(ROW(c.until, c.account_id, c.debits, c.credits, c.balance, c.journal_id))), '' ORDER BY c.until, c.account_id)
              FROM ledger.closing c WHERE c.book_id = book AND c.until <= proof.closed
             UNION ALL
            SELECT 7, string_agg(sha256(record_send(ROW(x.n, x.after, x.last, x.entries, x.marks, x.at, x.hash))), '' ORDER BY x.n)
              FROM ledger.seal x WHERE x.book_id = book AND x.n <= proof.seal) AS s
$$;

-- Why a month may not be detached: no row, and it may.  Of a book that is open, or not sealed, which.
CREATE FUNCTION ledger.hindrances(month date) RETURNS TABLE (why text, book_id uuid) LANGUAGE sql STABLE AS $$
    WITH boundary AS (SELECT platform.id_at((month + interval '1 month') AT TIME ZONE 'UTC') AS id),
    parts AS (SELECT p.first, p.upto FROM platform.partition p WHERE p.name IN ('ledger.journal', 'ledger.transfer', 'ledger.note', 'ledger.refusal', 'ledger.standing')),
    ends AS (SELECT e.book_id, max(e.id::text)::uuid AS last
               FROM (SELECT j.book_id, j.id FROM ledger.journal j WHERE j.id < (SELECT id FROM boundary)
                      UNION ALL
                     SELECT r.book_id, r.id FROM ledger.refusal r WHERE r.id < (SELECT id FROM boundary)) AS e GROUP BY e.book_id)
    SELECT 'young', NULL::uuid WHERE platform.at_of((SELECT id FROM boundary)) > now() - interval '2 days'
     UNION ALL
    SELECT 'absent', NULL WHERE (SELECT count(*) FROM parts p WHERE p.upto = (SELECT id FROM boundary)) <> 5
     UNION ALL
    SELECT 'older', NULL WHERE EXISTS (SELECT FROM parts p WHERE p.upto < (SELECT id FROM boundary))
     UNION ALL
    SELECT 'rest', NULL
     WHERE EXISTS (SELECT FROM ledger.journal j WHERE j.id < (SELECT id FROM boundary) AND j.tableoid = 'ledger.journal_rest'::regclass)
        OR EXISTS (SELECT FROM ledger.refusal r WHERE r.id < (SELECT id FROM boundary) AND r.tableoid = 'ledger.refusal_rest'::regclass)
     UNION ALL -- what a later closing is derived from begins two days before its period: see period()
    SELECT 'open', e.book_id FROM ends e JOIN ledger.head h ON h.book_id = e.book_id
     WHERE h.open_from IS NULL OR platform.id_at(h.open_from - interval '2 days') < (SELECT id FROM boundary)
     UNION ALL
    SELECT 'unsealed', e.book_id FROM ends e WHERE NOT EXISTS (SELECT FROM ledger.seal s WHERE s.book_id = e.book_id AND s.last >= e.last)
$$;

-- Take a month out of the book (L10): record what every book was where it ends, then move its partitions to the archive, as they are.
CREATE FUNCTION ledger.detach(month date) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    boundary uuid := platform.id_at((month + interval '1 month') AT TIME ZONE 'UTC');
    name text; part text; books bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7172);
    IF EXISTS (SELECT FROM ledger.hindrances(month)) THEN
        RAISE EXCEPTION 'L10: % cannot be detached: %', month, (SELECT string_agg(DISTINCT h.why, ', ') FROM ledger.hindrances(month) AS h);
    END IF;

    INSERT INTO ledger.opening
    SELECT book_id, account_id, boundary, coalesce(s.balance, o.balance, 0), coalesce(s.held, o.held, 0), coalesce(d.rule = 'account_closed', o.closed, false)
      FROM (SELECT DISTINCT ON (s.book_id, s.account_id) s.* FROM ledger.standing s WHERE s.id < boundary
             ORDER BY s.book_id, s.account_id, s.id DESC) AS s
      FULL JOIN (SELECT DISTINCT ON (j.book_id, j.about) j.book_id, j.about AS account_id, j.rule FROM ledger.journal j
                  WHERE j.id < boundary AND j.rule IN ('account_closed', 'account_opened') ORDER BY j.book_id, j.about, j.id DESC) AS d USING (book_id, account_id)
      LEFT JOIN ledger.begun o USING (book_id, account_id)
        ON CONFLICT DO NOTHING;
    INSERT INTO ledger.reserved
    SELECT h.book_id, boundary, h.id, h.remaining + coalesce(t.taken, 0)
      FROM ledger.hold h
      LEFT JOIN (SELECT t.book_id, t.hold_id, sum(t.units) AS taken FROM ledger.transfer t
                  WHERE t.journal_id >= boundary AND t.hold_id IS NOT NULL AND t.kind <> 'hold' GROUP BY 1, 2) AS t ON t.book_id = h.book_id AND t.hold_id = h.id
     WHERE h.journal_id < boundary AND h.remaining + coalesce(t.taken, 0) > 0
        ON CONFLICT DO NOTHING;
    INSERT INTO ledger.detached
    SELECT r.*, ledger.proof(r.book_id, r.until, r.last, r.seal, r.after, r.hash, r.leaves, r.closed)
      FROM (SELECT e.book_id, boundary AS until, e.last, coalesce(s.n, 0) AS seal, coalesce(s.last, '00000000-0000-0000-0000-000000000000') AS after,
                   coalesce(s.hash, '') AS hash,
                   (SELECT coalesce(string_agg(l.leaf, '' ORDER BY l.id, l.what, l.leaf), '')
                      FROM ledger.leaves(e.book_id, coalesce(s.last, '00000000-0000-0000-0000-000000000000'), boundary) AS l) AS leaves,
                   (SELECT min(j.at) FROM ledger.journal j
                     WHERE j.book_id = e.book_id AND j.rule = 'period_closed' AND j.at >= platform.at_of(boundary) + interval '2 days') AS closed
              FROM (SELECT b.book_id, max(b.id::text)::uuid AS last
                      FROM (SELECT j.book_id, j.id FROM ledger.journal j WHERE j.id < boundary
                             UNION ALL SELECT x.book_id, x.id FROM ledger.refusal x WHERE x.id < boundary) AS b GROUP BY b.book_id) AS e
              LEFT JOIN LATERAL (SELECT s.n, s.last, s.hash FROM ledger.seal s WHERE s.book_id = e.book_id AND s.last < boundary
                                  ORDER BY s.n DESC LIMIT 1) AS s ON true) AS r
        ON CONFLICT DO NOTHING;
    SELECT count(*) INTO books FROM ledger.detached d WHERE d.until = boundary;
    IF EXISTS (SELECT FROM ledger.detached d WHERE d.until = boundary
                  AND d.proof <> ledger.proof(d.book_id, d.until, d.last, d.seal, d.after, d.hash, d.leaves, d.closed)) THEN
        RAISE EXCEPTION 'L10: % was detached before, and what was recorded then is not so', month;
    END IF;

    LOCK TABLE ledger.journal, ledger.refusal, ledger.note, ledger.transfer, ledger.standing IN ACCESS EXCLUSIVE MODE;
    FOREACH name IN ARRAY ARRAY['journal', 'refusal', 'note', 'transfer', 'standing'] LOOP
        part := name || to_char(month, '_YYYY_MM');
        EXECUTE format('ALTER TABLE ledger.%I DETACH PARTITION ledger.%I', name, part);
        EXECUTE format('ALTER TABLE ledger.%I SET SCHEMA archive', part);
        EXECUTE format('CREATE TRIGGER "L2 written once" BEFORE UPDATE OR DELETE ON archive.%I FOR EACH ROW EXECUTE FUNCTION ledger.written_once()', part);
    END LOOP;
    INSERT INTO ledger.archived VALUES (boundary);
    RETURN books;
END $$;

-- Bring the month back that went last; what cannot be: 'absent', it did not go, or not last; 'gone', it is no longer in the archive.
CREATE FUNCTION ledger.attach(month date) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    boundary uuid := platform.id_at((month + interval '1 month') AT TIME ZONE 'UTC');
    name text; part text;
BEGIN
    PERFORM pg_advisory_xact_lock(7172);
    IF boundary IS DISTINCT FROM (SELECT b.id FROM ledger.boundary b) THEN
        RETURN 'absent';
    END IF;
    IF EXISTS (SELECT FROM unnest(ARRAY['journal', 'refusal', 'note', 'transfer', 'standing']) AS t
                WHERE to_regclass(format('archive.%I', t || to_char(month, '_YYYY_MM'))) IS NULL) THEN
        RETURN 'gone';
    END IF;
    LOCK TABLE ledger.journal, ledger.refusal, ledger.note, ledger.transfer, ledger.standing IN ACCESS EXCLUSIVE MODE;
    FOREACH name IN ARRAY ARRAY['journal', 'refusal', 'note', 'transfer', 'standing'] LOOP
        part := name || to_char(month, '_YYYY_MM');
        EXECUTE format('DROP TRIGGER "L2 written once" ON archive.%I', part);
        EXECUTE format('ALTER TABLE archive.%I SET SCHEMA ledger', part);
        EXECUTE format('ALTER TABLE ledger.%I ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)', name, part,
                       platform.id_at(month::timestamp AT TIME ZONE 'UTC'), boundary);
    END LOOP;
    DELETE FROM ledger.archived a WHERE a.until = boundary;
    RETURN NULL;
END $$;

-- What other domains read.
CREATE VIEW ledger.balance AS
SELECT book_id, id, code, asset, normal, floor, closed, balance, held, CASE normal WHEN 'debit' THEN -balance ELSE balance END AS shown
  FROM ledger.account;

CREATE VIEW ledger.line AS
SELECT j.book_id, j.id AS journal_id, j.key, j.rule, j.about, j.at, j.root_id, t.line, t.kind, d.code AS debit, c.code AS credit, t.asset, t.units
  FROM ledger.journal j
  JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
  JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
  LEFT JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id;

-- Journals with what they moved: found by their ids.
CREATE VIEW ledger.posted AS
SELECT j.book_id, j.id AS journal_id, j.key, j.rule, j.about, t.line, t.asset, t.units
  FROM ledger.journal j
  JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id;

-- What a key has in the book: found by the key.  Of a journal that is archived no more is known than that.
CREATE VIEW ledger.booked AS
SELECT k.book_id, k.key, k.id AS journal_id, j.rule, j.about, t.line, t.asset, t.units, t.line IS NULL AS archived
  FROM ledger.key k
  LEFT JOIN ledger.journal j ON j.book_id = k.book_id AND j.id = k.id AND j.key = k.key
  LEFT JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
 WHERE t.line IS NOT NULL OR (k.refused IS NULL AND k.id < (SELECT b.id FROM ledger.boundary b));

-- What is ordered and not yet posted.
CREATE VIEW ledger.ordered AS
SELECT book_id, key, from_book, rule, asset, units, about FROM ledger.order;

GRANT USAGE ON SCHEMA ledger TO guilder_app;
GRANT SELECT ON ledger.head, ledger.account, ledger.journal, ledger.transfer, ledger.note, ledger.refusal, ledger.key, ledger.hold,
                ledger.standing, ledger.seal, ledger.closing, ledger.archived, ledger.detached, ledger.opening, ledger.reserved,
                ledger.boundary, ledger.cut, ledger.begun, ledger.stood, ledger.balance, ledger.line, ledger.posted, ledger.booked TO guilder_app;
GRANT INSERT ON ledger.posting TO guilder_app;
GRANT SELECT ON ledger.order, ledger.ordered TO guilder_app;
GRANT UPDATE (run_at, problem) ON ledger.order TO guilder_app;
REVOKE ALL ON FUNCTION ledger.keep_orders, ledger.lock, ledger.open, ledger.move_holds, ledger.decide, ledger.seal_next, ledger.detach, ledger.attach FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.lock, ledger.open, ledger.seal_next, ledger.detach, ledger.attach TO guilder_app;
