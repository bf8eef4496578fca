-- Version 6: files of commands are stored once, even where the program ends between the commit and the removal.

-- Files of commands beside the database whose lines are rows of `controls`: the name that a trader gave the
-- file when it took it, and when that was (the computer's time, epoch milliseconds).
CREATE TABLE command_files (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    stored_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
