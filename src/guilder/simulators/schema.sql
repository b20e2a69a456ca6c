-- The simulators' book.  `entry` is the book itself and only grows; the other tables are what follows
-- from it, written in the same commit, so that a process that was killed carries on where it stood.
-- A test may open this file while the simulator is dead (or read-only while it lives).
-- Times: milliseconds since 1970 on the simulator's clock.  Money: fen.

CREATE TABLE IF NOT EXISTS entry (
    seq          INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    kind         TEXT NOT NULL,          -- opened_account created opened paid declined closed refund_accepted
                                         -- refund_done callback_due callback_try dial clock closed_day dials endpoint
    account      TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    body         TEXT NOT NULL           -- JSON
) STRICT;
CREATE INDEX IF NOT EXISTS entry_by_trade ON entry (account, out_trade_no) WHERE out_trade_no <> '';
CREATE INDEX IF NOT EXISTS entry_of_dials ON entry (kind) WHERE kind IN ('dial', 'clock', 'endpoint');
CREATE TRIGGER IF NOT EXISTS entry_is_written_once BEFORE UPDATE ON entry
    BEGIN SELECT raise(ABORT, 'the book only grows'); END;
CREATE TRIGGER IF NOT EXISTS entry_is_kept BEFORE DELETE ON entry
    BEGIN SELECT raise(ABORT, 'the book only grows'); END;

CREATE TABLE IF NOT EXISTS account (
    id         TEXT PRIMARY KEY,         -- WeChat Pay: mchid; Alipay: app_id
    channel    TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    config     TEXT NOT NULL,            -- JSON: what the merchant was given
    dials      TEXT NOT NULL             -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS trade (
    account      TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    channel      TEXT NOT NULL,
    channel_ref  TEXT NOT NULL,          -- transaction_id / trade_no
    token        TEXT NOT NULL,          -- code_url / qr_code / form address
    way          TEXT NOT NULL,          -- native | precreate | page
    amount       INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    description  TEXT NOT NULL,
    attach       TEXT NOT NULL,
    notify_url   TEXT NOT NULL,
    return_url   TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    dials        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    state        TEXT NOT NULL,          -- made | waiting | held | paid | declined | closed
    paid_at      INTEGER NOT NULL,
    payer        TEXT NOT NULL,
    closed_at    INTEGER NOT NULL,
    opened_at    INTEGER NOT NULL,
    late_at      INTEGER NOT NULL,
    held_at      INTEGER NOT NULL,
    captured     INTEGER NOT NULL,
    extra        TEXT NOT NULL,          -- JSON: what only its channel knows
    PRIMARY KEY (account, out_trade_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trade_by_ref ON trade (channel_ref);
CREATE INDEX IF NOT EXISTS trade_by_token ON trade (token);
CREATE INDEX IF NOT EXISTS trade_by_day ON trade (account, paid_at) WHERE paid_at > 0;
CREATE INDEX IF NOT EXISTS trade_late ON trade (late_at) WHERE late_at > 0;

CREATE TABLE IF NOT EXISTS refund (
    account       TEXT NOT NULL,
    out_refund_no TEXT NOT NULL,
    out_trade_no  TEXT NOT NULL,
    channel_ref   TEXT NOT NULL,
    amount        INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    notify_url    TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    done_at       INTEGER NOT NULL,
    state         TEXT NOT NULL,         -- PROCESSING | SUCCESS | ABNORMAL
    ends_as       TEXT NOT NULL,
    dials         TEXT NOT NULL,
    PRIMARY KEY (account, out_trade_no, out_refund_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refund_by_no ON refund (account, out_refund_no);
CREATE INDEX IF NOT EXISTS refund_by_ref ON refund (channel_ref);
CREATE INDEX IF NOT EXISTS refund_by_day ON refund (account, created_at);
CREATE INDEX IF NOT EXISTS refund_open ON refund (done_at) WHERE state = 'PROCESSING';

CREATE TABLE IF NOT EXISTS payout (
    account     TEXT NOT NULL,
    out_no      TEXT NOT NULL,
    channel     TEXT NOT NULL,
    channel_ref TEXT NOT NULL,
    amount      INTEGER NOT NULL,
    currency    TEXT NOT NULL,
    payee       TEXT NOT NULL,           -- JSON
    notify_url  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    done_at     INTEGER NOT NULL,
    state       TEXT NOT NULL,           -- PROCESSING | WAITING | SUCCESS | FAILED | CANCELLED
    ends_as     TEXT NOT NULL,
    dials       TEXT NOT NULL,
    extra       TEXT NOT NULL,
    PRIMARY KEY (account, out_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS payout_by_ref ON payout (channel_ref);
CREATE INDEX IF NOT EXISTS payout_by_day ON payout (account, created_at);
CREATE INDEX IF NOT EXISTS payout_open ON payout (done_at) WHERE state = 'PROCESSING';

CREATE TABLE IF NOT EXISTS dispute (
    account      TEXT NOT NULL,
    ref          TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    amount       INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    state        TEXT NOT NULL,          -- needs_response | under_review | won | lost
    notify_url   TEXT NOT NULL,
    extra        TEXT NOT NULL,
    PRIMARY KEY (account, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dispute_by_trade ON dispute (account, out_trade_no);

CREATE TABLE IF NOT EXISTS callback (
    id            TEXT PRIMARY KEY,
    account       TEXT NOT NULL,
    out_trade_no  TEXT NOT NULL,
    out_refund_no TEXT NOT NULL,         -- '' when it is about the payment
    event         TEXT NOT NULL,
    url           TEXT NOT NULL,
    fact          TEXT NOT NULL,         -- JSON: the content, unsigned
    created_at    INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    tries         INTEGER NOT NULL,
    state         TEXT NOT NULL,         -- due | acknowledged | given_up | lost
    dials         TEXT NOT NULL,
    op            TEXT NOT NULL          -- whose dials shape it: create | refund | payout
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS callback_by_trade ON callback (account, out_trade_no);
CREATE INDEX IF NOT EXISTS callback_due ON callback (due_at) WHERE state = 'due';

CREATE TABLE IF NOT EXISTS statement (
    account   TEXT NOT NULL,
    day       TEXT NOT NULL,             -- the channel's day: Beijing
    closed_at INTEGER NOT NULL,
    lines     TEXT NOT NULL,             -- JSON
    corrupt   TEXT NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS platform_key ( -- the channel's own keys, made once for this data directory
    name TEXT PRIMARY KEY,
    pem  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
