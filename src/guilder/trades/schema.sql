-- Trades: what was bought, of whom, how it is paid for and what of it went back.  See guilder/trades/__init__.py for the invariants T1 to T6.
CREATE SCHEMA trades;

CREATE TABLE trades.trade (
    book_id       uuid        NOT NULL,         -- of the merchant who asks for the money
    id            uuid        NOT NULL,         -- 'trd_…'
    version       integer     NOT NULL,         -- +1 with every event
    type          text        NOT NULL,         -- 'purchase', 'escrow'; see model.py
    status        text        NOT NULL,
    merchant_ref  text,                         -- the merchant's own number
    parent_id     uuid,
    amount        bigint      NOT NULL,         -- T1
    currency      text        NOT NULL,
    deposit       bigint,                       -- what is asked for first
    reserved      bigint      NOT NULL DEFAULT 0, -- T2; what open payments ask for
    paid          bigint      NOT NULL DEFAULT 0,
    refunded      bigint      NOT NULL DEFAULT 0, -- gone back or on its way back
    returned      bigint      NOT NULL DEFAULT 0, -- gone back
    released_at   timestamptz,                  -- of what is held until it is released: all of it, since then
    customer_id   uuid,
    description   text,
    metadata      jsonb       NOT NULL DEFAULT '{}',
    root_id       uuid        NOT NULL,
    business_line text        NOT NULL,
    created_at    timestamptz NOT NULL,
    canceled_at   timestamptz,
    PRIMARY KEY (book_id, id),
    FOREIGN KEY (book_id, parent_id) REFERENCES trades.trade (book_id, id),
    CHECK (amount > 0 AND reserved >= 0),
    CHECK (deposit > 0 AND deposit < amount),
    CONSTRAINT "T2 no more is paid than is asked for" CHECK (paid BETWEEN 0 AND amount),
    CONSTRAINT "T4 no more goes back than was paid" CHECK (returned >= 0 AND returned <= refunded AND refunded <= paid)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX "one trade per merchant_ref" ON trades.trade (merchant_ref, book_id) WHERE merchant_ref IS NOT NULL;
CREATE INDEX trade_parent ON trades.trade (parent_id, book_id) WHERE parent_id IS NOT NULL;

-- One thing of a trade, and whose it is.
CREATE TABLE trades.item (
    book_id     uuid    NOT NULL,
    id          uuid    NOT NULL,               -- 'ti_…'
    trade_id    uuid    NOT NULL,
    n           integer NOT NULL,               -- its place, from 0
    seller_id   uuid    NOT NULL,               -- the merchant whose it is: his book gets what was paid for it
    sku         text,
    name        text    NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    unit_amount bigint  NOT NULL CHECK (unit_amount >= 0),
    amount      bigint  NOT NULL,
    paid        bigint  NOT NULL DEFAULT 0,
    held        bigint  NOT NULL DEFAULT 0,     -- paid, and not with its seller yet
    released    bigint  NOT NULL DEFAULT 0,     -- with its seller
    refunded    bigint  NOT NULL DEFAULT 0,     -- gone back or on its way back
    returned    bigint  NOT NULL DEFAULT 0,     -- gone back
    PRIMARY KEY (book_id, id),
    FOREIGN KEY (book_id, trade_id) REFERENCES trades.trade (book_id, id),
    CHECK (amount = quantity * unit_amount),
    CONSTRAINT "T2 no more is paid than it costs" CHECK (paid BETWEEN 0 AND amount),
    CONSTRAINT "T3 what was paid is held, with its seller, or returned" CHECK (held >= 0 AND released >= 0 AND held + released + returned = paid),
    CONSTRAINT "T4 no more goes back of it than was paid" CHECK (returned >= 0 AND returned <= refunded AND refunded <= paid)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX "items have their places" ON trades.item (trade_id, n, book_id);

-- A payment of a trade, whole or in part.
CREATE TABLE trades.part (
    book_id    uuid        NOT NULL,
    intent_id  uuid        NOT NULL,
    trade_id   uuid        NOT NULL,
    purpose    text        NOT NULL CHECK (purpose IN ('whole', 'deposit', 'balance')),
    amount     bigint      NOT NULL CHECK (amount > 0),
    state      text        NOT NULL CHECK (state IN ('open', 'paid', 'canceled')),
    received   bigint      NOT NULL DEFAULT 0,
    excess     bigint      NOT NULL DEFAULT 0,  -- of it, what no item wanted any more: it goes back
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, intent_id),
    FOREIGN KEY (book_id, trade_id) REFERENCES trades.trade (book_id, id),
    FOREIGN KEY (book_id, intent_id) REFERENCES payments.intent (book_id, id),
    CHECK (excess BETWEEN 0 AND received)
) WITH (fillfactor = 80);
CREATE INDEX part_trade ON trades.part (trade_id, book_id);

-- What a refund gives back of which item.
CREATE TABLE trades.give_back (
    book_id    uuid        NOT NULL,
    refund_id  uuid        NOT NULL,
    item_id    uuid        NOT NULL,            -- '00000000-0000-0000-0000-000000000000': of none, it was too much
    trade_id   uuid        NOT NULL,
    units      bigint      NOT NULL CHECK (units > 0),
    state      text        NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, refund_id, item_id),
    FOREIGN KEY (book_id, refund_id) REFERENCES payments.refund (book_id, id)
) WITH (fillfactor = 80);
CREATE INDEX give_back_trade ON trades.give_back (trade_id, book_id);

-- Where the money of each item went, move by move.  Written once, in the commit of its journal.
CREATE TABLE trades.move (
    book_id   uuid        NOT NULL,
    id        uuid        NOT NULL,             -- in the key of its journal
    trade_id  uuid        NOT NULL,
    item_id   uuid        NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('paid', 'released', 'returned', 'taken_back')),
    units     bigint      NOT NULL CHECK (units > 0),
    seller_id uuid        NOT NULL,
    intent_id uuid,                             -- of what was paid
    refund_id uuid,                             -- of what went back
    journal   text,                             -- its key in this book, or in the seller's if it is taken back; NULL: nothing moves in a book
    root_id   uuid        NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX move_trade ON trades.move (trade_id, book_id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON trades.move
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();
SELECT platform.grow(100);

INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('trades.trade', NULL, NULL, 'what was bought; refunds and questions come years later'),
    ('trades.item', NULL, NULL, 'of whom'),
    ('trades.part', NULL, NULL, 'how it was paid for'),
    ('trades.give_back', NULL, NULL, 'what of it went back'),
    ('trades.move', NULL, NULL, 'where the money of each item went');

GRANT USAGE ON SCHEMA trades TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON trades.trade, trades.item, trades.part, trades.give_back TO guilder_app;
GRANT SELECT, INSERT ON trades.move TO guilder_app;
