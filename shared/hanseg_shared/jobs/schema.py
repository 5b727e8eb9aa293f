"""The tables: jobs, uploads, batches, idempotency keys and the workers' heartbeats.

Times are seconds since 1970 (UTC), so that SQLite and PostgreSQL compare them alike.
Whoever changes a table adds a migration: see `hanseg_shared.jobs.migrations`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

REVISION = "0.2.0_2"
"""The last migration, after which a database has these tables."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("token", String(36)),
    Column("lease_until", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("total_attempts", Integer, nullable=False, default=0),
    Column("published_at", Float),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("version", Integer, nullable=False, default=1),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("started_at", Float),
    Column("stage_started_at", Float),
    Column("finished_at", Float),
    Column("expires_at", Float),
    Column("case_name", Text),
    Column("batch_id", String(36)),
    Column("options", JSON, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("remarks", JSON, nullable=False),
    Column("progress", JSON),
    Column("stages", JSON, nullable=False),
    Column("registration", JSON),
    Column("intermediate", JSON, nullable=False),
    Column("model", JSON),
    Column("inference", JSON),
    Column("organs", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("versions", JSON, nullable=False),
    Column("error", JSON),
    Index("jobs_by_state", "state", "token"),
    Index("jobs_by_time", "created_at", "id"),
    Index("jobs_by_batch", "batch_id"),
    Index("jobs_by_case", "case_name", "created_at"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("received", Boolean, nullable=False, default=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("name", Text),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource", String(64)),
    Column("created_at", Float, nullable=False),
)

installations = Table(
    "installations",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("identity", String(36), nullable=False),
)
"""One row, in slot 1: the identity of this database."""

workers = Table(
    "workers",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("queue", String(32), nullable=False),
    Column("device", String(64), nullable=False),
    Column("seen_at", Float, nullable=False),
)

worker_states = Table(
    "worker_states",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("queue", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("trouble", Text),
)
"""How far each worker is, and what keeps it from being ready."""
