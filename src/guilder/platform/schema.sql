-- What every domain stands on: answers to idempotency keys, events and their outbox, jobs, the journal of channel calls, cases, counters.
CREATE SCHEMA platform;

CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is written once: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END $$;

-- What a statement is about to write still is as it was read without a lock; if not, the transaction runs again, and locks it first.
CREATE FUNCTION platform.insist(so boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF so IS NOT TRUE THEN
        RAISE EXCEPTION 'a row is not any more what it was when it was read' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION platform.id_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    -- The lowest UUIDv7 of an instant: where a partition begins, where history is cut.
    SELECT (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION platform.at_of(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS $$
    -- The instant of an id, of those too that only mark one.
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;

-- How long what grows is kept: a rule for each table.  `guilder storage keep` changes it, and whoever lets go of something reads it.
CREATE TABLE platform.retention (
    name        text    PRIMARY KEY,            -- 'platform.event'
    keep_days   integer,                        -- NULL: for ever
    least_days  integer,                        -- nobody may keep it for less; NULL: nobody may let go of it
    reason      text    NOT NULL,
    gone_before uuid    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- its partitions with ids before this were dropped
    CONSTRAINT "kept as long as it must be" CHECK (keep_days IS NULL OR coalesce(keep_days >= least_days, false))
);
INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('platform.answer', 30, 1, 'a caller may repeat a request for so long, and hears the same'),
    ('platform.approval', NULL, NULL, 'who wanted what, and what became of it'),
    ('platform.approval_decision', NULL, NULL, 'who agreed to what'),
    ('platform.case', NULL, NULL, 'who decided what a machine would not'),
    ('platform.breaker_move', NULL, NULL, 'when a channel was down, for whoever asks why payments went elsewhere'),
    ('platform.case_attachment', NULL, NULL, 'on what it was decided'),
    ('platform.case_comment', NULL, NULL, 'what was said before it was decided'),
    ('platform.case_decision', NULL, NULL, 'who decided, and why'),
    ('platform.commit_mark', 1, 1, 'a COMMIT whose answer was lost is looked up within seconds'),
    ('platform.event', 400, 90, 'what merchants were told: a year and a month, for who asks late'),
    ('platform.person_key', NULL, NULL, 'who has a key, and whose was erased'),
    ('platform.job', 30, 1, 'what was done, and how often it was tried'),
    ('platform.trail', NULL, NULL, 'who did what'),
    ('platform.trail_seal', NULL, NULL, 'the proof that nobody has changed it since'),
    ('platform.wire_message', 400, 90, 'evidence of what was said between channels and us: a year and a month, as long as disputes last');

CREATE FUNCTION platform.kept_days(name text) RETURNS integer LANGUAGE sql STABLE AS $$
    -- NULL: for ever.
    SELECT r.keep_days FROM platform.retention r WHERE r.name = $1
$$;

CREATE FUNCTION platform.gone_before(name text) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT r.gone_before FROM platform.retention r WHERE r.name = $1
$$;

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
CREATE INDEX answer_created ON platform.answer (created_at); -- the oldest go first; ADR 11 says what it costs

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
    person_id       uuid,                       -- whom `personal` is about; NULL: nobody
    personal        bytea,                      -- what was taken out of `data` and `previous`, encrypted under the person's key
    PRIMARY KEY (book_id, id),
    CONSTRAINT "E1 what is personal is somebody's" CHECK ((person_id IS NULL) = (personal IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX event_object ON platform.event (object_id, object_version); -- the auditor: an object's events have no gaps
CREATE INDEX event_person ON platform.event (person_id, book_id) WHERE person_id IS NOT NULL; -- what is to be exported
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.event
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- What was said of an object, without what it looked like.
CREATE VIEW platform.said AS
SELECT book_id, id, type, object_id, object_version, created_at, person_id FROM platform.event;

-- The keys of persons: a customer's, or, of somebody who pays without being one, the payment's.  An erased one stays as a row without a key, so
-- that no other is made.  See platform/persons.py.
CREATE TABLE platform.person_key (
    book_id   uuid        NOT NULL,
    id        uuid        NOT NULL,             -- of the customer, or of the payment
    sealed    bytea,                            -- under the encryption key; NULL: erased
    made_at   timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    PRIMARY KEY (book_id, id),
    CONSTRAINT "E2 erased is erased" CHECK ((sealed IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX person_key_erased ON platform.person_key (book_id, erased_at) WHERE erased_at IS NOT NULL;

CREATE FUNCTION platform.said_since(object uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    -- No event of an object has a lower id, however clocks differ: partitions before it need not be looked into.
    SELECT coalesce(platform.id_at(uuid_extract_timestamp(object) - interval '1 day'), '00000000-0000-0000-0000-000000000000')
$$;

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
) PARTITION BY RANGE (id);
CREATE INDEX wire_message_about ON platform.wire_message (about, book_id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.wire_message
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- An exception that wants a person: evidence, what the machine proposes, who owns it, until when.
CREATE TABLE platform.case (
    book_id      uuid        NOT NULL,
    id           uuid        NOT NULL,          -- 'case_…'
    kind         text        NOT NULL,          -- 'amount_mismatch', 'unknown_callback' …
    subject      text        NOT NULL,
    summary      text        NOT NULL,
    evidence     text        NOT NULL,          -- JSON
    fact         text        NOT NULL DEFAULT '', -- what was told, in short: told again after it was resolved, it is no news; '': found again, it is
    moved        boolean     NOT NULL DEFAULT false, -- money has moved and stands in no book: it is not dismissed
    proposal     text,                          -- JSON: what the machine proposes
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'waiting', 'resolved')),
    owner        text,                          -- 'usr_…', 'svc_…', 'operator'
    due_at       timestamptz,                   -- then it is overdue
    wait_until   timestamptz,                   -- then it is open again
    version      integer     NOT NULL DEFAULT 1, -- grows with whatever is decided about it
    reopened     integer     NOT NULL DEFAULT 0, -- how often it was found again after it was resolved
    seen         integer     NOT NULL DEFAULT 1,
    root_id      uuid        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    PRIMARY KEY (book_id, id),
    UNIQUE (subject, kind, book_id),
    CHECK ((state = 'waiting') = (wait_until IS NOT NULL)),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE INDEX case_id ON platform.case (id); -- who looks after all books names no book
CREATE INDEX case_unresolved ON platform.case (due_at) WHERE state <> 'resolved';
CREATE INDEX case_waiting ON platform.case (wait_until) WHERE state = 'waiting';

CREATE FUNCTION platform.is_news(state text, known text, fact text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    -- Whether a case that is met again opens again.
    SELECT state = 'resolved' AND (fact = '' OR fact <> known)
$$;

-- What people say to a case.  Written once.
CREATE TABLE platform.case_comment (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- 'ccm_…'
    case_id    uuid        NOT NULL,
    actor      text        NOT NULL,
    text       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id)
);
CREATE INDEX case_comment_case ON platform.case_comment (case_id, id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.case_comment
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- What people lay to a case: a letter, a picture, a bill.  Written once.
CREATE TABLE platform.case_attachment (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- 'cat_…'
    case_id    uuid        NOT NULL,
    actor      text        NOT NULL,
    name       text        NOT NULL,
    type       text        NOT NULL,            -- 'image/png', as they say
    sha256     bytea       NOT NULL,
    content    bytea       NOT NULL CHECK (octet_length(content) <= 1048576),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id)
);
CREATE INDEX case_attachment_case ON platform.case_attachment (case_id, id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.case_attachment
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- How a case ended: what was decided, by whom, why, and what it led to.  Written once, in the commit of what it led to.
CREATE TABLE platform.case_decision (
    book_id     uuid        NOT NULL,
    id          uuid        NOT NULL,           -- 'cdc_…'
    case_id     uuid        NOT NULL,
    round       integer     NOT NULL,           -- 0, and one more each time that it was opened again
    actor       text        NOT NULL,
    resolver    text        NOT NULL,           -- 'dismiss', 'book_suspense'
    why         text        NOT NULL,
    journal_id  uuid,                           -- 'jl_…' that it left
    approval_id uuid,                           -- … or who else agreed
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id),
    CONSTRAINT "decided once" UNIQUE (case_id, round)
);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.case_decision
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- Who did what, when, from where, what was before and after, and why.  Written once, in the commit of what it tells.  In every database: what
-- was done to money lies with the money, what was done to people, keys and contracts in the control database.
CREATE TABLE platform.trail (
    book_id    uuid        NOT NULL,            -- of the merchant whom it concerns; the platform's, if nobody's
    id         uuid        NOT NULL,            -- 'tra_…'
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,            -- 'usr_…', 'svc_…', 'key_…', 'operator', 'job:…'
    place      text        NOT NULL DEFAULT '', -- the network address that it came from
    action     text        NOT NULL,            -- 'key.made', 'refund.created'
    subject    text        NOT NULL,            -- 're_…': whom or what it was done to
    before     text,                            -- JSON: what changed, as it was
    after      text,                            -- JSON: and as it is
    why        text        NOT NULL DEFAULT '',
    request_id text        NOT NULL DEFAULT '',
    root_id    uuid        NOT NULL,
    tx         xid8        NOT NULL DEFAULT pg_current_xact_id(), -- in this order it is sealed
    PRIMARY KEY (book_id, id)
);
CREATE INDEX trail_subject ON platform.trail (subject, book_id);
CREATE INDEX trail_actor ON platform.trail (actor, id);
CREATE INDEX trail_tx ON platform.trail (tx, id);
CREATE INDEX trail_id ON platform.trail (id); -- all books together, as who looks after all of them reads it
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.trail
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- Which transaction wrote a row is not for the writer to say: nothing may come before what is sealed.
CREATE FUNCTION platform.stamp_trail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.tx := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER stamped BEFORE INSERT ON platform.trail FOR EACH ROW EXECUTE FUNCTION platform.stamp_trail();

-- Tamper evidence: what has been committed to the trail, hashed after the fact in the order (tx, id), each seal over the one before.
CREATE TABLE platform.trail_seal (
    n       bigint      PRIMARY KEY,
    tx      xid8        NOT NULL,               -- it is over what lies after the seal before, up to this …
    id      uuid        NOT NULL,               -- … row
    entries integer     NOT NULL,
    marks   bytea       NOT NULL,               -- four bytes of each row's hash: they tell which one is not what it was
    at      timestamptz NOT NULL,
    hash    bytea       NOT NULL                -- sha256, see trail_hash()
);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.trail_seal
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- The hash of every row between two: every column, each with its length and type.
CREATE FUNCTION platform.trail_leaves(after_tx xid8, after_id uuid, upto_tx xid8, upto_id uuid)
RETURNS TABLE (tx xid8, id uuid, book_id uuid, leaf bytea) LANGUAGE sql STABLE AS $$
    SELECT t.tx, t.id, t.book_id, sha256(record_send(ROW(
               t.book_id, t.id, t.at, convert_to(t.actor, 'UTF8'), convert_to(t.place, 'UTF8'), convert_to(t.action, 'UTF8'),
               convert_to(t.subject, 'UTF8'), convert_to(t.before, 'UTF8'), convert_to(t.after, 'UTF8'), convert_to(t.why, 'UTF8'),
               convert_to(t.request_id, 'UTF8'), t.root_id, t.tx)))
      FROM platform.trail t
     WHERE (t.tx, t.id) > (after_tx, after_id) AND (t.tx, t.id) <= (upto_tx, upto_id)
$$;

CREATE FUNCTION platform.trail_hash(before bytea, n bigint, tx xid8, id uuid, at timestamptz, leaves bytea) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to('guilder trail 1', 'UTF8') || before || int8send(n) || xid8send(tx) || uuid_send(id) || timestamptz_send(at)
                  || int8send(octet_length(leaves)) || leaves)
$$;

-- Where the chain ends: before everything, if there is none yet.
CREATE FUNCTION platform.trail_end() RETURNS TABLE (n bigint, tx xid8, id uuid, hash bytea) LANGUAGE sql STABLE AS $$
    (SELECT s.n, s.tx, s.id, s.hash FROM platform.trail_seal s ORDER BY s.n DESC LIMIT 1)
    UNION ALL
    SELECT 0, '0'::xid8, '00000000-0000-0000-0000-000000000000'::uuid, ''::bytea
     ORDER BY 1 DESC LIMIT 1
$$;

-- Seal what has been committed since the last seal, `most` rows at a time; how many that were.  Only rows of transactions below the horizon:
-- every one of these has ended, and no later one is given a lower number, so nothing can come before what is sealed.
CREATE FUNCTION platform.seal_trail(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    horizon xid8; prior record; upto record; leaves record; now timestamptz := clock_timestamp();
BEGIN
    horizon := pg_snapshot_xmin(pg_current_snapshot()); -- the statements below see all that ended before it
    SELECT e.* INTO prior FROM platform.trail_end() e;
    SELECT t.tx, t.id INTO upto FROM platform.trail t
     WHERE (t.tx, t.id) > (prior.tx, prior.id) AND t.tx < horizon ORDER BY t.tx, t.id OFFSET most - 1 LIMIT 1;
    IF NOT FOUND THEN
        SELECT t.tx, t.id INTO upto FROM platform.trail t
         WHERE (t.tx, t.id) > (prior.tx, prior.id) AND t.tx < horizon ORDER BY t.tx DESC, t.id DESC LIMIT 1;
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
    END IF;
    SELECT count(*) AS n, string_agg(l.leaf, '' ORDER BY l.tx, l.id, l.book_id) AS hashes,
           string_agg(substr(l.leaf, 1, 4), '' ORDER BY l.tx, l.id, l.book_id) AS marks
      INTO leaves FROM platform.trail_leaves(prior.tx, prior.id, upto.tx, upto.id) AS l;
    INSERT INTO platform.trail_seal
    VALUES (prior.n + 1, upto.tx, upto.id, leaves.n, leaves.marks, now,
            platform.trail_hash(prior.hash, prior.n + 1, upto.tx, upto.id, now, leaves.hashes))
        ON CONFLICT DO NOTHING; -- another worker was faster
    RETURN leaves.n;
END $$;

-- Who has to agree to what, as data: an amount above `over` of an asset waits for the people of every step.  See platform/approval.py.
CREATE TABLE platform.approval_chain (
    book_id     uuid        NOT NULL,           -- whose commands; '00000000-0000-0000-0000-000000000000': every book's
    id          uuid        NOT NULL,           -- 'apc_…'
    kind        text        NOT NULL,           -- 'refund'
    by_platform boolean     NOT NULL,           -- whose rule it is: a merchant's own is asked for beside the platform's, never instead of it
    asset       text        NOT NULL DEFAULT '', -- 'CNY'; '': any, and none
    over        bigint      NOT NULL DEFAULT 0 CHECK (over >= 0), -- smallest units: from more than this, until the next chain's; 0: everything
    expires_s   integer     NOT NULL CHECK (expires_s > 0), -- how long there is to decide
    made_by     text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id),
    UNIQUE (kind, book_id, by_platform, asset, over),
    CHECK (by_platform OR book_id <> '00000000-0000-0000-0000-000000000000')
);

-- The steps of a chain, one after the other.
CREATE TABLE platform.approval_step (
    book_id    uuid    NOT NULL,
    chain_id   uuid    NOT NULL,
    n          integer NOT NULL CHECK (n > 0),
    permission text    NOT NULL DEFAULT '',     -- who has this permission beside approvals:decide may agree;
    role       text    NOT NULL DEFAULT '',     -- or who has this role; 'machine': whoever is at the machine, which is nobody in particular
    at         text    NOT NULL CHECK (at IN ('platform', 'merchant')), -- where they must have it
    people     integer NOT NULL CHECK (people BETWEEN 1 AND 10),
    PRIMARY KEY (book_id, chain_id, n),
    FOREIGN KEY (book_id, chain_id) REFERENCES platform.approval_chain ON DELETE CASCADE,
    CHECK ((permission = '') <> (role = ''))
);

-- What somebody wants done, until others have agreed.  What is to be done, who wanted it and who has to agree never change (A7).
CREATE TABLE platform.approval (
    book_id       uuid        NOT NULL,
    id            uuid        NOT NULL,         -- 'apr_…'
    kind          text        NOT NULL,
    subject       text        NOT NULL,         -- what it is done to: 'pi_…'
    summary       text        NOT NULL,         -- one sentence for a person
    command       text        NOT NULL,         -- what is done: canonical JSON; secrets in it are sealed
    hash          bytea       NOT NULL,         -- SHA-256 of all of the above, of asset and units
    asset         text        NOT NULL DEFAULT '',
    units         bigint,                       -- NULL: it is about no amount
    maker         text        NOT NULL,         -- 'usr_…', 'svc_…', 'key_…', 'operator'
    steps         text        NOT NULL,         -- JSON: as they were when it was made
    state         text        NOT NULL DEFAULT 'open'
                  CHECK (state IN ('open', 'approved', 'executed', 'refused', 'expired', 'cancelled')),
    result        text,                         -- JSON: what it led to
    reason        text,                         -- why it ended without
    root_id       uuid        NOT NULL,
    business_line text        NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    PRIMARY KEY (book_id, id),
    UNIQUE (id)
);
CREATE INDEX approval_due ON platform.approval (expires_at) WHERE state IN ('open', 'approved');
CREATE INDEX approval_subject ON platform.approval (subject, book_id); -- what was wanted of a payment

-- Who said yes or no to what.  Written once; one person decides once (A4).
CREATE TABLE platform.approval_decision (
    book_id     uuid        NOT NULL,
    approval_id uuid        NOT NULL,
    actor       text        NOT NULL,           -- 'usr_…', or 'operator' for whoever was at the machine
    step        integer     NOT NULL,
    yes         boolean     NOT NULL,
    hash        bytea       NOT NULL,           -- of what its author saw (A2)
    why         text        NOT NULL DEFAULT '',
    at          timestamptz NOT NULL,
    PRIMARY KEY (book_id, approval_id, actor)
);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.approval_decision
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- Counters: what limits and velocities count.  See platform/counters.py.  One row each: whoever adds to it or takes from it holds this
-- row until he commits.
CREATE TABLE platform.counter (
    book_id   uuid        NOT NULL,
    key       text        NOT NULL,             -- 'channel:ca_x:CNY'
    window_s  integer     NOT NULL,             -- the longest that was ever asked of it: its takes are kept a day longer
    crowded   boolean     NOT NULL DEFAULT false, -- it has tallies
    forget_at timestamptz NOT NULL,             -- when to look for takes that are too old
    PRIMARY KEY (book_id, key)
) WITH (fillfactor = 80);
CREATE INDEX counter_forget ON platform.counter (forget_at);

-- What was taken.  Rows that are given back, or whose lease is over, go.
CREATE TABLE platform.take (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- who takes: an attempt
    key        text        NOT NULL,
    units      bigint      NOT NULL CHECK (units > 0),
    at         timestamptz NOT NULL,            -- from then on it counts
    expires_at timestamptz,                     -- then it ends by itself; NULL: it stands
    PRIMARY KEY (book_id, id, key)
);
CREATE INDEX take_at ON platform.take (book_id, key, at) INCLUDE (units);
CREATE INDEX take_lease ON platform.take (book_id, key, expires_at) WHERE expires_at IS NOT NULL;

-- What a crowded counter took within so many seconds, so that a long window is a sum over some hundred rows.
CREATE TABLE platform.tally (
    book_id uuid        NOT NULL,
    key     text        NOT NULL,
    size    integer     NOT NULL,               -- seconds: 4, 256, 16384
    start   timestamptz NOT NULL,
    units   bigint      NOT NULL,
    PRIMARY KEY (book_id, key, size, start)
) WITH (fillfactor = 50);

CREATE FUNCTION platform.tallies(at timestamptz) RETURNS TABLE (size integer, start timestamptz) LANGUAGE sql STABLE AS $$
    -- The tallies that an instant belongs to.
    SELECT s, date_bin(make_interval(secs => s), at, TIMESTAMPTZ 'epoch') FROM (VALUES (4), (256), (16384)) AS sizes (s)
$$;

CREATE FUNCTION platform.next_tally(since timestamptz, size integer) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT date_bin(make_interval(secs => size), since, TIMESTAMPTZ 'epoch') + make_interval(secs => size)
$$;

CREATE FUNCTION platform.parts(book uuid, counter text, crowded boolean, since timestamptz)
RETURNS TABLE (size integer, start timestamptz, units bigint) LANGUAGE sql STABLE AS $$
    -- What a counter took after an instant, in as few parts as there are: takes (of size 0) up to the next tally, then ever larger ones.
    SELECT 0, t.at, t.units FROM platform.take t
     WHERE t.book_id = book AND t.key = counter AND t.at > since
       AND t.at < CASE WHEN crowded THEN platform.next_tally(since, 4) ELSE 'infinity' END
     UNION ALL
    SELECT t.size, t.start, t.units FROM platform.tally t
     WHERE crowded AND t.book_id = book AND t.key = counter AND t.size = 4
       AND t.start >= platform.next_tally(since, 4) AND t.start < platform.next_tally(since, 256)
     UNION ALL
    SELECT t.size, t.start, t.units FROM platform.tally t
     WHERE crowded AND t.book_id = book AND t.key = counter AND t.size = 256
       AND t.start >= platform.next_tally(since, 256) AND t.start < platform.next_tally(since, 16384)
     UNION ALL
    SELECT t.size, t.start, t.units FROM platform.tally t
     WHERE crowded AND t.book_id = book AND t.key = counter AND t.size = 16384 AND t.start >= platform.next_tally(since, 16384)
$$;

CREATE FUNCTION platform.untake(rows tid[]) RETURNS void LANGUAGE sql VOLATILE AS $$
    -- Remove takes; they and their counters are locked, so that they lie where they lie.
    WITH gone AS (DELETE FROM platform.take t WHERE t.ctid = ANY (rows) RETURNING t.book_id, t.key, t.at, t.units),
    sums AS (SELECT g.book_id, g.key, y.size, y.start, sum(g.units) AS units FROM gone g CROSS JOIN LATERAL platform.tallies(g.at) y GROUP BY 1, 2, 3, 4)
    UPDATE platform.tally y SET units = y.units - s.units
      FROM sums s WHERE y.book_id = s.book_id AND y.key = s.key AND y.size = s.size AND y.start = s.start
$$;

-- Lock counters in key order, those that are missing made on the way; end leases that are over; read what decides a batch.  A later
-- statement of a volatile function sees what was committed while an earlier one waited; that is why this is one.  What has a key of its
-- own is never asked for by counter, too: before a table has its statistics PostgreSQL may read all that a counter took instead.
CREATE FUNCTION platform.open_counters(books uuid[], keys text[], windows integer[], take_books uuid[], takes uuid[],
                                       sum_books uuid[], sum_keys text[], sinces timestamptz[], instant timestamptz)
RETURNS TABLE (what text, n bigint, key text, units bigint, parts bigint) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE over tid[];
BEGIN
    INSERT INTO platform.counter AS c (book_id, key, window_s, forget_at)
    SELECT w.book_id, w.key, w.window_s, instant + make_interval(days => 1, secs => w.window_s)
      FROM unnest(books, keys, windows) AS w (book_id, key, window_s)
     ORDER BY w.book_id, w.key
        ON CONFLICT (book_id, key) DO UPDATE SET window_s = EXCLUDED.window_s WHERE c.window_s < EXCLUDED.window_s; -- locks it, changed or not
    SELECT array_agg(l.ctid) INTO over FROM (
        SELECT t.ctid FROM unnest(books, keys) AS w (book_id, key) JOIN platform.take t USING (book_id, key)
         WHERE t.expires_at <= instant FOR UPDATE OF t SKIP LOCKED) AS l; -- one that is committed just now, by a slower clock, stands
    IF over IS NOT NULL THEN
        PERFORM platform.untake(over);
    END IF;
    RETURN QUERY SELECT 'crowded', w.n, w.key, NULL::bigint, NULL::bigint
                   FROM unnest(books, keys) WITH ORDINALITY AS w (book_id, key, n) JOIN platform.counter c USING (book_id, key) WHERE c.crowded;
    RETURN QUERY SELECT 'had', w.n, t.key, t.units, NULL::bigint
                   FROM unnest(take_books, takes) WITH ORDINALITY AS w (book_id, id, n) JOIN platform.take t USING (book_id, id);
    RETURN QUERY SELECT 'used', w.n, w.key, s.units, s.parts
                   FROM unnest(sum_books, sum_keys, sinces) WITH ORDINALITY AS w (book_id, key, since, n)
                   JOIN platform.counter c USING (book_id, key)
                  CROSS JOIN LATERAL (SELECT coalesce(sum(p.units), 0)::bigint AS units, count(*) AS parts
                                        FROM platform.parts(c.book_id, c.key, c.crowded, w.since) p) AS s;
END $$;

CREATE FUNCTION platform.freed_at(book uuid, counter text, since timestamptz, need bigint) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
    -- When the take was made with which so many units have left the window, or the end of its smallest tally: from part to smaller part.
DECLARE part record;
BEGIN
    SELECT p.* INTO part
      FROM (SELECT p.size, p.start, p.units, sum(p.units) OVER (ORDER BY p.start) AS upto
              FROM platform.counter c CROSS JOIN LATERAL platform.parts(c.book_id, c.key, c.crowded, since) p
             WHERE c.book_id = book AND c.key = counter) AS p
     WHERE p.upto >= need ORDER BY p.start LIMIT 1;
    WHILE part.size > 4 LOOP
        need := need - (part.upto - part.units);
        SELECT p.* INTO part
          FROM (SELECT t.size, t.start, t.units, sum(t.units) OVER (ORDER BY t.start) AS upto FROM platform.tally t
                 WHERE t.book_id = book AND t.key = counter AND t.size = part.size / 64
                   AND t.start >= part.start AND t.start < part.start + make_interval(secs => part.size)) AS p
         WHERE p.upto >= need ORDER BY p.start LIMIT 1;
    END LOOP;
    RETURN part.start + make_interval(secs => part.size);
END $$;

-- Give takes back: their rows are locked, then their counters, each in their order.
CREATE FUNCTION platform.release_takes(books uuid[], ids uuid[], instant timestamptz)
RETURNS TABLE (book_id uuid, id uuid) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE gone_books uuid[]; gone uuid[]; keys text[]; counted boolean[]; rows tid[];
BEGIN
    SELECT array_agg(l.book_id), array_agg(l.id), array_agg(l.key), array_agg(l.counted), array_agg(l.ctid)
      INTO gone_books, gone, keys, counted, rows FROM (
        SELECT t.book_id, t.id, t.key, t.expires_at IS NULL OR t.expires_at > instant AS counted, t.ctid
          FROM (SELECT DISTINCT * FROM unnest(books, ids) AS k (book_id, id)) AS k JOIN platform.take t USING (book_id, id)
         ORDER BY t.book_id, t.id, t.key FOR UPDATE OF t) AS l;
    PERFORM FROM platform.counter c JOIN (SELECT DISTINCT * FROM unnest(gone_books, keys) AS k (book_id, key)) AS k USING (book_id, key)
      ORDER BY c.book_id, c.key FOR NO KEY UPDATE OF c;
    PERFORM platform.untake(rows);
    RETURN QUERY SELECT DISTINCT g.book_id, g.id FROM unnest(gone_books, gone, counted) AS g (book_id, id, counted) WHERE g.counted;
END $$;

-- Forget takes that no window reaches any more, some counters and some thousand takes at a time; how much there was to do.
CREATE FUNCTION platform.forget_takes(instant timestamptz, counters integer, takes integer) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE books uuid[]; keys text[]; untils timestamptz[]; gone bigint;
BEGIN
    SELECT array_agg(c.book_id), array_agg(c.key), array_agg(instant - make_interval(days => 1, secs => c.window_s)) INTO books, keys, untils FROM (
        SELECT * FROM platform.counter WHERE forget_at <= instant ORDER BY forget_at LIMIT counters FOR UPDATE SKIP LOCKED) AS c;
    DELETE FROM platform.take WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM unnest(books, keys, untils) AS w (book_id, key, until) JOIN platform.take t USING (book_id, key)
         WHERE t.at <= w.until LIMIT takes FOR UPDATE OF t SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone < takes THEN -- all of them: what is not empty now is looked at when its oldest take is too old
        DELETE FROM platform.counter c USING unnest(books, keys) AS w (book_id, key)
         WHERE c.book_id = w.book_id AND c.key = w.key AND NOT EXISTS (SELECT FROM platform.take t WHERE t.book_id = c.book_id AND t.key = c.key);
        DELETE FROM platform.tally y USING unnest(books, keys, untils) AS w (book_id, key, until)
         WHERE y.book_id = w.book_id AND y.key = w.key
           AND (y.start + make_interval(secs => y.size) <= w.until
                OR NOT EXISTS (SELECT FROM platform.counter c WHERE c.book_id = w.book_id AND c.key = w.key));
        UPDATE platform.counter c
           SET forget_at = greatest(instant + interval '1 hour', make_interval(days => 1, secs => c.window_s)
                         + (SELECT min(t.at) FROM platform.take t WHERE t.book_id = c.book_id AND t.key = c.key))
          FROM unnest(books, keys) AS w (book_id, key) WHERE c.book_id = w.book_id AND c.key = w.key;
    END IF;
    RETURN gone + coalesce(cardinality(books), 0);
END $$;

-- How far the passes of the auditor have come.  run_at is schedule and lease in one: whoever dies while looking is followed after it.
CREATE TABLE platform.auditor (
    name    text        PRIMARY KEY,            -- 'fresh': follows the present; 'full': walks everything, and begins again
    book_id uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- where the walk is
    id      uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- rows up to this were looked at
    run_at  timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz                         -- when the last walk ended
);
INSERT INTO platform.auditor (name) VALUES ('fresh'), ('full');

-- Every partition of every table that is partitioned by id: which ids it takes (NULL: all that have no partition of their own), how many
-- rows it may have, and how large it is.
CREATE VIEW platform.partition AS
SELECT pn.nspname || '.' || p.relname AS name, format('%I.%I', n.nspname, c.relname) AS part,
       substring(b.bound FROM 'FROM \(''([^'']+)''\)')::uuid AS first, substring(b.bound FROM 'TO \(''([^'']+)''\)')::uuid AS upto,
       greatest(c.reltuples, 0)::bigint AS rows, pg_relation_size(c.oid) AS heap, pg_total_relation_size(c.oid) AS bytes
  FROM pg_partitioned_table t
  JOIN pg_class p ON p.oid = t.partrelid
  JOIN pg_namespace pn ON pn.oid = p.relnamespace
  JOIN pg_inherits i ON i.inhparent = p.oid
  JOIN pg_class c ON c.oid = i.inhrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS b
 WHERE c.relkind = 'r';

-- What each process saw of each channel account within the last seconds, for the others to add up.  Written over each second; what a crash
-- of the server loses of it is seen anew.  A channel account's id is its book's.
CREATE UNLOGGED TABLE platform.channel_seen (
    book_id uuid        NOT NULL,
    op      text        NOT NULL,               -- 'create', 'query' …
    runner  uuid        NOT NULL,               -- the process
    version integer     NOT NULL,               -- of the breaker: what was seen before it moved counts no more
    at      timestamptz NOT NULL,
    good    integer     NOT NULL,
    refused integer     NOT NULL,
    bad     integer     NOT NULL,
    ms      bigint      NOT NULL,               -- that all of them took
    PRIMARY KEY (book_id, op, runner)
) WITH (fillfactor = 50);

-- How each channel account stands, for all processes; one without a row is well, and has the guard that all have.
CREATE TABLE platform.breaker (
    book_id    uuid        NOT NULL,            -- the channel account
    version    integer     NOT NULL,            -- +1 with every change; who moves it names the one that he saw
    state      text        NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
    until      timestamptz,                     -- open: it is probed then
    opens      integer     NOT NULL DEFAULT 0,  -- in a row, without a recovery between
    paused     boolean     NOT NULL DEFAULT false, -- by an operator: no new payments
    guard      text        NOT NULL DEFAULT '{}', -- JSON: what differs from the guard that all have
    why        text        NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id)
);

-- Every move of a breaker, and of the operator's switch.  Written once.
CREATE TABLE platform.breaker_move (
    book_id uuid        NOT NULL,
    id      uuid        NOT NULL,
    was     text        NOT NULL,
    became  text        NOT NULL,               -- 'closed', 'open', 'half_open', 'paused', 'resumed'
    why     text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, id)
);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform.breaker_move
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();

-- Make one partition, the ids of a month (of UTC), or the one for the rest (NULL); false: it is there.  A trigger on TRUNCATE is not handed
-- down by PostgreSQL; that is done here.
CREATE FUNCTION platform.add_partition(parent regclass, month timestamp) RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE part text; ids text := 'DEFAULT'; guard record;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname || coalesce(to_char(month, '_YYYY_MM'), '_rest')) INTO part
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent;
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    IF month IS NOT NULL THEN
        ids := format('FOR VALUES FROM (%L) TO (%L)', platform.id_at(month AT TIME ZONE 'UTC'), platform.id_at((month + interval '1 month') AT TIME ZONE 'UTC'));
    END IF;
    EXECUTE format('CREATE TABLE %s PARTITION OF %s %s', part, parent, ids);
    FOR guard IN SELECT g.tgname, g.tgfoid::regproc AS runs FROM pg_trigger g WHERE g.tgrelid = parent AND g.tgtype & 32 > 0 LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s EXECUTE FUNCTION %s()', guard.tgname, part, guard.runs);
    END LOOP;
    RETURN true;
EXCEPTION WHEN check_violation THEN -- ids of this month lie in the rest partition: they stay there, and so does what comes
    RAISE WARNING '% is not made: ids of its time lie in the rest partition', part;
    RETURN false;
END $$;

-- Make what is missing of the partitions for the rest, for this month and for the next, `most` at a time; how many.  No more ahead: each
-- costs every connection memory.
CREATE FUNCTION platform.grow(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record; made integer := 0; this timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(7172);
    FOR t IN SELECT p.partrelid::regclass AS parent, m.month
               FROM pg_partitioned_table p, (VALUES (NULL), (this), (this + interval '1 month')) AS m (month)
              ORDER BY m.month NULLS FIRST, p.partrelid LOOP
        EXIT WHEN made = most;
        made := made + platform.add_partition(t.parent, t.month)::integer;
    END LOOP;
    RETURN made;
END $$;

-- Drop the oldest partition that the rule of its table keeps no longer; what it was.  The caller does not say which: the rules do.
CREATE FUNCTION platform.drop_expired() RETURNS TABLE (part text, rows bigint, bytes bigint, keep_days integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE old record;
BEGIN
    PERFORM pg_advisory_xact_lock(7172);
    SELECT p.*, r.keep_days INTO old FROM platform.retention r JOIN platform.partition p USING (name)
     WHERE r.keep_days >= r.least_days AND p.upto <= platform.id_at(now() - make_interval(days => r.keep_days))
     ORDER BY p.upto, p.name LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    EXECUTE format('DROP TABLE %s', old.part);
    UPDATE platform.retention SET gone_before = greatest(gone_before, old.upto) WHERE name = old.name;
    RETURN QUERY SELECT old.part, old.rows, old.bytes, old.keep_days;
END $$;

SELECT platform.grow(100);

GRANT USAGE ON SCHEMA platform TO guilder_app;
GRANT SELECT, UPDATE (keep_days) ON platform.retention TO guilder_app;
GRANT SELECT ON platform.partition TO guilder_app;
REVOKE ALL ON FUNCTION platform.add_partition, platform.grow, platform.drop_expired, platform.seal_trail FROM PUBLIC;
GRANT EXECUTE ON FUNCTION platform.grow, platform.drop_expired, platform.seal_trail TO guilder_app;
GRANT SELECT ON platform.trail_seal TO guilder_app;
GRANT SELECT, INSERT, DELETE ON platform.commit_mark TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON platform.runner, platform.answer, platform.outbox, platform.job TO guilder_app;
GRANT SELECT, INSERT ON platform.event, platform.wire_message, platform.trail TO guilder_app;
GRANT SELECT, INSERT ON platform.case_comment, platform.case_attachment, platform.case_decision TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON platform.case TO guilder_app;
GRANT SELECT, INSERT ON platform.person_key TO guilder_app;
GRANT UPDATE (sealed, erased_at) ON platform.person_key TO guilder_app;
GRANT SELECT, INSERT, DELETE ON platform.approval_chain, platform.approval_step TO guilder_app;
GRANT SELECT, INSERT ON platform.approval, platform.approval_decision TO guilder_app;
GRANT UPDATE (state, result, reason, ended_at) ON platform.approval TO guilder_app;
GRANT SELECT, INSERT, DELETE ON platform.counter, platform.take, platform.tally TO guilder_app;
GRANT UPDATE (window_s, crowded, forget_at) ON platform.counter TO guilder_app;
GRANT UPDATE (expires_at) ON platform.take TO guilder_app;
GRANT UPDATE (units) ON platform.tally TO guilder_app;
GRANT SELECT ON platform.said TO guilder_app;
GRANT SELECT, UPDATE ON platform.auditor TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON platform.channel_seen TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON platform.breaker TO guilder_app;
GRANT SELECT, INSERT ON platform.breaker_move TO guilder_app;
