-- Customers and contracts with channels, per environment.
CREATE SCHEMA merchants;

CREATE TABLE merchants.customer (
    book_id     uuid        NOT NULL,
    id          uuid        NOT NULL,           -- 'cus_…'
    version     integer     NOT NULL DEFAULT 1,
    name        text,
    email       text,
    phone       text,
    description text,
    address     text,                           -- JSON, as given
    shipping    text,                           -- JSON, as given
    locales     text[]      NOT NULL DEFAULT '{}',
    metadata    jsonb       NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (book_id, id)
);
CREATE INDEX customer_email ON merchants.customer (email, book_id) WHERE email IS NOT NULL;

-- One contract of a merchant with one channel.  Its id is also the id of its own book, where unknown callbacks lie.
CREATE TABLE merchants.channel_account (
    book_id    uuid        NOT NULL,            -- the merchant's
    id         uuid        NOT NULL,            -- 'ca_…'
    channel    text        NOT NULL,            -- 'wechatpay'
    name       text        NOT NULL,
    funds      text        NOT NULL DEFAULT 'platform' CHECK (funds IN ('platform', 'merchant', 'channel_escrow')),
    public     text        NOT NULL,            -- the configuration that is no secret, as JSON
    sealed     bytea       NOT NULL,            -- M3: the whole configuration, encrypted
    enabled    boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id),
    UNIQUE (id)
);

-- Where a merchant sells: shops, the tills in them, and who stands there.  They are never deleted, for payments name them; what is not
-- enabled takes no new ones.
CREATE TABLE merchants.store (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- 'sto_…'
    code       text        NOT NULL,            -- the merchant's own number; channels that want a store's number are told it
    name       text        NOT NULL,            -- payers read it
    currency   text        NOT NULL,            -- of what is paid at its counter
    address    text,                            -- JSON, as given
    metadata   jsonb       NOT NULL DEFAULT '{}',
    enabled    boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    UNIQUE (book_id, code)
);

CREATE TABLE merchants.terminal (
    book_id         uuid        NOT NULL,
    id              uuid        NOT NULL,       -- 'ter_…'
    store_id        uuid        NOT NULL,
    code            text        NOT NULL,       -- the merchant's own number of the till, within its store
    name            text        NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    enabled         boolean     NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    presented_id    uuid,                       -- the payment that whoever scans its code is shown; NULL: he says how much
    presented_until timestamptz,
    PRIMARY KEY (book_id, id),
    UNIQUE (book_id, store_id, code),
    FOREIGN KEY (book_id, store_id) REFERENCES merchants.store (book_id, id)
);

CREATE TABLE merchants.operator (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- 'ope_…'
    store_id   uuid,                            -- NULL: wherever he is needed
    code       text        NOT NULL,            -- the merchant's own number of whoever stands at a till
    name       text        NOT NULL,
    enabled    boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    UNIQUE (book_id, code),
    FOREIGN KEY (book_id, store_id) REFERENCES merchants.store (book_id, id)
);

INSERT INTO platform.retention (name, reason) VALUES
    ('merchants.customer', 'whom payments name; personal fields are blanked when it is deleted or erased'),
    ('merchants.store', 'where payments were made'),
    ('merchants.terminal', 'where payments were made'),
    ('merchants.operator', 'who took payments');

GRANT USAGE ON SCHEMA merchants TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON merchants.customer, merchants.channel_account TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON merchants.store, merchants.terminal, merchants.operator TO guilder_app;
