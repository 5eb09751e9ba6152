-- Signed statements of how far each audit chain had come. Their bytes are in docs/formats.md.
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY NOT NULL,
    at     INTEGER NOT NULL,
    signed BLOB NOT NULL
) STRICT;
CREATE INDEX checkpoints_by_time ON checkpoints (at);

-- Signed manifests of archives. The newest says where the chains begin now.
CREATE TABLE archives (
    number INTEGER PRIMARY KEY NOT NULL,
    signed BLOB NOT NULL
) STRICT;

-- What is remembered of a request carries an authenticator from here on; what has none is nothing that a
-- retry may rely on.
DELETE FROM requests;
