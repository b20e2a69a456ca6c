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

INSERT INTO platform.retention (name, reason) VALUES
    ('merchants.customer', 'whom payments name; personal fields are blanked when it is deleted or erased');

GRANT USAGE ON SCHEMA merchants TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON merchants.customer, merchants.channel_account TO guilder_app;
