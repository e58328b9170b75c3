-- Version 3: when a write began by the FHIR server's own clock, to look for it by.
ALTER TABLE intent ADD COLUMN server_time REAL;
