-- Reconciliation: the channels' files of their days, and what became of each line.  See guilder/reconciliation/__init__.py.
CREATE SCHEMA reconciliation;

-- One file of one channel account and day, as it came.  R3: another file of the same day is another version.
CREATE TABLE reconciliation.statement (
    book_id            uuid        NOT NULL,     -- the merchant's
    id                 uuid        NOT NULL,     -- 'stm_…'
    channel_account_id uuid        NOT NULL,
    channel            text        NOT NULL,     -- 'wechatpay'
    day                date        NOT NULL,     -- the channel's
    version            integer     NOT NULL,
    sha256             text        NOT NULL,     -- of the unpacked file
    raw                bytea       NOT NULL,     -- the file, packed by zlib
    currency           text        NOT NULL,
    fee_exponent       smallint    NOT NULL,
    payments           bigint      NOT NULL,     -- the file's own control totals, in minor units
    paid               bigint      NOT NULL,
    refunds            bigint      NOT NULL,
    refunded           bigint      NOT NULL,
    fee                bigint      NOT NULL,     -- in units of 10^-fee_exponent
    our_payments       bigint,                   -- what took part on our side when it was matched
    our_paid           bigint,
    our_refunds        bigint,
    our_refunded       bigint,
    root_id            uuid        NOT NULL,
    fetched_at         timestamptz NOT NULL,
    matched_at         timestamptz,              -- NULL: imported, not yet matched
    archived_at        timestamptz,              -- a newer version took its place
    PRIMARY KEY (book_id, id),
    UNIQUE (channel_account_id, day, version)
);
CREATE UNIQUE INDEX "R3 one version counts" ON reconciliation.statement (channel_account_id, day) WHERE archived_at IS NULL;

CREATE TABLE reconciliation.line (
    book_id      uuid        NOT NULL,
    statement_id uuid        NOT NULL,
    number       integer     NOT NULL,           -- row in the file, from 1
    kind         text        NOT NULL CHECK (kind IN ('payment', 'refund', 'payout', 'dispute', 'fee', 'other')),
    about        uuid,                           -- the attempt or refund that the key names; NULL: no key of this book
    key          text        NOT NULL,
    payment_key  text        NOT NULL,
    channel_ref  text        NOT NULL,
    amount       bigint      NOT NULL,
    currency     text        NOT NULL,
    fee          bigint      NOT NULL,
    at           timestamptz NOT NULL,           -- by the channel's clock
    status       text        NOT NULL,           -- the channel's own word
    PRIMARY KEY (book_id, statement_id, number)  -- written in the transaction of its statement: a foreign key would check each line
);
CREATE INDEX line_about ON reconciliation.line (about, book_id) WHERE about IS NOT NULL;

-- A line that is what we have.
CREATE TABLE reconciliation.match (
    book_id      uuid    NOT NULL,
    about        uuid    NOT NULL,               -- attempt or refund
    statement_id uuid    NOT NULL,
    number       integer NOT NULL,
    kind         text    NOT NULL,
    amount       bigint  NOT NULL,
    told         boolean NOT NULL DEFAULT false, -- it became so because the line was told to the payments: a break says it
    CONSTRAINT "R1 matched once" PRIMARY KEY (book_id, about)
);
CREATE INDEX match_statement ON reconciliation.match (statement_id, book_id);

-- A line or a record of ours that is not.
CREATE TABLE reconciliation.break (
    book_id            uuid        NOT NULL,     -- the merchant's; the channel account's own where the line is none of ours
    statement_id       uuid        NOT NULL,
    number             integer     NOT NULL,     -- of the break, from 1
    channel_account_id uuid        NOT NULL,
    day                date        NOT NULL,
    kind               text        NOT NULL,
    reason             text        NOT NULL CHECK (reason IN ('missing_local', 'missing_channel', 'amount', 'currency', 'status',
                                                              'duplicate_channel', 'pending_cutover')),
    about              uuid,
    key                text,                     -- as the line has it; NULL: there is no line
    line               integer,
    channel_ref        text,
    channel_amount     bigint,                   -- NULL: the channel has none
    channel_currency   text,
    our_amount         bigint,                   -- NULL: no money in our book
    our_currency       text,
    our_state          text,
    difference         bigint GENERATED ALWAYS AS
        (CASE WHEN reason <> 'currency' THEN coalesce(channel_amount, 0) - coalesce(our_amount, 0) END) STORED,
    at                 timestamptz NOT NULL,     -- when money moved: the line's time, or ours
    state              text        NOT NULL CHECK (state IN ('open', 'carried', 'resolved', 'superseded')),
    resolution         text,
    resolved_by        uuid,                     -- the statement that resolved it
    resolved_at        timestamptz,
    case_id            uuid,                     -- the case that resolved it, by a person's answer
    decided_by         text,                     -- who gave it; why is in `resolution`
    owner              text,                     -- who looks after it
    root_id            uuid        NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, statement_id, number)
);
-- What still waits: carried to the next day, or for a late line.
CREATE INDEX break_waits ON reconciliation.break (channel_account_id, about) WHERE state IN ('open', 'carried');
CREATE INDEX break_about ON reconciliation.break (about) WHERE about IS NOT NULL;
CREATE INDEX break_resolved_by ON reconciliation.break (resolved_by) WHERE resolved_by IS NOT NULL;

INSERT INTO platform.retention (name, reason) VALUES
    ('reconciliation.statement', 'what channels wrote, day by day'),
    ('reconciliation.line', 'what channels wrote, line by line'),
    ('reconciliation.match', 'which line is which payment'),
    ('reconciliation.break', 'what did not agree, and who settled it');

GRANT USAGE ON SCHEMA reconciliation TO guilder_app;
GRANT SELECT, INSERT ON reconciliation.line TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON reconciliation.statement, reconciliation.break TO guilder_app;
GRANT SELECT, INSERT, DELETE ON reconciliation.match TO guilder_app;
