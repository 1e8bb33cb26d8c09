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
