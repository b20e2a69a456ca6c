-- What every domain stands on: answers to idempotency keys, events and their outbox, jobs, the journal of channel calls, cases.
CREATE SCHEMA platform;

CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is written once: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END $$;

-- Every transaction's last act.  A COMMIT whose answer was lost is looked up here.
CREATE TABLE platform.commit_mark (
    id  uuid        PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT now()
);

-- The processes that may hold keys.  One that has not been heard of for some seconds is dead, and loses them.
CREATE TABLE platform.runner (
    id       uuid        PRIMARY KEY,
    alive_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- One row per idempotency key: who runs it now, or what was answered, byte for byte.
CREATE TABLE platform.answer (
    book_id     uuid        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,           -- SHA-256 of method, path and parameters
    state       text        NOT NULL CHECK (state IN ('running', 'done')),
    runner      uuid        NOT NULL,           -- the process that may answer
    lease_until timestamptz NOT NULL,           -- a runner that stands still loses the key then, a dead one sooner
    subject     uuid,                           -- the attempt or refund that a successor carries on with
    status      integer,
    body        bytea,
    request_id  text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, key),
    CHECK (state = 'running' OR (status IS NOT NULL AND body IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX answer_created ON platform.answer USING brin (created_at);

-- What happened, as merchants are told.  Written once.
CREATE TABLE platform.event (
    book_id         uuid        NOT NULL,
    id              uuid        NOT NULL,
    type            text        NOT NULL,       -- 'payment_intent.succeeded'
    object_id       uuid        NOT NULL,
    object_version  integer     NOT NULL,       -- no gaps per object
    data            text        NOT NULL,       -- the object as JSON, as it was then
    previous        text,                       -- what an update changed, as JSON
    request_id      text,
    idempotency_key text,
    root_id         uuid        NOT NULL,
    business_line   text        NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.event
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- Which subscriber has yet to hear of which event.  Rows go when it has.
CREATE TABLE platform.outbox (
    subscriber text        NOT NULL,
    event_id   uuid        NOT NULL,
    book_id    uuid        NOT NULL,
    run_at     timestamptz NOT NULL DEFAULT now(),
    tries      integer     NOT NULL DEFAULT 0,
    last_error text,
    PRIMARY KEY (subscriber, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- Work that is due at a time, once: (kind, key) says what.
CREATE TABLE platform.job (
    kind        text        NOT NULL,
    key         text        NOT NULL,
    payload     text        NOT NULL DEFAULT '{}',
    run_at      timestamptz NOT NULL,
    tries       integer     NOT NULL DEFAULT 0,
    fence       bigint      NOT NULL DEFAULT 0,
    lease_until timestamptz,
    done_at     timestamptz,
    last_error  text,
    root_id     uuid        NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX job_due ON platform.job (run_at) WHERE done_at IS NULL;

-- Every byte between channels and us, secrets and persons removed.  Written once; the request before it is sent.
CREATE TABLE platform.wire_message (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,
    exchange_id        uuid        NOT NULL,
    about              uuid,                    -- attempt, refund; NULL: of no payment
    channel_account_id uuid        NOT NULL,
    op                 text        NOT NULL,    -- 'create', 'query', 'callback' …
    direction          text        NOT NULL CHECK (direction IN ('out', 'in')),
    method             text,
    url                text,
    status             integer,
    headers            text,
    body               bytea,
    outcome            text,                    -- 'not_sent', 'silence', 'reply', 'bad_signature' …
    took_ms            integer,
    root_id            uuid        NOT NULL,
    at                 timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
);
CREATE INDEX wire_message_about ON platform.wire_message (about, book_id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.wire_message
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- An exception that wants a person: evidence, and who owns it.
CREATE TABLE platform.case (
    book_id      uuid        NOT NULL,
    id           uuid        NOT NULL,
    kind         text        NOT NULL,          -- 'amount_mismatch', 'unknown_callback' …
    subject      text        NOT NULL,
    summary      text        NOT NULL,
    evidence     text        NOT NULL,          -- JSON
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    owner        text,
    seen         integer     NOT NULL DEFAULT 1,
    root_id      uuid        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id),
    UNIQUE (subject, kind, book_id)
);

GRANT USAGE ON SCHEMA platform TO guilder_app;
GRANT SELECT, INSERT, DELETE ON platform.commit_mark TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON platform.runner, platform.answer, platform.outbox, platform.job TO guilder_app;
GRANT SELECT, INSERT ON platform.event, platform.wire_message TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON platform.case TO guilder_app;
