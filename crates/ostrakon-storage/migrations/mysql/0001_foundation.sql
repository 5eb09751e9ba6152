-- Every column named `sealed` holds a ciphertext bound to its table, column and row.

CREATE TABLE IF NOT EXISTS settings (
    name VARCHAR(128) NOT NULL PRIMARY KEY,
    value MEDIUMBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- The server itself: one row.
CREATE TABLE IF NOT EXISTS server (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    kss_id VARBINARY(32) NOT NULL,
    public_card MEDIUMBLOB NOT NULL,
    sealed MEDIUMBLOB NOT NULL,
    enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    created_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- How often something changed on which decisions rest: one row.
CREATE TABLE IF NOT EXISTS changes (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who serves, by the database's clock.
CREATE TABLE IF NOT EXISTS instances (
    instance VARBINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    version VARCHAR(64) NOT NULL,
    policy_version BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    stopped BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- What one instance does for all of them, until when.
CREATE TABLE IF NOT EXISTS leases (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    holder VARBINARY(16) NOT NULL,
    ends_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS profiles (
    profile VARBINARY(16) NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    first_words VARCHAR(64) NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    head VARBINARY(32)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS profile_versions (
    profile VARBINARY(16) NOT NULL,
    number BIGINT NOT NULL,
    sealed MEDIUMBLOB NOT NULL,
    PRIMARY KEY (profile, number),
    FOREIGN KEY (profile) REFERENCES profiles (profile)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- The devices of each profile's newest version.
CREATE TABLE IF NOT EXISTS devices (
    profile VARBINARY(16) NOT NULL,
    device VARBINARY(16) NOT NULL,
    PRIMARY KEY (profile, device),
    INDEX devices_by_device (device),
    FOREIGN KEY (profile) REFERENCES profiles (profile)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS locations (
    profile VARBINARY(16) NOT NULL,
    location VARBINARY(16) NOT NULL,
    folder_key MEDIUMBLOB NOT NULL,
    sealed MEDIUMBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (profile, location),
    FOREIGN KEY (profile) REFERENCES profiles (profile)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS policies (
    version BIGINT NOT NULL PRIMARY KEY,
    time_zone VARCHAR(64) NOT NULL,
    source MEDIUMTEXT NOT NULL,
    loaded_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS counters (
    profile VARBINARY(16) NOT NULL,
    rule VARCHAR(512) NOT NULL,
    period BIGINT NOT NULL,
    "window" BIGINT NOT NULL,
    count BIGINT NOT NULL CHECK (count >= 0),
    PRIMARY KEY (profile, rule, period, "window"),
    INDEX counters_by_window ("window")
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- Keyed by profile first, so that all that a decision writes is in one shard of a database that is sharded.
CREATE TABLE IF NOT EXISTS requests (
    profile VARBINARY(16) NOT NULL,
    device VARBINARY(16) NOT NULL,
    request VARBINARY(16) NOT NULL,
    recorded MEDIUMBLOB NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (profile, device, request),
    INDEX requests_by_age (decided_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS audit (
    instance VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    sealed MEDIUMBLOB NOT NULL,
    mac VARBINARY(32) NOT NULL,
    PRIMARY KEY (instance, sequence)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- Signed statements of how far each audit chain had come.
CREATE TABLE IF NOT EXISTS checkpoints (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    signed MEDIUMBLOB NOT NULL,
    INDEX checkpoints_by_time (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- Signed manifests of archives. The newest says where the chains begin now.
CREATE TABLE IF NOT EXISTS archives (
    number BIGINT NOT NULL PRIMARY KEY,
    signed MEDIUMBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- What the server has said about the age of its state: one row for each statement.
CREATE TABLE IF NOT EXISTS generations (
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    statement MEDIUMBLOB NOT NULL,
    PRIMARY KEY (epoch, counter)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- The backup files that were made, the newest of which names the administrators' profile. They are no secret.
CREATE TABLE IF NOT EXISTS backups (
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    file MEDIUMTEXT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (epoch, counter)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- Ceremonies that are relayed. Notices and answers are sealed by devices to devices.
CREATE TABLE IF NOT EXISTS ceremonies (
    profile VARBINARY(16) NOT NULL,
    ceremony VARBINARY(16) NOT NULL,
    requester VARBINARY(16) NOT NULL,
    opened_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (profile, ceremony)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ceremony_notices (
    profile VARBINARY(16) NOT NULL,
    ceremony VARBINARY(16) NOT NULL,
    device VARBINARY(16) NOT NULL,
    notice MEDIUMBLOB NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ceremony_answers (
    profile VARBINARY(16) NOT NULL,
    ceremony VARBINARY(16) NOT NULL,
    device VARBINARY(16) NOT NULL,
    answer MEDIUMBLOB NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;
