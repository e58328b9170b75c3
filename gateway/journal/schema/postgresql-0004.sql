-- Version 4: what a client's Idempotency-Key needs, as version 5 in SQLite.
ALTER TABLE intent
    ADD COLUMN read_back BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN idempotency_key TEXT,     -- keyed hash of issuer, client and key
    ADD COLUMN request_hash TEXT,        -- keyed hash of what was asked for
    ADD COLUMN answer TEXT;              -- JSON: status and headers of the answer, no body

-- Small: only keyed writes are in it. Of two that race under one key, this lets one begin.
CREATE UNIQUE INDEX intent_key ON intent (idempotency_key) WHERE idempotency_key IS NOT NULL;
