-- Who cosigns this log, and how far each of them is.
CREATE TABLE witnesses (
    name TEXT NOT NULL PRIMARY KEY,
    verifier_key TEXT NOT NULL UNIQUE,
    url TEXT,
    device TEXT,
    added_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    size BIGINT NOT NULL,
    cosigned_at BIGINT NOT NULL,
    mac BLOB NOT NULL
);
-- Logs of others that this authority cosigns. How far each is, is in files, which no backup holds.
CREATE TABLE witnessed_logs (
    origin TEXT NOT NULL PRIMARY KEY,
    verifier_key TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    mac BLOB NOT NULL
);
