-- Version 2: when a write began by the FHIR server's own clock, to look for it by. As version 3 in SQLite.
ALTER TABLE intent ADD COLUMN server_time DOUBLE PRECISION;
