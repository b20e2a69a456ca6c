-- Disputes: a payer complains at the channel, and the money of a charge is in question.
CREATE SCHEMA disputes;

CREATE TABLE disputes.dispute (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,    -- 'dp_…'
    version            integer     NOT NULL,    -- +1 with every change; events carry it
    state              text        NOT NULL,
    amount             bigint      NOT NULL,
    currency           text        NOT NULL,
    reason             text        NOT NULL,    -- the dialect's word: 'fraudulent', 'product_not_received' …
    charge_id          uuid        NOT NULL,
    intent_id          uuid        NOT NULL,
    attempt_id         uuid        NOT NULL,
    channel_account_id uuid        NOT NULL,
    channel            text        NOT NULL,
    funds              text        NOT NULL,
    ref                text        NOT NULL,    -- the channel's number
    taken              boolean     NOT NULL,    -- the channel has the money for the time being
    moves              integer     NOT NULL,    -- how often money went out or came back; each is a journal
    fee                bigint      NOT NULL,    -- what the channel took for the trouble, booked with the first move
    due_at             timestamptz,             -- evidence is taken until then
    evidence           bytea,                   -- what was answered, sealed; NULL: nothing yet, or erased
    submitted_at       timestamptz,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    root_id            uuid        NOT NULL,
    business_line      text        NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    CHECK (amount > 0 AND fee >= 0)
);
CREATE UNIQUE INDEX "D1 one dispute of the channel's is one" ON disputes.dispute (channel_account_id, ref, book_id);
CREATE INDEX dispute_charge ON disputes.dispute (charge_id, book_id);

-- What a channel said of a dispute whose payment is not found, or not yet.  It goes when it is recorded.
CREATE TABLE disputes.stray (
    book_id            uuid        NOT NULL,    -- of the channel account
    channel_account_id uuid        NOT NULL,
    ref                text        NOT NULL,    -- the channel's number of the dispute
    payment_key        text,                    -- our key of the payment, where the channel names it
    payment_refs       text[]      NOT NULL,    -- the channel's numbers of the payment
    said               jsonb       NOT NULL,    -- channels.model.Dispute, as they were heard, each once
    shown              integer     NOT NULL DEFAULT 0, -- how many of these a person was asked about
    tries              integer     NOT NULL DEFAULT 0,
    try_at             timestamptz DEFAULT now(),      -- schedule and lease in one; NULL: not looked for any more
    root_id            uuid        NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, channel_account_id, ref)
);
CREATE INDEX stray_due ON disputes.stray (try_at) WHERE try_at IS NOT NULL;

-- Every move of a state.  Written once.
CREATE TABLE disputes.history (
    book_id uuid        NOT NULL,
    id      uuid        NOT NULL,
    about   uuid        NOT NULL,
    was     text,
    became  text        NOT NULL,
    door    text        NOT NULL,
    root_id uuid        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX history_about ON disputes.history (about);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON disputes.history
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();
SELECT platform.grow(100);

INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('disputes.dispute', NULL, NULL, 'what was in question'),
    ('disputes.stray', NULL, NULL, 'what was said of no payment of ours; it goes when its payment is found'),
    ('disputes.history', NULL, 90, 'how each dispute came to stand where it stands');

GRANT USAGE ON SCHEMA disputes TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON disputes.dispute TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON disputes.stray TO guilder_app;
GRANT SELECT, INSERT ON disputes.history TO guilder_app;
