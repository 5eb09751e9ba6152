-- The server's own certificate authority: its private key, and its certificate. One row.
CREATE TABLE IF NOT EXISTS authority (
    id BIGINT NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- The certificates that it issued, by their SHA-256. No private key of one is ever here.
CREATE TABLE IF NOT EXISTS certificates (
    certificate BYTEA NOT NULL PRIMARY KEY,
    fingerprint BYTEA NOT NULL UNIQUE,
    sealed BYTEA NOT NULL
);

-- The policies that administrators put in force, and no file of a home did.
CREATE TABLE IF NOT EXISTS approved_policies (
    version BIGINT NOT NULL PRIMARY KEY
);
