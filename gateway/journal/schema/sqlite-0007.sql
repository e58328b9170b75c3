-- Version 7: states are told apart by OR. For an IN of three and more SQLite fills a table of its own, in each statement
-- that writes, for each index and check that has one: a third of what a write cost here.
CREATE TABLE intent_7 (
    decision_id      TEXT PRIMARY KEY,
    write_id         TEXT NOT NULL UNIQUE,
    owner            TEXT NOT NULL,
    epoch            INTEGER NOT NULL,     -- of the owner's lease
    state            TEXT NOT NULL CHECK (
                     state = 'intended' OR state = 'stored' OR state = 'committed' OR state = 'rejected' OR
                     state = 'compensating' OR state = 'undone' OR state = 'stuck'),
    interaction      TEXT NOT NULL,
    type             TEXT NOT NULL,
    id               TEXT,
    if_none_exist    BLOB,                 -- sealed, as body, prior_body and facts
    body             BLOB NOT NULL,
    prior_version    TEXT,
    prior_body       BLOB,
    prior_tombstone  TEXT,
    policy_revision  TEXT NOT NULL,
    applied          TEXT NOT NULL,        -- JSON list of policy names
    facts            BLOB NOT NULL,        -- JSON: what the rules of phase `after` need
    client_id        TEXT NOT NULL,
    issuer           TEXT NOT NULL,
    started_at       REAL NOT NULL,        -- seconds since the epoch, as all times here
    send_deadline    REAL,
    stored_id        TEXT,
    stored_version   TEXT,
    upstream_status  INTEGER,
    created          INTEGER,
    attempts         INTEGER NOT NULL,
    refusals         INTEGER NOT NULL,
    next_attempt_at  REAL,
    failed           TEXT NOT NULL,        -- JSON list of policy/rule
    reason           TEXT,
    updated_at       REAL NOT NULL,
    server_time      REAL,                 -- when it began, by the FHIR server's own clock
    steering         BLOB,                 -- a tag over what says what an undo touches; NULL: closed, or older
    read_back        INTEGER NOT NULL,
    idempotency_key  TEXT,                 -- keyed hash of issuer, client and key
    request_hash     TEXT,                 -- keyed hash of what was asked for
    answer           TEXT                  -- JSON: status and headers of the answer, no body
) STRICT;

INSERT INTO intent_7 (
    decision_id, write_id, owner, epoch, state, interaction, type, id, if_none_exist, body, prior_version,
    prior_body, prior_tombstone, policy_revision, applied, facts, client_id, issuer, started_at,
    send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals, next_attempt_at,
    failed, reason, updated_at, server_time, steering, read_back, idempotency_key, request_hash, answer
) SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, if_none_exist, body, prior_version,
    prior_body, prior_tombstone, policy_revision, applied, facts, client_id, issuer, started_at,
    send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals, next_attempt_at,
    failed, reason, updated_at, server_time, steering, read_back, idempotency_key, request_hash, answer
FROM intent;

DROP TABLE intent;
ALTER TABLE intent_7 RENAME TO intent;

-- Small: only entries that still need something are in these.
CREATE INDEX intent_open ON intent (owner, epoch, next_attempt_at)
    WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating');
CREATE INDEX intent_unsettled ON intent (state, started_at, policy_revision)
    WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating' OR state = 'stuck');
CREATE INDEX intent_closed ON intent (state, updated_at)
    WHERE (state = 'committed' OR state = 'undone' OR state = 'rejected');
CREATE INDEX intent_stored ON intent (type, stored_id) WHERE stored_id IS NOT NULL;
-- Smaller still: only keyed writes are in it. Of two that race under one key, this lets one begin.
CREATE UNIQUE INDEX intent_key ON intent (idempotency_key) WHERE idempotency_key IS NOT NULL;
