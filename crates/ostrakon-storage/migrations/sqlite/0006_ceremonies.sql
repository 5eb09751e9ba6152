-- Ceremonies that the server itself has opened among its administrators' devices, whose profile need not
-- be registered here: so a ceremony's profile is none of `profiles` any more.
CREATE TABLE ceremonies_before AS SELECT * FROM ceremonies;
CREATE TABLE ceremony_notices_before AS SELECT * FROM ceremony_notices;
CREATE TABLE ceremony_answers_before AS SELECT * FROM ceremony_answers;
DROP TABLE ceremony_answers;
DROP TABLE ceremony_notices;
DROP TABLE ceremonies;

CREATE TABLE ceremonies (
    profile    BLOB NOT NULL,
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

INSERT INTO ceremonies SELECT * FROM ceremonies_before;
INSERT INTO ceremony_notices SELECT * FROM ceremony_notices_before;
INSERT INTO ceremony_answers SELECT * FROM ceremony_answers_before;
DROP TABLE ceremony_answers_before;
DROP TABLE ceremony_notices_before;
DROP TABLE ceremonies_before;

-- What such a ceremony is about, and which instance opened it. Of those that devices opened nothing is known.
CREATE TABLE ceremony_openings (
    profile  BLOB NOT NULL,
    ceremony BLOB NOT NULL,
    opening  BLOB NOT NULL,
    PRIMARY KEY (profile, ceremony),
    FOREIGN KEY (profile, ceremony) REFERENCES ceremonies (profile, ceremony) ON DELETE CASCADE
) STRICT;
