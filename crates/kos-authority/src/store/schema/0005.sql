-- Manifests: every version that was ever put in force, and their signed texts.
CREATE TABLE manifests (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    counter BIGINT NOT NULL UNIQUE,
    applied_at BIGINT NOT NULL,
    policies BIGINT NOT NULL,
    digest TEXT NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE manifest_texts (
    digest TEXT NOT NULL PRIMARY KEY,
    signed BLOB NOT NULL,
    mac BLOB NOT NULL
);

-- Vouchers of makers, and grants of nodes that may vouch.
CREATE TABLE vouchers (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    place TEXT NOT NULL,
    imported_at BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX vouchers_by_place ON vouchers (place, imported_at);

CREATE TABLE vouching_grants (
    id TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    device TEXT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);

-- With whom devices are paired, were, or might be: one row for each of the two.
CREATE TABLE pairings (
    device TEXT NOT NULL,
    partner TEXT NOT NULL,
    number BIGINT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (device, partner)
);
CREATE INDEX pairings_by_partner ON pairings (partner);

-- What agents may ask of devices, and how often they did.
CREATE TABLE grants (
    id TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL,
    body BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE INDEX grants_by_device ON grants (device);
