-- The statements of the journal in PostgreSQL, each under its name.

-- name: begin
INSERT INTO intent (
    steering, decision_id, write_id, owner, epoch, state, interaction, type, id, if_none_exist, body, prior_version,
    prior_body, prior_tombstone, policy_revision, applied, facts, client_id, issuer, started_at, server_time,
    send_deadline,
    stored_id, stored_version, upstream_status, created, attempts, refusals, next_attempt_at, failed, reason,
    updated_at, read_back, idempotency_key, request_hash, answer
) VALUES (
    %(steering)s, %(decision_id)s, %(write_id)s, %(owner)s, %(epoch)s, %(state)s, %(interaction)s, %(type)s, %(id)s,
    %(if_none_exist)s, %(body)s, %(prior_version)s, %(prior_body)s, %(prior_tombstone)s, %(policy_revision)s,
    %(applied)s, %(facts)s, %(client_id)s, %(issuer)s, %(started_at)s, %(server_time)s, %(send_deadline)s, %(stored_id)s,
    %(stored_version)s, %(upstream_status)s, %(created)s, %(attempts)s, %(refusals)s, %(next_attempt_at)s,
    %(failed)s, %(reason)s, %(updated_at)s,
    %(read_back)s, %(idempotency_key)s, %(request_hash)s, %(answer)s
) ON CONFLICT DO NOTHING;

-- Owner, epoch and state as expected, or nothing changes.
-- name: advance
UPDATE intent SET
    steering = %(steering)s, state = %(state)s, prior_version = %(prior_version)s,
    prior_body = CASE WHEN prior_version IS NOT DISTINCT FROM %(prior_version)s THEN prior_body ELSE %(prior_body)s END,
    send_deadline = %(send_deadline)s, stored_id = %(stored_id)s, stored_version = %(stored_version)s,
    upstream_status = %(upstream_status)s, created = %(created)s, attempts = %(attempts)s, refusals = %(refusals)s,
    next_attempt_at = %(next_attempt_at)s, failed = %(failed)s, reason = %(reason)s, updated_at = %(updated_at)s
WHERE decision_id = %(decision_id)s AND owner = %(owner)s AND epoch = %(epoch)s AND state = %(expected)s;

-- A closed entry loses its payloads.
-- name: close
UPDATE intent SET
    steering = %(steering)s, state = %(state)s, prior_version = %(prior_version)s, send_deadline = %(send_deadline)s,
    stored_id = %(stored_id)s, stored_version = %(stored_version)s, upstream_status = %(upstream_status)s,
    created = %(created)s, attempts = %(attempts)s, refusals = %(refusals)s, next_attempt_at = %(next_attempt_at)s,
    failed = %(failed)s, reason = %(reason)s, updated_at = %(updated_at)s, body = '', prior_body = NULL, facts = '',
    if_none_exist = NULL,
    idempotency_key = %(idempotency_key)s, answer = %(answer)s
WHERE decision_id = %(decision_id)s AND owner = %(owner)s AND epoch = %(epoch)s AND state = %(expected)s;

-- Nobody moves it until the transaction ends.
-- name: get_locked
SELECT * FROM intent WHERE decision_id = %(decision_id)s FOR UPDATE;

-- What its sender learned too late: the entry is its own again, payloads and all; what was never written frees its key.
-- name: reclaim
UPDATE intent SET
    steering = %(steering)s,
    owner = %(owner)s, epoch = %(epoch)s, state = %(state)s, if_none_exist = %(if_none_exist)s, body = %(body)s,
    prior_version = %(prior_version)s, prior_body = %(prior_body)s, facts = %(facts)s, send_deadline =
    %(send_deadline)s, stored_id = %(stored_id)s, stored_version = %(stored_version)s, upstream_status =
    %(upstream_status)s, created = %(created)s, attempts = %(attempts)s, refusals = %(refusals)s,
    next_attempt_at = %(next_attempt_at)s, failed = %(failed)s, reason = %(reason)s, updated_at = %(updated_at)s,
    idempotency_key = CASE WHEN %(state)s = 'rejected' THEN NULL ELSE idempotency_key END
WHERE decision_id = %(decision_id)s AND owner = %(was_owner)s AND epoch = %(was_epoch)s AND state = %(expected)s;

-- Nothing else changes: the sealed payloads stay for the day on which the key is found.
-- name: give_up
UPDATE intent SET state = 'stuck', reason = %(reason)s, updated_at = %(now)s
WHERE decision_id = %(decision_id)s AND owner = %(owner)s AND epoch = %(epoch)s AND state = %(expected)s;

-- What a person decided; the payloads are not touched.
-- name: decide
UPDATE intent SET state = %(state)s, owner = %(new_owner)s, epoch = %(new_epoch)s, updated_at = %(now)s,
    next_attempt_at = %(next_attempt_at)s, attempts = 0, refusals = 0
WHERE decision_id = %(decision_id)s AND owner = %(owner)s AND epoch = %(epoch)s AND state = %(expected)s;

-- name: decide_closed
UPDATE intent SET state = %(state)s, owner = %(new_owner)s, epoch = %(new_epoch)s, updated_at = %(now)s,
    next_attempt_at = %(next_attempt_at)s, attempts = 0, refusals = 0,
    body = '', prior_body = NULL, facts = '', if_none_exist = NULL
WHERE decision_id = %(decision_id)s AND owner = %(owner)s AND epoch = %(epoch)s AND state = %(expected)s;

-- name: get
SELECT * FROM intent WHERE decision_id = %(decision_id)s;

-- The client's key, under every hash that it may have been kept by; without the payloads.
-- name: keyed
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE idempotency_key = ANY(%(keys)s)
    ORDER BY started_at LIMIT 1;

-- Without the payloads.
-- name: list
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE state = ANY(%(states)s) ORDER BY started_at, decision_id LIMIT %(limit)s;

-- The same, through the small index.
-- name: list_unsettled
SELECT
    decision_id, write_id, owner, epoch, state, interaction, type, id, NULL AS if_none_exist, NULL AS body,
    prior_version, NULL AS prior_body, prior_tombstone, policy_revision, applied, NULL AS facts, client_id,
    issuer, started_at, server_time, send_deadline, stored_id, stored_version, upstream_status, created, attempts, refusals,
    next_attempt_at, failed, reason, updated_at, read_back, idempotency_key, request_hash, answer
FROM intent WHERE state IN ('intended', 'stored', 'compensating', 'stuck')
    AND state = ANY(%(states)s) ORDER BY started_at, decision_id LIMIT %(limit)s;

-- As many as fit into so many bytes, and always the first.
-- name: due
WITH page AS (
    SELECT * FROM (
        SELECT decision_id, -1.0 AS at, octet_length(body) + coalesce(octet_length(prior_body), 0) AS size
        FROM intent
        WHERE owner = %(owner)s AND epoch = %(epoch)s
            AND state IN ('intended', 'stored', 'compensating')
            AND next_attempt_at IS NULL
        LIMIT %(limit)s
    ) AS unset
    UNION ALL
    SELECT * FROM (
        SELECT decision_id, next_attempt_at AS at, octet_length(body) + coalesce(octet_length(prior_body), 0) AS size
        FROM intent
        WHERE owner = %(owner)s AND epoch = %(epoch)s
            AND state IN ('intended', 'stored', 'compensating')
            AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(limit)s
    ) AS set_
), running AS (
    SELECT decision_id, at, size, sum(size) OVER (ORDER BY at, decision_id) AS total FROM page
    ORDER BY at, decision_id LIMIT %(limit)s
)
SELECT intent.* FROM running JOIN intent ON intent.decision_id = running.decision_id
WHERE running.total - running.size < %(bytes)s
ORDER BY running.at, running.decision_id;

-- The lease of whoever is gone is locked first: it can neither be renewed meanwhile nor claimed by two at once.
-- name: claim
WITH RECURSIVE holder (owner, epoch) AS (
    (SELECT owner, epoch FROM intent WHERE state IN ('intended', 'stored', 'compensating') ORDER BY owner, epoch LIMIT 1)
    UNION ALL
    SELECT next.owner, next.epoch FROM holder CROSS JOIN LATERAL (
        SELECT owner, epoch FROM intent WHERE state IN ('intended', 'stored', 'compensating')
            AND (owner, epoch) > (holder.owner, holder.epoch)
        ORDER BY owner, epoch LIMIT 1
    ) AS next
), expired AS (
    SELECT owner, epoch FROM lease WHERE expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED
), gone AS (
    SELECT owner, epoch FROM expired
    UNION ALL
    SELECT owner, epoch FROM holder WHERE NOT EXISTS (
        SELECT FROM lease WHERE lease.owner = holder.owner AND lease.epoch = holder.epoch
    )
), picked AS (
    SELECT next.decision_id FROM gone CROSS JOIN LATERAL (
        SELECT decision_id FROM intent WHERE intent.owner = gone.owner AND intent.epoch = gone.epoch
            AND state IN ('intended', 'stored', 'compensating')
        ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS next LIMIT %(limit)s
)
UPDATE intent SET owner = %(owner)s, epoch = %(epoch)s, next_attempt_at = %(now)s
FROM picked WHERE intent.decision_id = picked.decision_id;

-- name: take_lease
INSERT INTO lease (owner, epoch, expires_at, mark)
VALUES (%(owner)s, %(epoch)s, clock_timestamp() + make_interval(secs => %(seconds)s), 0);

-- First in every transaction. A lease that has run out is never renewed; the mark tells later whether the
-- transaction was committed.
-- name: hold_lease
UPDATE lease SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s), mark = %(mark)s
WHERE owner = %(owner)s AND epoch = %(epoch)s AND expires_at > clock_timestamp();

-- Waits for a transaction that still holds the row, so the answer is final.
-- name: was_committed
SELECT mark = %(mark)s AS committed FROM lease WHERE owner = %(owner)s AND epoch = %(epoch)s FOR UPDATE;

-- name: give_lease_back
UPDATE lease SET expires_at = clock_timestamp() WHERE owner = %(owner)s;

-- name: lease_holds
SELECT expires_at > clock_timestamp() AS holds FROM lease WHERE owner = %(owner)s AND epoch = %(epoch)s FOR UPDATE;

-- name: forget_leases
DELETE FROM lease WHERE (owner, epoch) IN (
    SELECT owner, epoch FROM lease WHERE expires_at <= clock_timestamp() AND NOT EXISTS (
        SELECT FROM intent WHERE intent.owner = lease.owner AND intent.epoch = lease.epoch
            AND state IN ('intended', 'stored', 'compensating')
    ) FOR UPDATE SKIP LOCKED
);

-- name: stored_versions
SELECT stored_id, stored_version FROM intent WHERE type = %(type)s AND stored_id = ANY(%(ids)s)
    AND stored_version IS NOT NULL;

-- name: count_unsettled
SELECT state, count(*) AS entries, min(started_at) AS oldest FROM intent
WHERE state IN ('intended', 'stored', 'compensating', 'stuck') GROUP BY state;

-- No further than somebody reads: they may be millions.
-- name: count_closed
SELECT 'committed' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'committed' LIMIT %(most)s
) AS committed UNION ALL
SELECT 'undone' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'undone' LIMIT %(most)s
) AS undone UNION ALL
SELECT 'rejected' AS state, count(*) AS entries FROM (
    SELECT 1 FROM intent WHERE state = 'rejected' LIMIT %(most)s
) AS rejected;

-- name: prune
DELETE FROM intent WHERE decision_id IN (
    SELECT decision_id FROM intent WHERE state IN ('committed', 'undone', 'rejected')
        AND updated_at < %(before)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED
);

-- name: record_policy_set
INSERT INTO policy_set (revision, sources) VALUES (%(revision)s, %(sources)s) ON CONFLICT (revision) DO NOTHING;

-- name: policy_set
SELECT sources FROM policy_set WHERE revision = %(revision)s;

-- Through the small index alone, at a start and when policies are loaded anew.
-- name: open_revisions
SELECT DISTINCT policy_revision AS revision FROM intent
WHERE state IN ('intended', 'stored', 'compensating', 'stuck');

-- name: record_resolution
INSERT INTO resolution (decision_id, event, by, why, at)
VALUES (%(decision_id)s, %(event)s, %(by)s, %(why)s, %(at)s);

-- name: resolutions
SELECT event, by, why, at FROM resolution WHERE decision_id = %(decision_id)s ORDER BY at;
