-- The statements of the journal in SQLite, each under its name. States are told apart by OR: as the indexes have it.

-- name: begin
INSERT INTO intent (
    steering, decision_id, write_id, owner, epoch, state, interaction, type, id, if_none_exist, body, prior_version,
    prior_body, prior_tombstone, policy_revision, applied, facts, client_id, issuer, started_at, server_time,
    send_deadline,
    stored_id, stored_version, upstream_status, created, attempts, refusals, next_attempt_at, failed, reason,
    updated_at, read_back, idempotency_key, request_hash, answer
) VALUES (
    :steering, :decision_id, :write_id, :owner, :epoch, :state, :interaction, :type, :id, :if_none_exist, :body,
    :prior_version, :prior_body, :prior_tombstone, :policy_revision, :applied, :facts, :client_id, :issuer,
    :started_at, :server_time, :send_deadline, :stored_id, :stored_version, :upstream_status, :created,
    :attempts, :refusals, :next_attempt_at, :failed, :reason, :updated_at,
    :read_back, :idempotency_key, :request_hash, :answer
) ON CONFLICT DO NOTHING;

-- Owner, epoch and state as expected, or nothing changes.
-- name: advance
UPDATE intent SET
    steering = :steering, state = :state, prior_version = :prior_version,
    prior_body = CASE WHEN prior_version IS :prior_version THEN prior_body ELSE :prior_body END,
    send_deadline = :send_deadline, stored_id = :stored_id, stored_version = :stored_version,
    upstream_status = :upstream_status, created = :created, attempts = :attempts, refusals = :refusals,
    next_attempt_at = :next_attempt_at, failed = :failed, reason = :reason, updated_at = :updated_at
WHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch AND state = :expected;

-- A closed entry loses its payloads.
-- name: close
UPDATE intent SET
    steering = :steering, state = :state, prior_version = :prior_version, send_deadline = :send_deadline, stored_id = :stored_id,
    stored_version = :stored_version, upstream_status = :upstream_status, created = :created, attempts = :attempts,
    refusals = :refusals, next_attempt_at = :next_attempt_at, failed = :failed, reason = :reason,
    updated_at = :updated_at, body = x'', prior_body = NULL, facts = x'', if_none_exist = NULL,
    idempotency_key = :idempotency_key, answer = :answer
WHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch AND state = :expected;

-- name: get_locked
SELECT * FROM intent WHERE decision_id = :decision_id;

-- What its sender learned too late: the entry is its own again, payloads and all; what was never written frees its key.
-- name: reclaim
UPDATE intent SET
    steering = :steering,
    owner = :owner, epoch = :epoch, state = :state, if_none_exist = :if_none_exist, body = :body, prior_version
    = :prior_version, prior_body = :prior_body, facts = :facts, send_deadline = :send_deadline, stored_id =
    :stored_id, stored_version = :stored_version, upstream_status = :upstream_status, created = :created,
    attempts = :attempts, refusals = :refusals, next_attempt_at = :next_attempt_at, failed = :failed, reason =
    :reason, updated_at = :updated_at,
    idempotency_key = CASE WHEN :state = 'rejected' THEN NULL ELSE idempotency_key END
WHERE decision_id = :decision_id AND owner = :was_owner AND epoch = :was_epoch AND state = :expected;

-- Nothing else changes: the sealed payloads stay for the day on which the key is found.
-- name: give_up
UPDATE intent SET state = 'stuck', reason = :reason, updated_at = :now
WHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch AND state = :expected;

-- What a person decided; the payloads are not touched.
-- name: decide
UPDATE intent SET state = :state, owner = :new_owner, epoch = :new_epoch, updated_at = :now,
    next_attempt_at = :next_attempt_at, attempts = 0, refusals = 0
WHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch AND state = :expected;

-- name: decide_closed
UPDATE intent SET state = :state, owner = :new_owner, epoch = :new_epoch, updated_at = :now,
    next_attempt_at = :next_attempt_at, attempts = 0, refusals = 0,
    body = x'', prior_body = NULL, facts = x'', if_none_exist = NULL
WHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch AND state = :expected;

-- name: get
SELECT * FROM intent WHERE decision_id = :decision_id;

-- The client's key, under every hash that it may have been kept by; without the payloads.
-- name: keyed
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE idempotency_key IN (SELECT value FROM json_each(:keys))
    ORDER BY started_at LIMIT 1;

-- Without the payloads.
-- name: list
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE state IN (SELECT value FROM json_each(:states)) ORDER BY started_at, decision_id LIMIT :limit;

-- The same, through the small index.
-- name: list_unsettled
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating' OR state = 'stuck')
    AND state IN (SELECT value FROM json_each(:states)) ORDER BY started_at, decision_id LIMIT :limit;

-- As many as fit into so many bytes, and always the first.
-- name: due
WITH page AS (
    SELECT * FROM (
        SELECT decision_id, -1.0 AS at, length(body) + coalesce(length(prior_body), 0) AS size FROM intent
        WHERE owner = :owner AND epoch = :epoch
            AND (state = 'intended' OR state = 'stored' OR state = 'compensating')
            AND next_attempt_at IS NULL
        LIMIT :limit
    ) AS unset
    UNION ALL
    SELECT * FROM (
        SELECT decision_id, next_attempt_at AS at, length(body) + coalesce(length(prior_body), 0) AS size FROM intent
        WHERE owner = :owner AND epoch = :epoch
            AND (state = 'intended' OR state = 'stored' OR state = 'compensating')
            AND next_attempt_at <= :now
        ORDER BY next_attempt_at LIMIT :limit
    ) AS set_
), running AS (
    SELECT decision_id, at, size, sum(size) OVER (ORDER BY at, decision_id) AS total FROM page
    ORDER BY at, decision_id LIMIT :limit
)
SELECT intent.* FROM running JOIN intent ON intent.decision_id = running.decision_id
WHERE running.total - running.size < :bytes
ORDER BY running.at, running.decision_id;

-- Leaps from owner to owner in the index, however many entries each has. SQLite would take the other index, whole.
-- name: owners
WITH RECURSIVE other (owner) AS (
    SELECT min(owner) FROM intent INDEXED BY intent_open
    WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating')
    UNION ALL
    SELECT (
        SELECT min(owner) FROM intent INDEXED BY intent_open
        WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating') AND owner > other.owner
    ) FROM other WHERE other.owner IS NOT NULL
)
SELECT owner FROM other WHERE owner IS NOT NULL AND owner <> :owner;

-- name: claim
UPDATE intent SET owner = :owner, epoch = :epoch, next_attempt_at = :now WHERE decision_id IN (
    SELECT decision_id FROM intent WHERE owner = :other AND (state = 'intended' OR state = 'stored' OR state = 'compensating') LIMIT :limit
);

-- name: stored_versions
SELECT stored_id, stored_version FROM intent WHERE type = :type AND stored_id IN (SELECT value FROM json_each(:ids))
    AND stored_version IS NOT NULL;

-- name: count_unsettled
SELECT state, count(*) AS entries, min(started_at) AS oldest FROM intent
WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating' OR state = 'stuck') GROUP BY state;

-- No further than somebody reads: they may be millions.
-- name: count_closed
SELECT 'committed' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'committed' AND (state = 'committed' OR state = 'undone' OR state = 'rejected') LIMIT :most
) AS committed UNION ALL
SELECT 'undone' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'undone' AND (state = 'committed' OR state = 'undone' OR state = 'rejected') LIMIT :most
) AS undone UNION ALL
SELECT 'rejected' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'rejected' AND (state = 'committed' OR state = 'undone' OR state = 'rejected') LIMIT :most
) AS rejected;

-- name: prune
DELETE FROM intent WHERE decision_id IN (
    SELECT decision_id FROM intent WHERE (state = 'committed' OR state = 'undone' OR state = 'rejected')
        AND updated_at < :before LIMIT :limit
);

-- name: record_policy_set
INSERT INTO policy_set (revision, sources) VALUES (:revision, :sources) ON CONFLICT (revision) DO NOTHING;

-- name: policy_set
SELECT sources FROM policy_set WHERE revision = :revision;

-- Through the small index alone, at a start and when policies are loaded anew.
-- name: open_revisions
SELECT DISTINCT policy_revision AS revision FROM intent
WHERE (state = 'intended' OR state = 'stored' OR state = 'compensating' OR state = 'stuck');

-- name: record_resolution
INSERT INTO resolution (decision_id, event, by, why, at)
VALUES (:decision_id, :event, :by, :why, :at);

-- name: resolutions
SELECT event, by, why, at FROM resolution WHERE decision_id = :decision_id ORDER BY at;
