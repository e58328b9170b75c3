-- Version 2: an entry is held under an epoch, and payloads are sealed (`seal` is the program's, gateway/journal/sealing.py).
CREATE TABLE intent_2 (
    decision_id      TEXT PRIMARY KEY,
    write_id         TEXT NOT NULL UNIQUE,
    owner            TEXT NOT NULL,
    epoch            INTEGER NOT NULL,     -- of the owner's lease
    state            TEXT NOT NULL CHECK (state IN
                     ('intended', 'stored', 'compensating', 'committed', 'undone', 'rejected', 'stuck')),
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
    updated_at       REAL NOT NULL
) STRICT;

INSERT INTO intent_2 SELECT
    decision_id,
    write_id,
    owner,
    1,
    state,
    interaction,
    type,
    id,
    CASE WHEN state IN ('committed', 'undone', 'rejected') THEN NULL ELSE seal(decision_id, 'if_none_exist', if_none_exist) END,
    CASE WHEN state IN ('committed', 'undone', 'rejected') THEN x'' ELSE seal(decision_id, 'body', body) END,
    prior_version,
    CASE WHEN state IN ('committed', 'undone', 'rejected') THEN NULL ELSE seal(decision_id, 'prior_body', prior_body) END,
    prior_tombstone,
    policy_revision,
    applied,
    CASE WHEN state IN ('committed', 'undone', 'rejected') THEN x'' ELSE seal(decision_id, 'facts', facts) END,
    client_id,
    issuer,
    started_at,
    send_deadline,
    stored_id,
    stored_version,
    upstream_status,
    created,
    attempts,
    refusals,
    next_attempt_at,
    failed,
    reason,
    updated_at
FROM intent;

DROP TABLE intent;
ALTER TABLE intent_2 RENAME TO intent;

-- Small: only entries that still need something are in these.
CREATE INDEX intent_open ON intent (owner, epoch, next_attempt_at) WHERE state IN ('intended', 'stored', 'compensating');
CREATE INDEX intent_unsettled ON intent (state, started_at)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
CREATE INDEX intent_revision ON intent (policy_revision)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
CREATE INDEX intent_closed ON intent (state, updated_at) WHERE state IN ('committed', 'undone', 'rejected');
CREATE INDEX intent_stored ON intent (type, stored_id) WHERE stored_id IS NOT NULL;
