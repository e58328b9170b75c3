-- Version 6: one index fewer to keep for each write. What asks for policy revisions reads them from the small one.
DROP INDEX intent_revision;
DROP INDEX intent_unsettled;
CREATE INDEX intent_unsettled ON intent (state, started_at, policy_revision)
    WHERE state IN ('intended', 'stored', 'compensating', 'stuck');
