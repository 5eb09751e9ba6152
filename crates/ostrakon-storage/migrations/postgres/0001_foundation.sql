-- Every column named `sealed` holds a ciphertext bound to its table, column and row.

CREATE TABLE IF NOT EXISTS settings (
    name VARCHAR(128) COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- The server itself: one row.
CREATE TABLE IF NOT EXISTS server (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    kss_id BYTEA NOT NULL,
    public_card BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    created_at BIGINT NOT NULL
);

-- How often something changed on which decisions rest: one row.
CREATE TABLE IF NOT EXISTS changes (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL
);

-- Who serves, by the database's clock.
CREATE TABLE IF NOT EXISTS instances (
    instance BYTEA NOT NULL PRIMARY KEY,
    name VARCHAR(255) COLLATE "C" NOT NULL,
    version VARCHAR(64) COLLATE "C" NOT NULL,
    policy_version BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    stopped BIGINT NOT NULL
);

-- What one instance does for all of them, until when.
CREATE TABLE IF NOT EXISTS leases (
    name VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    holder BYTEA NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS profiles (
    profile BYTEA NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    first_words VARCHAR(64) COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    head BYTEA
);

CREATE TABLE IF NOT EXISTS profile_versions (
    profile BYTEA NOT NULL REFERENCES profiles (profile),
    number BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (profile, number)
);

-- The devices of each profile's newest version.
CREATE TABLE IF NOT EXISTS devices (
    profile BYTEA NOT NULL REFERENCES profiles (profile),
    device BYTEA NOT NULL,
    PRIMARY KEY (profile, device)
);
CREATE INDEX IF NOT EXISTS devices_by_device ON devices (device);

CREATE TABLE IF NOT EXISTS locations (
    profile BYTEA NOT NULL REFERENCES profiles (profile),
    location BYTEA NOT NULL,
    folder_key BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (profile, location)
);

CREATE TABLE IF NOT EXISTS policies (
    version BIGINT NOT NULL PRIMARY KEY,
    time_zone VARCHAR(64) COLLATE "C" NOT NULL,
    source TEXT NOT NULL,
    loaded_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS counters (
    profile BYTEA NOT NULL,
    rule VARCHAR(512) COLLATE "C" NOT NULL,
    period BIGINT NOT NULL,
    "window" BIGINT NOT NULL,
    count BIGINT NOT NULL CHECK (count >= 0),
    PRIMARY KEY (profile, rule, period, "window")
);
CREATE INDEX IF NOT EXISTS counters_by_window ON counters ("window");

-- Keyed by profile first, so that all that a decision writes is in one shard of a database that is sharded.
CREATE TABLE IF NOT EXISTS requests (
    profile BYTEA NOT NULL,
    device BYTEA NOT NULL,
    request BYTEA NOT NULL,
    recorded BYTEA NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (profile, device, request)
);
CREATE INDEX IF NOT EXISTS requests_by_age ON requests (decided_at);

CREATE TABLE IF NOT EXISTS audit (
    instance BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    mac BYTEA NOT NULL,
    PRIMARY KEY (instance, sequence)
);

-- Signed statements of how far each audit chain had come.
CREATE TABLE IF NOT EXISTS checkpoints (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    signed BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS checkpoints_by_time ON checkpoints (at);

-- Signed manifests of archives. The newest says where the chains begin now.
CREATE TABLE IF NOT EXISTS archives (
    number BIGINT NOT NULL PRIMARY KEY,
    signed BYTEA NOT NULL
);

-- What the server has said about the age of its state: one row for each statement.
CREATE TABLE IF NOT EXISTS generations (
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    statement BYTEA NOT NULL,
    PRIMARY KEY (epoch, counter)
);

-- The backup files that were made, the newest of which names the administrators' profile. They are no secret.
CREATE TABLE IF NOT EXISTS backups (
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    file TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (epoch, counter)
);

-- Ceremonies that are relayed. Notices and answers are sealed by devices to devices.
CREATE TABLE IF NOT EXISTS ceremonies (
    profile BYTEA NOT NULL,
    ceremony BYTEA NOT NULL,
    requester BYTEA NOT NULL,
    opened_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (profile, ceremony)
);

CREATE TABLE IF NOT EXISTS ceremony_notices (
    profile BYTEA NOT NULL,
    ceremony BYTEA NOT NULL,
    device BYTEA NOT NULL,
    notice BYTEA NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS ceremony_answers (
    profile BYTEA NOT NULL,
    ceremony BYTEA NOT NULL,
    device BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
);
