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
