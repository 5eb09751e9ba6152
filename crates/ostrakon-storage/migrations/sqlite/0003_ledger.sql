-- Request ids begin with the time, so new rows go to the table's end, not each to a page of its own.
CREATE TABLE requests_by_id (
    request    BLOB NOT NULL,
    profile    BLOB NOT NULL,
    device     BLOB NOT NULL,
    recorded   BLOB NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (request, profile, device)
) STRICT, WITHOUT ROWID;
INSERT INTO requests_by_id (request, profile, device, recorded, decided_at)
SELECT request, profile, device, recorded, decided_at FROM requests ORDER BY request;
DROP TABLE requests;
ALTER TABLE requests_by_id RENAME TO requests;
CREATE INDEX requests_by_age ON requests (decided_at);

-- Counters whose windows have ended are found without a look at all others.
CREATE INDEX counters_by_window ON counters (window);
