CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY);

CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    identity_key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    role TEXT NOT NULL,
    group_path TEXT,
    channel TEXT NOT NULL,
    lobby_source TEXT,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX devices_by_lobby_source ON devices (lobby_source) WHERE lobby_source IS NOT NULL;

CREATE TABLE facts (
    fact TEXT NOT NULL,
    device TEXT NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (fact, device)
);
CREATE INDEX facts_by_device ON facts (device);

CREATE TABLE tickets (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE admissions (
    ticket TEXT NOT NULL,
    device TEXT NOT NULL,
    number BIGINT NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (ticket, number)
);

CREATE TABLE certificates (
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    issue BIGINT NOT NULL,
    der BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (issuer, serial)
);
CREATE INDEX certificates_by_device ON certificates (device, issue);

CREATE TABLE revocations (
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (issuer, serial)
);

CREATE TABLE crls (
    issuer TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    der BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE operators (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    serial TEXT NOT NULL UNIQUE,
    active_name TEXT UNIQUE,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE heartbeats (
    device TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE answers (
    request TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    digest BLOB NOT NULL,
    status BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX answers_by_time ON answers (at);

CREATE TABLE entries (
    position INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    actor TEXT NOT NULL,
    target TEXT,
    leaf BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX entries_by_target ON entries (target, position);

CREATE TABLE subjects (
    subject TEXT NOT NULL PRIMARY KEY,
    person TEXT NOT NULL UNIQUE,
    secret BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE tiles (
    level BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hashes BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (level, number)
);

CREATE TABLE log_state (
    name TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    checkpoint TEXT NOT NULL,
    mac BLOB NOT NULL
);
