-- Payments: what is to be paid for, each try at a channel, what was collected, what was given back.
-- Secondary indexes do not begin with book_id: on a young table the planner takes an index that shares its first column with the primary
-- key for as good as that one, and reads the whole book through it.
CREATE SCHEMA payments;

CREATE TABLE payments.method (
    book_id     uuid        NOT NULL,
    id          uuid        NOT NULL,           -- 'pm_…'
    type        text        NOT NULL,           -- 'wechat_pay', 'alipay'
    dial        text,                           -- test environment: what the simulator is to do wrong
    customer_id uuid,
    billing     text        NOT NULL DEFAULT '{}',
    metadata    jsonb       NOT NULL DEFAULT '{}',
    version     integer     NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL,
    person_id   uuid,                           -- whom `billing` is about: the customer, or the payment that it was made for
    PRIMARY KEY (book_id, id),
    FOREIGN KEY (book_id, customer_id) REFERENCES merchants.customer (book_id, id)
);
CREATE INDEX method_person ON payments.method (person_id, book_id) WHERE person_id IS NOT NULL;
CREATE INDEX method_customer ON payments.method (customer_id, book_id) WHERE customer_id IS NOT NULL;

CREATE TABLE payments.intent (
    book_id          uuid        NOT NULL,
    id               uuid        NOT NULL,      -- 'pi_…'
    version          integer     NOT NULL,      -- +1 with every change; events carry it
    status           text        NOT NULL,
    amount           bigint      NOT NULL,
    currency         text        NOT NULL,
    customer_id      uuid,
    method_id        uuid,                      -- the way chosen, if it is a stored pm_
    method_type      text,
    types            text[]      NOT NULL,      -- ways the payer may choose
    attempt_id       uuid,                      -- the latest
    charge_id        uuid,
    description      text,
    metadata         jsonb       NOT NULL DEFAULT '{}',
    extra            text        NOT NULL,      -- what is stored and echoed, and decides nothing, as JSON
    next_action      text,
    last_error       text,
    cancel_reason    text,
    cancel_wanted_at timestamptz,               -- asked for, and not yet certain at the channel
    canceled_at      timestamptz,
    expires_at       timestamptz,               -- the payment ends then; NULL: when it is cancelled
    late_success     text        NOT NULL,      -- the merchant's rule when it was made
    root_id          uuid        NOT NULL,
    business_line    text        NOT NULL,
    created_at       timestamptz NOT NULL,
    origin           text        NOT NULL DEFAULT 'api', -- or 'checkout', 'counter'
    received         bigint,                    -- what was collected, once it was
    store_id         uuid,                      -- where it is made; NULL: in no store
    terminal_id      uuid,
    operator_id      uuid,                      -- who stands there
    PRIMARY KEY (book_id, id),
    CHECK (amount > 0)
) WITH (fillfactor = 70);
CREATE INDEX intent_customer ON payments.intent (customer_id, book_id, id) WHERE customer_id IS NOT NULL;
CREATE INDEX intent_order ON payments.intent ((metadata ->> 'order_id')) WHERE metadata ? 'order_id'; -- the merchant's own number
CREATE INDEX intent_store ON payments.intent (store_id, book_id, id) WHERE store_id IS NOT NULL;
CREATE INDEX intent_terminal ON payments.intent (terminal_id, book_id, id) WHERE terminal_id IS NOT NULL;
CREATE INDEX intent_expiry ON payments.intent (expires_at)
    WHERE expires_at IS NOT NULL AND status NOT IN ('succeeded', 'canceled');

CREATE TABLE payments.attempt (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,    -- 'at_…'; the channel knows it as id + book code
    intent_id          uuid        NOT NULL,
    channel_account_id uuid        NOT NULL,
    channel            text        NOT NULL,
    way                text        NOT NULL,    -- 'native', 'page', 'precreate'
    state              text        NOT NULL,
    amount             bigint      NOT NULL,
    currency           text        NOT NULL,
    channel_ref        text,
    return_url         text,
    attach             text,
    next_action        text,
    problem            text,                    -- why it failed, as JSON
    ask_at             timestamptz,             -- when to ask the channel next; also the lease of who asks; NULL: no more
    asked              integer     NOT NULL DEFAULT 0,
    close_wanted       boolean     NOT NULL DEFAULT false,
    expires_at         timestamptz NOT NULL,    -- told to the channel
    paid_at            timestamptz,
    root_id            uuid        NOT NULL,
    business_line      text        NOT NULL,
    created_at         timestamptz NOT NULL,
    hold               boolean     NOT NULL DEFAULT false, -- authorise only: it is captured later
    capture            bigint,                  -- what we have asked to collect of what is held
    memo               text,                    -- what the channel's adapter wants back with every later ask
    given              text        NOT NULL DEFAULT '{}', -- what the way needed of the payer: openid, auth_code; personal
    routed             text,                    -- which rule of which version chose its account, and why no other, as JSON; NULL: there was nothing to choose
    counted            boolean     NOT NULL DEFAULT false, -- it takes room of its account's limits
    unasked            boolean     NOT NULL DEFAULT false, -- its channel has never been asked: the front asks
    came               bigint,                  -- what lay aside for it in all: other sums came than it was to collect
    PRIMARY KEY (book_id, id),
    FOREIGN KEY (book_id, intent_id) REFERENCES payments.intent (book_id, id),
    CONSTRAINT "no more is captured than is held" CHECK (capture BETWEEN 1 AND amount)
) WITH (fillfactor = 70);
CREATE INDEX attempt_intent ON payments.attempt (intent_id, book_id);
CREATE INDEX attempt_ask ON payments.attempt (ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX attempt_paid ON payments.attempt (channel_account_id, paid_at) WHERE paid_at IS NOT NULL; -- a day's, for reconciliation

-- One channel transaction belongs to one attempt or refund.
CREATE TABLE payments.channel_ref (
    channel_account_id uuid NOT NULL,
    ref                text NOT NULL,
    book_id            uuid NOT NULL,
    about              uuid NOT NULL,
    PRIMARY KEY (channel_account_id, ref)
);

CREATE TABLE payments.charge (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,    -- 'ch_…'
    intent_id          uuid        NOT NULL,
    attempt_id         uuid        NOT NULL,
    channel_account_id uuid        NOT NULL,
    method_type        text        NOT NULL,
    version            integer     NOT NULL DEFAULT 1,
    amount             bigint      NOT NULL,
    refunded           bigint      NOT NULL DEFAULT 0, -- given back or on its way back: never more than was captured
    currency           text        NOT NULL,
    channel_ref        text,
    paid_at            timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    fee                bigint      NOT NULL DEFAULT 0, -- what the platform keeps of it; refunds do not give it back
    disputed           boolean     NOT NULL DEFAULT false, -- its payer has complained at the channel, once at least
    PRIMARY KEY (book_id, id),
    CONSTRAINT "one charge per intent" UNIQUE (intent_id, book_id),
    CONSTRAINT "refunds fit the charge" CHECK (refunded BETWEEN 0 AND amount),
    CONSTRAINT "the fee fits the charge" CHECK (fee BETWEEN 0 AND amount)
) WITH (fillfactor = 80);

CREATE TABLE payments.refund (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,    -- 're_…'; the channel knows it as id + book code
    intent_id          uuid        NOT NULL,
    attempt_id         uuid        NOT NULL,
    charge_id          uuid,                    -- NULL: a surplus goes back, there was no charge
    channel_account_id uuid        NOT NULL,
    version            integer     NOT NULL DEFAULT 1,
    state              text        NOT NULL,
    amount             bigint      NOT NULL,
    currency           text        NOT NULL,
    reason             text,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    channel_ref        text,
    problem            text,
    ask_at             timestamptz,
    asked              integer     NOT NULL DEFAULT 0,
    done_at            timestamptz,
    root_id            uuid        NOT NULL,
    business_line      text        NOT NULL,
    created_at         timestamptz NOT NULL,
    memo               text,                    -- what the channel's adapter wants back with every later ask
    aside_id           uuid,                    -- what lay aside, and goes back by it
    elsewhere          text,                    -- 'platform', 'merchant': who gave it back by another road; at the channel it has failed
    PRIMARY KEY (book_id, id),
    FOREIGN KEY (book_id, intent_id) REFERENCES payments.intent (book_id, id),
    CHECK (amount > 0),
    CHECK (elsewhere IS NULL OR state = 'succeeded' AND charge_id IS NOT NULL),
    CHECK (charge_id IS NULL OR aside_id IS NULL)
) WITH (fillfactor = 70);
CREATE INDEX refund_intent ON payments.refund (intent_id, book_id);
CREATE INDEX refund_ask ON payments.refund (ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX refund_done ON payments.refund (channel_account_id, done_at) WHERE done_at IS NOT NULL; -- a day's, for reconciliation
CREATE UNIQUE INDEX "one refund per surplus" ON payments.refund (attempt_id, book_id) WHERE charge_id IS NULL AND aside_id IS NULL;
CREATE UNIQUE INDEX "N2 what lies aside goes back once" ON payments.refund (aside_id, book_id) WHERE aside_id IS NOT NULL AND state <> 'failed';

-- Money that moved at a channel, and that no charge or refund of ours stands for, until it is known whose it is.  See payments/aside.py.
CREATE TABLE payments.aside (
    book_id            uuid        NOT NULL,
    id                 uuid        NOT NULL,    -- 'as_…'
    channel_account_id uuid        NOT NULL,
    ref                text        NOT NULL,    -- what makes it this sum and no other: the channel's number of it
    attempt_id         uuid,                    -- the try that it came for; NULL: none that we know
    intent_id          uuid,
    gave               boolean     NOT NULL,    -- the channel gave it away; else it has it
    units              bigint      NOT NULL,
    asset              text        NOT NULL,
    used               bigint      NOT NULL,    -- what of it became a charge, or is a surplus
    state              text        NOT NULL,
    channel_ref        text,
    root_id            uuid        NOT NULL,
    business_line      text        NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    CHECK (units > 0),
    CHECK (used BETWEEN 0 AND units),
    CHECK ((state = 'used') = (used = units))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX "N1 a sum lies aside once" ON payments.aside (channel_account_id, ref, book_id);
CREATE INDEX aside_attempt ON payments.aside (attempt_id, book_id) WHERE attempt_id IS NOT NULL;

-- What plug-ins do around a try, and undo.  Rows only where there are plug-ins.  See payments/hooks.py.
CREATE TABLE payments.step (
    book_id    uuid        NOT NULL,
    attempt_id uuid        NOT NULL,
    plugin     text        NOT NULL,
    point      text        NOT NULL CHECK (point IN ('before_asking', 'after_answer', 'on_success')),
    state      text        NOT NULL CHECK (state IN ('waits', 'begun', 'done', 'kept', 'undone', 'skipped')),
    due_at     timestamptz,                     -- when it is looked at next, and the lease of who looks; NULL: it has ended
    looked     int         NOT NULL,
    failed     int         NOT NULL,            -- times in a row
    why        text,
    PRIMARY KEY (book_id, attempt_id, plugin, point),
    CHECK ((due_at IS NULL) = (state IN ('kept', 'undone', 'skipped')))
) PARTITION BY RANGE (attempt_id);
CREATE INDEX step_due ON payments.step (due_at) WHERE due_at IS NOT NULL;

-- Every move of a state, for the timeline and for G8.  Written once.
CREATE TABLE payments.history (
    book_id uuid        NOT NULL,
    id      uuid        NOT NULL,
    about   uuid        NOT NULL,               -- intent, attempt or refund
    kind    text        NOT NULL CHECK (kind IN ('intent', 'attempt', 'refund')),
    was     text,
    became  text        NOT NULL,
    door    text        NOT NULL,               -- 'api', 'reply', 'callback', 'query', 'statement' …
    root_id uuid        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (book_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX history_about ON payments.history (about); -- how one thing came to stand where it stands
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON payments.history
   FOR EACH ROW EXECUTE FUNCTION platform.refuse_change();
SELECT platform.grow(100);

INSERT INTO platform.retention (name, keep_days, least_days, reason) VALUES
    ('payments.method', NULL, NULL, 'what payments refer to'),
    ('payments.intent', NULL, NULL, 'what was paid for; refunds and questions come years later'),
    ('payments.attempt', NULL, NULL, 'channels name it for ever'),
    ('payments.channel_ref', NULL, NULL, 'one channel transaction is taken in once, however late it is told again'),
    ('payments.charge', NULL, NULL, 'what was collected'),
    ('payments.refund', NULL, NULL, 'what went back'),
    ('payments.aside', NULL, NULL, 'what nobody had asked for, and what became of it'),
    ('payments.step', 400, 90, 'what plug-ins did around a try'),
    ('payments.history', NULL, 90, 'how each payment came to stand where it stands');

-- What reconciliation, the cashier and the console read.
CREATE VIEW payments.payment_line AS
SELECT a.book_id, a.id, a.intent_id, a.channel_account_id, a.channel, a.way, a.state, coalesce(CASE WHEN a.state IN ('succeeded', 'surplus') THEN a.came END, a.capture, a.amount) AS amount, a.currency, a.channel_ref, a.paid_at,
       a.ask_at, a.created_at, a.expires_at, a.root_id, a.memo, a.unasked
  FROM payments.attempt a;
CREATE VIEW payments.refund_line AS
SELECT r.book_id, r.id, r.intent_id, r.attempt_id, r.channel_account_id, CASE WHEN r.elsewhere IS NULL THEN r.state ELSE 'failed' END AS state,
       r.amount, r.currency, r.channel_ref, CASE WHEN r.elsewhere IS NULL THEN r.done_at END AS done_at, r.created_at, r.root_id
  FROM payments.refund r; -- as the channel has them
CREATE VIEW payments.intent_line AS
SELECT i.book_id, i.id, i.status, i.amount, i.currency, i.types, i.method_type, i.attempt_id, i.description, i.extra, i.next_action,
       i.last_error, i.cancel_reason, i.cancel_wanted_at, i.expires_at, i.root_id, i.business_line, i.created_at
  FROM payments.intent i;
CREATE VIEW payments.charge_line AS
SELECT c.book_id, c.id, c.intent_id, c.attempt_id, c.channel_account_id, c.method_type, c.amount, c.refunded, c.currency, c.channel_ref, c.paid_at,
       c.created_at, i.root_id, i.business_line
  FROM payments.charge c JOIN payments.intent i ON i.book_id = c.book_id AND i.id = c.intent_id;
CREATE VIEW payments.known_ref AS
SELECT r.channel_account_id, r.ref, r.book_id, r.about FROM payments.channel_ref r;
CREATE VIEW payments.trade_line AS -- of what trades ask for
SELECT i.book_id, i.id, i.status, coalesce(i.received, 0) AS received, c.created_at AS collected_at
  FROM payments.intent i
  LEFT JOIN payments.charge c ON c.intent_id = i.id AND c.book_id = i.book_id;
CREATE VIEW payments.payer AS
SELECT i.book_id, i.id AS intent_id, i.customer_id FROM payments.intent i;

GRANT USAGE ON SCHEMA payments TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON payments.method, payments.intent, payments.attempt, payments.charge, payments.refund, payments.aside, payments.step TO guilder_app;
GRANT SELECT, INSERT ON payments.history, payments.channel_ref TO guilder_app;
GRANT SELECT ON payments.payment_line, payments.refund_line, payments.intent_line, payments.trade_line, payments.payer, payments.charge_line, payments.known_ref TO guilder_app;
