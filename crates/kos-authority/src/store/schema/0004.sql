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

-- How far the log of each device was anchored: each log of a device has a number and a key of its own.
CREATE TABLE device_logs (
    device TEXT NOT NULL,
    number BIGINT NOT NULL,
    key BLOB NOT NULL,
    size BIGINT NOT NULL,
    checkpoint TEXT NOT NULL,
    bound_at BIGINT NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (device, number)
);

-- What was found in the log, who is told of it, and whether they have been.
CREATE TABLE alerts (
    id TEXT NOT NULL PRIMARY KEY,
    raised BIGINT NOT NULL UNIQUE,
    open BIGINT NOT NULL,
    body TEXT NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX alerts_open ON alerts (raised) WHERE open = 1;

CREATE TABLE guardians (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE deliveries (
    alert TEXT NOT NULL,
    guardian TEXT NOT NULL,
    raised BIGINT NOT NULL,
    done BIGINT NOT NULL,
    body TEXT NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (alert, guardian)
);
CREATE INDEX deliveries_waiting ON deliveries (guardian, raised) WHERE done = 0;

-- How far the log was looked through, and what the rules remember of it.
CREATE TABLE alert_state (
    name TEXT NOT NULL PRIMARY KEY,
    next BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE INDEX entries_of_alert_rules ON entries (position) WHERE event = 'alert_rules_changed';

-- Where copies of the log are written.
CREATE TABLE mirrors (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    mac BLOB NOT NULL
);
-- Which entries went into an archive.
CREATE TABLE archives (
    first BIGINT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    folder TEXT NOT NULL,
    root BLOB NOT NULL,
    digest BLOB NOT NULL,
    at BIGINT NOT NULL,
    mac BLOB NOT NULL
);
