-- Routing: which channel account payments are asked for at, as data.
CREATE SCHEMA routing;

-- A version of the rules of a book: a merchant's, or the platform's, which are for all.  What it says never changes.
CREATE TABLE routing.ruleset (
    book_id    uuid        NOT NULL,
    id         uuid        NOT NULL,            -- 'rs_…'
    number     integer     NOT NULL,            -- 1, 2, 3 … within its book
    state      text        NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'live', 'retired')),
    content    text        NOT NULL,            -- the rules, as JSON
    note       text        NOT NULL DEFAULT '',
    made_by    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    live_by    text,                            -- who made it live the last time
    live_at    timestamptz,
    PRIMARY KEY (book_id, id),
    UNIQUE (book_id, number)
);
CREATE UNIQUE INDEX "one version is live" ON routing.ruleset (book_id) WHERE state = 'live';

INSERT INTO platform.retention (name, reason) VALUES
    ('routing.ruleset', 'by which rules payments went where they went');

GRANT USAGE ON SCHEMA routing TO guilder_app;
GRANT SELECT, INSERT, UPDATE (state, live_by, live_at) ON routing.ruleset TO guilder_app;
