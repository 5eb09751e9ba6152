-- What the server has said about the age of its state: one row for each statement.
CREATE TABLE generations (
    epoch     INTEGER NOT NULL,
    counter   INTEGER NOT NULL,
    statement BLOB NOT NULL,
    PRIMARY KEY (epoch, counter)
) STRICT, WITHOUT ROWID;

-- The backup files that were made, the newest of which names the administrators' profile. They are no
-- secret.
CREATE TABLE backups (
    epoch   INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    file    TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (epoch, counter)
) STRICT, WITHOUT ROWID;
