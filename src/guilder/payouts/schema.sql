-- Payouts: what a merchant has with us goes to somebody outside.
CREATE SCHEMA payouts;

CREATE TABLE payouts.payout (
    book_id              uuid        NOT NULL,
    id                   uuid        NOT NULL,  -- 'po_…'; the channel knows it as id + book code
    version              integer     NOT NULL,  -- +1 with every change; events carry it
    state                text        NOT NULL,
    amount               bigint      NOT NULL,
    currency             text        NOT NULL,
    channel_account_id   uuid        NOT NULL,
    channel              text        NOT NULL,
    method_type          text        NOT NULL,  -- 'wechat_pay'
    funds                text        NOT NULL,  -- of the channel account, when it was made
    payee                bytea,                 -- O4: who is paid, sealed; NULL: erased
    shown                jsonb       NOT NULL,  -- what may be seen of it
    description          text,
    statement_descriptor text,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    attach               text,                  -- test environment: what the simulator is to do wrong
    channel_ref          text,
    memo                 text,                  -- what the channel's adapter wants back with every later ask
    next_action          text,
    problem              text,                  -- why it failed, as JSON
    ask_at               timestamptz,           -- when to ask the channel next; also the lease of who asks; NULL: no more
    asked                integer     NOT NULL DEFAULT 0,
    done_at              timestamptz,
    root_id              uuid        NOT NULL,
    business_line        text        NOT NULL,
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    CHECK (amount > 0)
) WITH (fillfactor = 70);
CREATE INDEX payout_ask ON payouts.payout (ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX payout_done ON payouts.payout (channel_account_id, done_at) WHERE done_at IS NOT NULL; -- a day's, for reconciliation
CREATE INDEX payout_ref ON payouts.payout (channel_ref, channel_account_id) WHERE channel_ref IS NOT NULL;

-- Every move of a state.  Written once.
CREATE TABLE payouts.history (
    book_id uuid        NOT NULL,
    id      uuid        NOT NULL,
    about   uuid        NOT NULL,
    was     text,
    became  text        NOT NULL,
    door    text        NOT NULL,               -- 'api', 'reply', 'callback', 'query' …
    root_id uuid        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX history_about ON payouts.history (about);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON payouts.history
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();
SELECT platform.grow(100);

INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('payouts.payout', NULL, NULL, 'what went out; channels name it for ever'),
    ('payouts.history', NULL, 90, 'how each payout came to stand where it stands');

-- What reconciliation, the timeline and the console read.
CREATE VIEW payouts.payout_line AS
SELECT p.book_id, p.id, p.channel_account_id, p.state, p.amount, p.currency, p.channel_ref, p.done_at, p.created_at, p.root_id
  FROM payouts.payout p;

GRANT USAGE ON SCHEMA payouts TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON payouts.payout TO guilder_app;
GRANT SELECT, INSERT ON payouts.history TO guilder_app;
GRANT SELECT ON payouts.payout_line TO guilder_app;
