-- Version 5: what a client's Idempotency-Key needs. What was written before has no key, and is read back and judged.
ALTER TABLE intent ADD COLUMN read_back INTEGER NOT NULL DEFAULT 1;
ALTER TABLE intent ADD COLUMN idempotency_key TEXT; -- keyed hash of issuer, client and key
ALTER TABLE intent ADD COLUMN request_hash TEXT;    -- keyed hash of what was asked for
ALTER TABLE intent ADD COLUMN answer TEXT;          -- JSON: status and headers of the answer, no body

-- Small: only keyed writes are in it. Of two that race under one key, this lets one begin.
CREATE UNIQUE INDEX intent_key ON intent (idempotency_key) WHERE idempotency_key IS NOT NULL;
