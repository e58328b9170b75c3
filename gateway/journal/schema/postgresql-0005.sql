-- Version 5: one index fewer to keep for each write, as version 6 in SQLite.
DROP INDEX intent_revision;
DROP INDEX intent_unsettled;
CREATE INDEX intent_unsettled ON intent (state, started_at, policy_revision)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
