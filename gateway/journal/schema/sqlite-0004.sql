-- Version 4: a tag over the columns that say what an undo touches. NULL: closed, or written
-- before.
ALTER TABLE intent ADD COLUMN steering BLOB;
