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
-- Where copies of the log are written.
CREATE TABLE mirrors (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX entries_of_alert_rules ON entries (position) WHERE event = 'alert_rules_changed';
