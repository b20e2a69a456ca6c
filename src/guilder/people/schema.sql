-- Who works here: people and service accounts, how they prove who they are, and what they may do.  In the control database.
CREATE SCHEMA people;

CREATE TABLE people.person (
    id          uuid        PRIMARY KEY,      -- 'usr_…'
    email       text        NOT NULL CHECK (email = lower(email)),
    name        text        NOT NULL DEFAULT '',
    password    text,                         -- argon2id; NULL: signs in by an identity only
    totp        bytea,                        -- sealed; NULL: none
    totp_new    bytea,                        -- sealed; shown, and not confirmed by a code yet
    totp_step   bigint      NOT NULL DEFAULT 0, -- the last time step whose code was used: no code is used twice
    disabled_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX person_email ON people.person (email);

-- What lets in once when the phone is lost.  80 random bits: SHA-256 is hash enough.
CREATE TABLE people.recovery_code (
    person_id uuid        NOT NULL REFERENCES people.person,
    hash      bytea       NOT NULL,
    used_at   timestamptz,
    PRIMARY KEY (person_id, hash)
);

-- Tries to prove who one is, by person and by address, counted before anything is looked at.  A day without one, and they are forgotten.
CREATE TABLE people.attempt (
    key        bytea       PRIMARY KEY,       -- SHA-256 of 'sign in:<e-mail>' or 'address:<network>': whose it is need not be kept
    n          integer     NOT NULL,
    at         timestamptz NOT NULL,          -- of the last one
    wait_until timestamptz NOT NULL           -- until then all are refused, and not counted
);
CREATE INDEX attempt_at ON people.attempt (at);

-- Something that acts by itself: a job of the company's, a script.  It has keys and no password.
CREATE TABLE people.service (
    id          uuid        PRIMARY KEY,      -- 'svc_…'
    name        text        NOT NULL,
    disabled_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE people.role (
    name        text        PRIMARY KEY,
    permissions text[]      NOT NULL,
    built_in    boolean     NOT NULL DEFAULT false,
    description text        NOT NULL DEFAULT ''
);

-- Who has which role, and where it reaches.
CREATE TABLE people.grant (
    id          uuid        PRIMARY KEY,      -- 'gra_…'
    person_id   uuid        REFERENCES people.person,
    service_id  uuid        REFERENCES people.service,
    role        text        NOT NULL REFERENCES people.role,
    at          text        NOT NULL CHECK (at IN ('platform', 'merchant', 'store', 'own')),
    merchant_id uuid        REFERENCES control.merchant,
    given_by    text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((person_id IS NULL) <> (service_id IS NULL)),
    CHECK ((at = 'platform' AND merchant_id IS NULL) OR at = 'own' OR merchant_id IS NOT NULL)
);
CREATE UNIQUE INDEX grant_once ON people.grant (coalesce(person_id, service_id), role, at, coalesce(merchant_id, '00000000-0000-0000-0000-000000000000'));

-- Somebody who is asked to join, with the role that waits for him.
CREATE TABLE people.invitation (
    id          uuid        PRIMARY KEY,      -- 'inv_…'
    email       text        NOT NULL CHECK (email = lower(email)),
    hash        bytea       NOT NULL UNIQUE,  -- of the token in the link
    role        text        NOT NULL,         -- that may be gone when it is accepted: then it is refused
    at          text        NOT NULL CHECK (at IN ('platform', 'merchant', 'store', 'own')),
    merchant_id uuid        REFERENCES control.merchant,
    given_by    text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX invitation_email ON people.invitation (email);

-- Somebody who has signed in.  The token is a random key of 190 bits: SHA-256 is hash enough.
CREATE TABLE people.session (
    id           uuid        PRIMARY KEY,     -- 'ses_…'
    person_id    uuid        NOT NULL REFERENCES people.person,
    hash         bytea       NOT NULL UNIQUE,
    ip           text        NOT NULL DEFAULT '',
    agent        text        NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(), -- by the minute
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX session_person ON people.session (person_id);

CREATE TABLE people.service_key (
    id         uuid        PRIMARY KEY,       -- 'svk_…'
    service_id uuid        NOT NULL REFERENCES people.service,
    hash       bytea       NOT NULL UNIQUE,
    last4      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,                   -- set when it is rolled: both keys work until then
    revoked_at timestamptz,
    replaced_by uuid       REFERENCES people.service_key
);
CREATE INDEX service_key_service ON people.service_key (service_id);

-- Who else may say who somebody is: an OpenID provider, and what we are to it.
CREATE TABLE people.provider (
    id         uuid        PRIMARY KEY,       -- 'idp_…'
    name       text        NOT NULL UNIQUE CHECK (name ~ '^[a-z][a-z0-9-]{0,29}$'), -- stands in the addresses that it knows of us
    issuer     text        NOT NULL UNIQUE,
    client_id  text        NOT NULL,
    secret     bytea       NOT NULL,          -- sealed
    domains    text[]      NOT NULL DEFAULT '{}', -- only e-mail addresses of these; none: of any
    link       text        NOT NULL CHECK (link IN ('invitation', 'signed_in')), -- how somebody new comes to be known by it
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Whom a provider means by a name of its own.  It stays when the provider goes: should it come back, it means the same people.
CREATE TABLE people.identity (
    issuer     text        NOT NULL,
    subject    text        NOT NULL,          -- unique at its issuer, and never given to somebody else
    person_id  uuid        NOT NULL REFERENCES people.person,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identity_person ON people.identity (person_id);

-- A browser that was sent to a provider and is not back yet.  It goes when it is back: nothing of it can be used twice.
CREATE TABLE people.sign_in (
    state       bytea       PRIMARY KEY,      -- SHA-256 of what travels in the address
    browser     bytea       NOT NULL,         -- SHA-256 of what the browser keeps in a cookie
    provider_id uuid        NOT NULL REFERENCES people.provider ON DELETE CASCADE,
    session_id  uuid        REFERENCES people.session ON DELETE CASCADE, -- of who is signed in and wants this identity as well; NULL: who comes is to be found out
    nonce       text        NOT NULL,
    verifier    bytea       NOT NULL,         -- sealed
    place       text        NOT NULL DEFAULT '', -- the network address
    expires_at  timestamptz NOT NULL
);
CREATE INDEX sign_in_provider ON people.sign_in (provider_id);
CREATE INDEX sign_in_place ON people.sign_in (place);
GRANT SELECT, INSERT, DELETE ON people.provider, people.sign_in TO guilder_app;
GRANT SELECT, INSERT ON people.identity TO guilder_app;

-- Whatever these say holds in every process within a second.
CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON people.role FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON people.grant FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER UPDATE OF disabled_at OR DELETE ON people.person FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER UPDATE OF disabled_at OR DELETE ON people.service FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER UPDATE OF revoked_at OR DELETE ON people.session FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER UPDATE OF revoked_at, expires_at OR DELETE ON people.service_key FOR EACH STATEMENT EXECUTE FUNCTION control.bump();

INSERT INTO people.role (name, built_in, description, permissions) VALUES
    ('operator', true, 'runs the platform: people, merchants, contracts, keys; moves no money', ARRAY[
        'people:read', 'people:write', 'merchants:read', 'merchants:write', 'channels:read', 'channels:write', 'keys:read', 'keys:write',
        'webhooks:read', 'webhooks:write', 'events:read', 'payments:read', 'refunds:read', 'payouts:read', 'disputes:read', 'checkout:read', 'customers:read', 'ledger:read',
        'approvals:read', 'approvals:write', 'approvals:decide', 'cases:read', 'cases:write', 'audit:read', 'routing:read', 'routing:write', 'stores:read', 'stores:write']),
    ('finance', true, 'the books: journals, refunds, cases of money', ARRAY[
        'payments:read', 'refunds:read', 'refunds:write', 'payouts:read', 'payouts:write', 'disputes:read', 'disputes:write', 'checkout:read', 'events:read', 'ledger:read', 'ledger:write', 'merchants:read',
        'channels:read', 'approvals:read', 'approvals:decide', 'cases:read', 'cases:write', 'routing:read', 'stores:read']),
    ('risk', true, 'looks at payments and payers, stops what is wrong', ARRAY[
        'payments:read', 'payments:write', 'refunds:read', 'payouts:read', 'disputes:read', 'checkout:read', 'customers:read', 'events:read', 'merchants:read',
        'approvals:read', 'approvals:decide', 'cases:read', 'cases:write', 'stores:read']),
    ('developer', true, 'connects a business: payments, webhooks, keys; not the books', ARRAY[
        'payments:read', 'payments:write', 'refunds:read', 'payouts:read', 'disputes:read', 'checkout:read', 'checkout:write', 'customers:read', 'events:read',
        'webhooks:read', 'webhooks:write', 'keys:read', 'keys:write', 'channels:read', 'merchants:read', 'routing:read', 'stores:read']),
    ('auditor', true, 'reads everything, changes nothing', ARRAY[
        'payments:read', 'refunds:read', 'payouts:read', 'disputes:read', 'checkout:read', 'customers:read', 'events:read', 'webhooks:read', 'ledger:read', 'people:read',
        'merchants:read', 'channels:read', 'keys:read', 'approvals:read', 'cases:read', 'audit:read', 'routing:read', 'stores:read']),
    ('merchant_owner', true, 'everything of one merchant', ARRAY[
        'payments:read', 'payments:write', 'refunds:read', 'refunds:write', 'payouts:read', 'payouts:write', 'disputes:read', 'disputes:write', 'checkout:read', 'checkout:write', 'customers:read',
        'customers:write', 'customers:erase', 'events:read', 'webhooks:read', 'webhooks:write', 'ledger:read', 'ledger:write', 'people:read',
        'people:write', 'merchants:read', 'channels:read', 'channels:write', 'keys:read', 'keys:write', 'keys:reveal', 'approvals:read',
        'approvals:write', 'approvals:decide', 'cases:read', 'cases:write', 'audit:read', 'routing:read', 'routing:write', 'stores:read', 'stores:write']),
    ('merchant_staff', true, 'the daily work of one merchant: payments, refunds, payers', ARRAY[
        'payments:read', 'payments:write', 'refunds:read', 'refunds:write', 'payouts:read', 'disputes:read', 'checkout:read', 'checkout:write', 'customers:read',
        'customers:write', 'events:read', 'approvals:read', 'cases:read', 'cases:write', 'stores:read']),
    ('read_only', true, 'looks at payments and books', ARRAY[
        'payments:read', 'refunds:read', 'payouts:read', 'disputes:read', 'checkout:read', 'customers:read', 'events:read', 'ledger:read', 'approvals:read', 'cases:read', 'stores:read']);

GRANT USAGE ON SCHEMA people TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON people.person, people.service, people.invitation, people.session, people.service_key TO guilder_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON people.role, people.grant, people.attempt, people.recovery_code TO guilder_app;
GRANT DELETE ON people.session, people.invitation TO guilder_app;
