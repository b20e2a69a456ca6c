-- The cashier: what a payer is shown beside the payment itself.  See guilder/cashier/__init__.py for K1 to K6.
CREATE SCHEMA cashier;

CREATE TABLE cashier.session (
    book_id             uuid        NOT NULL,
    id                  uuid        NOT NULL,   -- 'cs_test_…'
    version             integer     NOT NULL DEFAULT 0, -- counts the events said of it
    status              text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'complete', 'expired')), -- as said so far
    intent_id           uuid        NOT NULL,   -- made in the same commit
    amount              bigint      NOT NULL,
    currency            text        NOT NULL,
    customer_id         uuid,
    customer_email      text,
    client_reference_id text,
    metadata            jsonb       NOT NULL DEFAULT '{}',
    success_url         text        NOT NULL,
    cancel_url          text,
    locale              text        NOT NULL,   -- 'auto', 'zh', 'en'
    submit_type         text        NOT NULL,
    types               text[]      NOT NULL,   -- ways offered
    lines               text        NOT NULL,   -- the line items, as JSON
    extra               text        NOT NULL,   -- what is stored and echoed, and decides nothing, as JSON
    expires_at          timestamptz NOT NULL,   -- the payment's expiry, too
    root_id             uuid        NOT NULL,
    business_line       text        NOT NULL,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (book_id, id),
    CONSTRAINT "K1 one session, one payment" UNIQUE (intent_id, book_id),
    FOREIGN KEY (book_id, intent_id) REFERENCES payments.intent (book_id, id),
    FOREIGN KEY (book_id, customer_id) REFERENCES merchants.customer (book_id, id)
) WITH (fillfactor = 80);
CREATE INDEX session_customer ON cashier.session (customer_id, book_id, id) WHERE customer_id IS NOT NULL;
CREATE INDEX session_reference ON cashier.session (client_reference_id) WHERE client_reference_id IS NOT NULL;
CREATE INDEX session_email ON cashier.session (customer_email, book_id, id) WHERE customer_email IS NOT NULL;

-- K2: a session is what its payment is, at once; `status` in the table follows with the event.
CREATE VIEW cashier.shown AS
SELECT s.book_id, s.id, s.version, s.intent_id, s.amount, s.currency, s.customer_id, s.customer_email, s.client_reference_id,
       s.metadata, s.success_url, s.cancel_url, s.locale, s.submit_type, s.types, s.lines, s.extra, s.expires_at, s.root_id,
       s.business_line, s.created_at,
       CASE i.status WHEN 'succeeded' THEN 'complete' WHEN 'canceled' THEN 'expired' ELSE 'open' END AS status
  FROM cashier.session s
  JOIN payments.intent_line i ON i.book_id = s.book_id AND i.id = s.intent_id;

INSERT INTO platform.retention (name, reason) VALUES
    ('cashier.session', 'what payers were shown, beside their payment');

GRANT USAGE ON SCHEMA cashier TO guilder_app;
GRANT SELECT, INSERT, UPDATE ON cashier.session TO guilder_app;
GRANT SELECT ON cashier.shown TO guilder_app;
