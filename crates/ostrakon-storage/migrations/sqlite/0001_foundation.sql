-- Every column named `sealed` holds a ciphertext bound to its table, column and row.

CREATE TABLE settings (
    name   TEXT PRIMARY KEY NOT NULL,
    value  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The server itself: one row.
CREATE TABLE server (
    id          INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    kss_id      BLOB NOT NULL,
    public_card BLOB NOT NULL,
    sealed      BLOB NOT NULL,
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE profiles (
    profile     BLOB NOT NULL PRIMARY KEY,
    number      INTEGER NOT NULL,
    first_words TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE profile_versions (
    profile BLOB NOT NULL REFERENCES profiles (profile),
    number  INTEGER NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (profile, number)
) STRICT, WITHOUT ROWID;

-- The devices of each profile's newest version.
CREATE TABLE devices (
    profile BLOB NOT NULL REFERENCES profiles (profile),
    device  BLOB NOT NULL,
    PRIMARY KEY (profile, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_by_device ON devices (device);

CREATE TABLE locations (
    profile    BLOB NOT NULL REFERENCES profiles (profile),
    location   BLOB NOT NULL,
    folder_key BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (profile, location)
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
    version   INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    time_zone TEXT NOT NULL,
    source    TEXT NOT NULL,
    loaded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (
    profile BLOB NOT NULL,
    rule    TEXT NOT NULL,
    period  INTEGER NOT NULL,
    window  INTEGER NOT NULL,
    count   INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (profile, rule, period, window)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    profile    BLOB NOT NULL,
    device     BLOB NOT NULL,
    request    BLOB NOT NULL,
    recorded   BLOB NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (profile, device, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (decided_at);

CREATE TABLE audit (
    instance BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    mac      BLOB NOT NULL,
    PRIMARY KEY (instance, sequence)
) STRICT, WITHOUT ROWID;
