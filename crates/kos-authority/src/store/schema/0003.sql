-- The one-time codes that a vault asks for, and the last that counted.
CREATE TABLE vault_codes (
    environment TEXT NOT NULL PRIMARY KEY,
    added_at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    mac BLOB NOT NULL
);
