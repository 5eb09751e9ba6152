-- The hash of each profile's newest version: a successor is stored only where it still is the newest.
-- None for profiles of before, of which the number says the same.
ALTER TABLE profiles ADD COLUMN head BLOB;

-- Ceremonies that are relayed. Notices and answers are sealed by devices to devices: nothing here can
-- be read with any key of the server.
CREATE TABLE ceremonies (
    profile    BLOB NOT NULL REFERENCES profiles (profile),
    ceremony   BLOB NOT NULL,
    requester  BLOB NOT NULL,
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (profile, ceremony)
) STRICT, WITHOUT ROWID;

CREATE TABLE ceremony_notices (
    profile  BLOB NOT NULL,
    ceremony BLOB NOT NULL,
    device   BLOB NOT NULL,
    notice   BLOB NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) STRICT;

CREATE TABLE ceremony_answers (
    profile  BLOB NOT NULL,
    ceremony BLOB NOT NULL,
    device   BLOB NOT NULL,
    answer   BLOB NOT NULL,
    PRIMARY KEY (profile, ceremony, device),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) STRICT;
