-- What a ceremony of the server's own is about, and which instance opened it.
CREATE TABLE IF NOT EXISTS ceremony_openings (
    profile VARBINARY(16) NOT NULL,
    ceremony VARBINARY(16) NOT NULL,
    opening MEDIUMBLOB NOT NULL,
    PRIMARY KEY (profile, ceremony),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_bin;
