-- The book.  See guilder/ledger/__init__.py for the invariants L1 to L5.
CREATE SCHEMA ledger;

CREATE TABLE ledger.account (
    book_id  uuid    NOT NULL,
    id       uuid    NOT NULL,           -- derived from book, code and asset
    code     text    NOT NULL,           -- 'receivable:06b2…', see chart.py
    asset    text    NOT NULL,
    normal   text    NOT NULL CHECK (normal IN ('debit', 'credit')),
    floor    bigint,                     -- L4; NULL: may go anywhere
    balance  bigint  NOT NULL DEFAULT 0, -- L3; credits - debits; kept by post(), proved by sweep()
    PRIMARY KEY (book_id, id),
    CONSTRAINT "L4 floor" CHECK (floor IS NULL OR balance >= floor)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01); -- balances are updated in place: keep them HOT

CREATE TABLE ledger.journal (
    book_id       uuid        NOT NULL,
    id            uuid        NOT NULL,
    key           text        NOT NULL,  -- L5; 'charge:06b2…'
    rule          text        NOT NULL,  -- which event booked it
    digest        bytea       NOT NULL,  -- of the transfers: the same key with others is refused
    about         uuid        NOT NULL,  -- charge, refund or attempt
    root_id       uuid        NOT NULL,
    business_line text        NOT NULL,
    at            timestamptz NOT NULL,  -- when the money moved
    PRIMARY KEY (book_id, id),
    CONSTRAINT "L5 one key, one journal" UNIQUE (key, book_id)
);

CREATE TABLE ledger.transfer (
    book_id    uuid     NOT NULL,
    journal_id uuid     NOT NULL,
    line       smallint NOT NULL,
    debit_id   uuid     NOT NULL,
    credit_id  uuid     NOT NULL,
    asset      text     NOT NULL,
    units      bigint   NOT NULL,
    PRIMARY KEY (book_id, journal_id, line),
    CONSTRAINT "L1 something moves" CHECK (units > 0),
    CONSTRAINT "L1 two ends" CHECK (debit_id <> credit_id)
);

CREATE FUNCTION ledger.written_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'L2: ledger.% is written once; % is refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER "L2 written once" BEFORE UPDATE OR DELETE ON ledger.journal  FOR EACH ROW EXECUTE FUNCTION ledger.written_once();
CREATE TRIGGER "L2 written once" BEFORE UPDATE OR DELETE ON ledger.transfer FOR EACH ROW EXECUTE FUNCTION ledger.written_once();
CREATE TRIGGER "L2 never emptied" BEFORE TRUNCATE ON ledger.journal  EXECUTE FUNCTION ledger.written_once();
CREATE TRIGGER "L2 never emptied" BEFORE TRUNCATE ON ledger.transfer EXECUTE FUNCTION ledger.written_once();

-- What other domains read.
CREATE VIEW ledger.balance AS
SELECT book_id, id, code, asset, normal, floor, balance, CASE normal WHEN 'debit' THEN -balance ELSE balance END AS shown
  FROM ledger.account;

CREATE VIEW ledger.line AS
SELECT j.book_id, j.id AS journal_id, j.key, j.rule, j.about, j.at, j.root_id, t.line, d.code AS debit, c.code AS credit, t.asset, t.units
  FROM ledger.journal j
  JOIN ledger.transfer t ON t.book_id = j.book_id AND t.journal_id = j.id
  JOIN ledger.account d ON d.book_id = t.book_id AND d.id = t.debit_id
  JOIN ledger.account c ON c.book_id = t.book_id AND c.id = t.credit_id;

GRANT USAGE ON SCHEMA ledger TO guilder_app;
GRANT SELECT, INSERT ON ledger.account, ledger.journal, ledger.transfer TO guilder_app;
GRANT UPDATE (balance) ON ledger.account TO guilder_app;
GRANT SELECT ON ledger.balance, ledger.line TO guilder_app;
