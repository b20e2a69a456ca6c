-- Webhooks to merchants.  See guilder/notify/__init__.py for the invariants N1 to N9.
CREATE SCHEMA notify;

CREATE TABLE notify.endpoint (
    book_id        uuid        NOT NULL,
    id             uuid        NOT NULL,
    url            text        NOT NULL,
    enabled_events text[]      NOT NULL,              -- exact types, or '*'
    api_version    text        NOT NULL,              -- in which its events are written
    description    text,
    metadata       text        NOT NULL DEFAULT '{}', -- JSON
    secret         bytea       NOT NULL,              -- sealed
    old_secret     bytea,                             -- sealed; after a roll it signs beside the new one
    old_until      timestamptz,                       -- ... until then
    status         text        NOT NULL CHECK (status IN ('enabled', 'disabled', 'deleted')),
    reason         text        CHECK (reason IN ('merchant', 'failing', 'gone')), -- of not being enabled
    failing_since  timestamptz,                       -- N7; since then no try has succeeded
    version        integer     NOT NULL DEFAULT 0,    -- of the object, in events about it
    created_at     timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL DEFAULT now(), -- what it wants is so since then
    PRIMARY KEY (book_id, id)
);

-- One event on its way to one endpoint.
CREATE TABLE notify.delivery (
    book_id     uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    state       text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    siblings    smallint    NOT NULL,                 -- how many endpoints the event went to; its body says so
    tries       smallint    NOT NULL DEFAULT 0,       -- since it was made or asked for again
    fence       integer     NOT NULL DEFAULT 0,       -- N5; grows with every claim
    run_at      timestamptz NOT NULL,                 -- pending: the next try is due; under way: the try counts as lost
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    CONSTRAINT "N1 one delivery per event and endpoint" PRIMARY KEY (book_id, endpoint_id, event_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX delivery_pending ON notify.delivery (book_id, endpoint_id, run_at) WHERE state = 'pending';
CREATE INDEX delivery_created ON notify.delivery USING brin (created_at);

-- Whoever delivers is woken by what is to be delivered, and by nothing else.
CREATE FUNCTION notify.wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM made) THEN
        PERFORM pg_notify('guilder_delivery', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER wake AFTER INSERT ON notify.delivery REFERENCING NEW TABLE AS made
   FOR EACH STATEMENT EXECUTE FUNCTION notify.wake();

-- Every try, as the merchant may look it up.  Never changed; forgotten with its delivery.
CREATE TABLE notify.delivery_try (
    book_id     uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    fence       integer     NOT NULL,                 -- which claim of the delivery
    at          timestamptz NOT NULL,
    took_ms     integer     NOT NULL,
    status      integer,                              -- HTTP; NULL: no answer
    error       text,                                 -- why it does not count as delivered
    response    text        NOT NULL DEFAULT '' CHECK (octet_length(response) <= 2000), -- the first 500 bytes
    PRIMARY KEY (book_id, endpoint_id, event_id, fence)
);
CREATE TRIGGER never_changed BEFORE UPDATE ON notify.delivery_try
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('notify.delivery', 30, 4, 'with its tries, as long as Stripe keeps events; a delivery is tried for three days');

GRANT USAGE ON SCHEMA notify TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify.endpoint, notify.delivery TO guilder_app;
GRANT SELECT, INSERT, DELETE ON notify.delivery_try TO guilder_app;
