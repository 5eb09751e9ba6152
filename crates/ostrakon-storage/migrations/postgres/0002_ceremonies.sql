-- What a ceremony of the server's own is about, and which instance opened it.
CREATE TABLE IF NOT EXISTS ceremony_openings (
    profile BYTEA NOT NULL,
    ceremony BYTEA NOT NULL,
    opening BYTEA NOT NULL,
    PRIMARY KEY (profile, ceremony),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
);
