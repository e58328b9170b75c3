-- Version 1 of the journal in PostgreSQL: as version 2 in SQLite, and who is alive.
CREATE TABLE intent (
    decision_id      TEXT PRIMARY KEY,
    write_id         TEXT NOT NULL UNIQUE,
    owner            TEXT NOT NULL,
    epoch            BIGINT NOT NULL,      -- of the owner's lease
    state            TEXT NOT NULL CHECK (state IN
                     ('intended', 'stored', 'compensating', 'committed', 'undone', 'rejected', 'stuck')),
    interaction      TEXT NOT NULL,
    type             TEXT NOT NULL,
    id               TEXT,
    if_none_exist    BYTEA,                -- sealed, as body, prior_body and facts
    body             BYTEA NOT NULL,
    prior_version    TEXT,
    prior_body       BYTEA,
    prior_tombstone  TEXT,
    policy_revision  TEXT NOT NULL,
    applied          TEXT NOT NULL,        -- JSON list of policy names
    facts            BYTEA NOT NULL,       -- JSON: what the rules of phase `after` need
    client_id        TEXT NOT NULL,
    issuer           TEXT NOT NULL,
    started_at       DOUBLE PRECISION NOT NULL, -- seconds since the epoch, as all times here
    send_deadline    DOUBLE PRECISION,
    stored_id        TEXT,
    stored_version   TEXT,
    upstream_status  INTEGER,
    created          BOOLEAN,
    attempts         INTEGER NOT NULL,
    refusals         INTEGER NOT NULL,
    next_attempt_at  DOUBLE PRECISION,
    failed           TEXT NOT NULL,        -- JSON list of policy/rule
    reason           TEXT,
    updated_at       DOUBLE PRECISION NOT NULL
);

-- Sealed payloads do not compress.
ALTER TABLE intent ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN prior_body SET STORAGE EXTERNAL,
    ALTER COLUMN facts SET STORAGE EXTERNAL;

-- Small: only entries that still need something are in these.
CREATE INDEX intent_open ON intent (owner, epoch, next_attempt_at) WHERE state IN ('intended', 'stored', 'compensating');
CREATE INDEX intent_unsettled ON intent (state, started_at)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
CREATE INDEX intent_revision ON intent (policy_revision)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
CREATE INDEX intent_closed ON intent (state, updated_at) WHERE state IN ('committed', 'undone', 'rejected');
CREATE INDEX intent_stored ON intent (type, stored_id) WHERE stored_id IS NOT NULL;

CREATE TABLE policy_set (
    revision TEXT PRIMARY KEY,
    sources  TEXT NOT NULL
);

CREATE TABLE resolution (
    decision_id TEXT NOT NULL,
    event       TEXT NOT NULL,
    by          TEXT NOT NULL,
    why         TEXT NOT NULL,
    at          DOUBLE PRECISION NOT NULL
);
CREATE INDEX resolution_decision ON resolution (decision_id, at);

-- A process is alive until its lease runs out by this server's clock. One that let it run out takes another, under
-- the next epoch; whatever it held under the last one is an orphan.
CREATE TABLE lease (
    owner      TEXT NOT NULL,
    epoch      BIGINT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    mark       BIGINT NOT NULL,            -- of the last transaction under this lease
    PRIMARY KEY (owner, epoch)
);
