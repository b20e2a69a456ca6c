-- What the environments share: merchants, their keys, and what was done to them.
CREATE SCHEMA control;

CREATE TABLE control.merchant (
    id            uuid        PRIMARY KEY,      -- 'acct_…'; also the id of its book
    book_code     text        NOT NULL UNIQUE,  -- six characters inside the keys that channels see
    name          text        NOT NULL,
    country       text        NOT NULL DEFAULT 'CN',
    business_line text        NOT NULL DEFAULT '',
    late_success  text        NOT NULL DEFAULT 'refund' CHECK (late_success IN ('refund', 'accept')),
    fee_bps       integer     NOT NULL DEFAULT 0 CHECK (fee_bps BETWEEN 0 AND 10000), -- of each charge, what the platform keeps
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE control.api_key (
    id          uuid        PRIMARY KEY,
    merchant_id uuid        NOT NULL REFERENCES control.merchant,
    env         text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('sk', 'pk', 'rk')),
    hash        bytea       NOT NULL UNIQUE,    -- SHA-256 of a random key of 190 bits: no slow hash is needed
    last4       text        NOT NULL,
    scopes      text[]      NOT NULL,
    name        text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,                    -- set when it is rolled: both keys work until then
    revoked_at  timestamptz,
    replaced_by uuid        REFERENCES control.api_key
);
CREATE INDEX api_key_merchant ON control.api_key (merchant_id);

-- Moves with every change; processes look at it and forget what they had cached.
CREATE TABLE control.revision (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    n   bigint  NOT NULL
);
INSERT INTO control.revision (n) VALUES (1);

CREATE FUNCTION control.bump() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = control AS $$
BEGIN
    UPDATE control.revision SET n = n + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON control.merchant FOR EACH STATEMENT EXECUTE FUNCTION control.bump();
CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON control.api_key  FOR EACH STATEMENT EXECUTE FUNCTION control.bump();

GRANT USAGE ON SCHEMA control TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON control.merchant, control.api_key TO guilder_app;
GRANT SELECT, UPDATE ON control.revision TO guilder_app;
