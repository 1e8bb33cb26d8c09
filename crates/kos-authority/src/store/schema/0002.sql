-- What is known of a vault outside of its file.
CREATE TABLE vaults (
    environment TEXT NOT NULL PRIMARY KEY,
    vault TEXT NOT NULL,
    generation BIGINT NOT NULL,
    root BLOB NOT NULL,
    modified_at BIGINT NOT NULL,
    sharing TEXT,
    mac BLOB NOT NULL
);
