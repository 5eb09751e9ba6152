-- The server's own certificate authority: its private key, and its certificate. One row.
CREATE TABLE IF NOT EXISTS authority (
    id BIGINT NOT NULL PRIMARY KEY,
    sealed MEDIUMBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- The certificates that it issued, by their SHA-256. No private key of one is ever here.
CREATE TABLE IF NOT EXISTS certificates (
    certificate VARBINARY(16) NOT NULL PRIMARY KEY,
    fingerprint VARBINARY(32) NOT NULL UNIQUE,
    sealed MEDIUMBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;

-- The policies that administrators put in force, and no file of a home did.
CREATE TABLE IF NOT EXISTS approved_policies (
    version BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;
