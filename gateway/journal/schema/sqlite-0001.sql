-- Version 1 of the journal in SQLite.
CREATE TABLE intent (
    decision_id      TEXT PRIMARY KEY,
    write_id         TEXT NOT NULL UNIQUE,
    owner            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN
                     ('intended', 'stored', 'compensating', 'committed', 'undone', 'rejected', 'stuck')),
    interaction      TEXT NOT NULL,
    type             TEXT NOT NULL,
    id               TEXT,
    if_none_exist    TEXT,
    body             BLOB NOT NULL,
    prior_version    TEXT,
    prior_body       BLOB,
    prior_tombstone  TEXT,
    policy_revision  TEXT NOT NULL,
    applied          TEXT NOT NULL,          -- JSON list of policy names
    facts            TEXT NOT NULL,          -- JSON: what the rules of phase `after` need
    client_id        TEXT NOT NULL,
    issuer           TEXT NOT NULL,
    started_at       REAL NOT NULL,          -- seconds since the epoch, as all times here
    send_deadline    REAL,
    stored_id        TEXT,
    stored_version   TEXT,
    upstream_status  INTEGER,
    created          INTEGER,
    attempts         INTEGER NOT NULL,
    refusals         INTEGER NOT NULL,
    next_attempt_at  REAL,
    failed           TEXT NOT NULL,          -- JSON list of policy/rule
    reason           TEXT,
    updated_at       REAL NOT NULL
) STRICT;

-- Small: only entries that still need something are in it.
CREATE INDEX intent_open ON intent (owner, next_attempt_at) WHERE state IN ('intended', 'stored', 'compensating');
CREATE INDEX intent_state ON intent (state, updated_at);
CREATE INDEX intent_stored ON intent (type, stored_id) WHERE stored_id IS NOT NULL;

CREATE TABLE policy_set (
    revision TEXT PRIMARY KEY,
    sources  TEXT NOT NULL
) STRICT;

CREATE TABLE resolution (
    decision_id TEXT NOT NULL,
    event       TEXT NOT NULL,
    by          TEXT NOT NULL,
    why         TEXT NOT NULL,
    at          REAL NOT NULL
) STRICT;
CREATE INDEX resolution_decision ON resolution (decision_id, at);

