-- The tables of version 0.1.0 as that version made them, on SQLite and PostgreSQL alike,
-- with a job that is done, one that was being worked on, and something of all the rest.

CREATE TABLE batches (
    id VARCHAR(36) NOT NULL,
    created_at FLOAT NOT NULL,
    name TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE idempotency_keys (
    key VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    resource VARCHAR(64),
    created_at FLOAT NOT NULL,
    PRIMARY KEY (key)
);

CREATE TABLE installations (
    slot INTEGER NOT NULL,
    identity VARCHAR(36) NOT NULL,
    PRIMARY KEY (slot)
);

CREATE TABLE jobs (
    id VARCHAR(36) NOT NULL,
    state VARCHAR(16) NOT NULL,
    token VARCHAR(36),
    lease_until FLOAT,
    attempts INTEGER NOT NULL,
    total_attempts INTEGER NOT NULL,
    published_at FLOAT,
    cancel_requested BOOLEAN NOT NULL,
    version INTEGER NOT NULL,
    created_at FLOAT NOT NULL,
    updated_at FLOAT NOT NULL,
    started_at FLOAT,
    stage_started_at FLOAT,
    finished_at FLOAT,
    expires_at FLOAT,
    case_name TEXT,
    batch_id VARCHAR(36),
    options JSON NOT NULL,
    inputs JSON NOT NULL,
    remarks JSON NOT NULL,
    progress JSON,
    stages JSON NOT NULL,
    registration JSON,
    intermediate JSON NOT NULL,
    model JSON,
    inference JSON,
    organs JSON NOT NULL,
    files JSON NOT NULL,
    versions JSON NOT NULL,
    error JSON,
    PRIMARY KEY (id)
);

CREATE INDEX jobs_by_batch ON jobs (batch_id);

CREATE INDEX jobs_by_state ON jobs (state, token);

CREATE INDEX jobs_by_time ON jobs (created_at, id);

CREATE TABLE uploads (
    id VARCHAR(36) NOT NULL,
    created_at FLOAT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    received BOOLEAN NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE workers (
    name VARCHAR(128) NOT NULL,
    queue VARCHAR(32) NOT NULL,
    device VARCHAR(64) NOT NULL,
    seen_at FLOAT NOT NULL,
    PRIMARY KEY (name)
);

INSERT INTO batches (id, created_at, name) VALUES ('b1', 1700000000.0, 'ward 7');

INSERT INTO jobs (
    id, state, attempts, total_attempts, cancel_requested, version, created_at,
    updated_at, started_at, finished_at, expires_at, case_name, batch_id, options,
    inputs, remarks, stages, intermediate, organs, files, versions
) VALUES (
    'done', 'succeeded', 0, 3, FALSE, 9, 1700000001.5, 1700000090.25, 1700000002.0,
    1700000090.25, 1700600000.0, 'Möller 2', 'b1',
    '{"model": "default", "registration": "rigid", "backend": "elastix"}',
    '[{"role": "ct", "sha256": "d5", "bytes": 42, "format": ".nrrd", "size": [7, 8, 9], "spacing_mm": [1.0, 1.0, 2.5]}]',
    '["the CT is tilted"]',
    '[{"name": "registering", "seconds": 12.5, "attempts": 1}]',
    '[]',
    '[{"name": "Lips", "label": 23, "status": "contoured", "volume_ml": 9.5, "flags": ["truncated_at_scan_edge"]}]',
    '[{"name": "labels.nii.gz", "sha256": "e6", "bytes": 5, "media_type": "application/gzip"}]',
    '{"hanseg-shared": "0.1.0"}'
);

INSERT INTO jobs (
    id, state, token, lease_until, attempts, total_attempts, cancel_requested, version,
    created_at, updated_at, started_at, stage_started_at, options, inputs, remarks,
    progress, stages, intermediate, organs, files, versions
) VALUES (
    'running', 'segmenting', 'a-token', 1700000200.0, 1, 2, FALSE, 4, 1700000100.0,
    1700000150.0, 1700000110.0, 1700000120.0, '{}', '[]', '[]',
    '{"stage": "segmenting", "done": 0.25}', '[]', '[]', '[]', '[]', '{}'
);

INSERT INTO uploads (id, created_at, bytes, sha256, received)
VALUES ('u1', 1700000000.0, 5000000000, 'f7', TRUE);

INSERT INTO idempotency_keys (key, fingerprint, resource, created_at)
VALUES ('k1', 'a-request', 'done', 1700000000.0);

INSERT INTO installations (slot, identity) VALUES (1, 'this-database');

INSERT INTO workers (name, queue, device, seen_at)
VALUES ('host-1', 'segmentation', 'cuda', 1700000150.0);
