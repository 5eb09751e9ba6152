-- The server's own certificate authority: its private key, and its certificate. One row.
CREATE TABLE authority (
    id     INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    sealed BLOB NOT NULL
) STRICT;

-- The certificates that it issued, by their SHA-256. No private key of one is ever here.
CREATE TABLE certificates (
    certificate BLOB PRIMARY KEY NOT NULL,
    fingerprint BLOB NOT NULL UNIQUE,
    sealed      BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The policies that administrators put in force, and no file of the home did.
CREATE TABLE approved_policies (
    version INTEGER PRIMARY KEY NOT NULL
) STRICT;
