-- Version 3: a tag over the columns that say what an undo touches, as version 4 in SQLite.
ALTER TABLE intent ADD COLUMN steering BYTEA;
