"""The tables: jobs and what they are made of, templates, the workers' heartbeats.

Times are seconds since 1970 (UTC), so that SQLite and PostgreSQL compare them alike.
Whoever changes a table adds a migration: see `hanseg_shared.jobs.migrations`.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from hanseg_shared.access import LOCAL_OWNER

REVISION = "0.2.0_18"
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
    Column("inputs_expire_at", Float),
    Column("record_expires_at", Float),
    Column("case_name", Text),
    Column("batch_id", String(36)),
    Column("owned_by", String(255), nullable=False, server_default=LOCAL_OWNER),
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
    Column("dicom", JSON),
    Column("versions", JSON, nullable=False),
    Column("error", JSON),
    Column("model_name", String(64)),
    Column("mr_verdict", String(16)),
    Column("flag_codes", Text),
    Column("flag_count", Integer),
    Column("removed", JSON(none_as_null=True)),
    Column("counted", Boolean, nullable=False, server_default=sa.false()),
    Column("summed", Boolean, nullable=False, server_default=sa.false()),
    Column("review", String(16), nullable=False, server_default="open"),
    Column("follows", String(36)),
    Column("priority", String(16), nullable=False, server_default="routine"),
    Column("passed_over", Integer, nullable=False, server_default="0"),
    Column("put_off", Boolean, nullable=False, server_default=sa.false()),
    Column("announced", Boolean, nullable=False, server_default=sa.false()),
    Index(
        "jobs_by_turn",
        "state",
        "token",
        "cancel_requested",
        "put_off",
        "priority",
        "owned_by",
        "created_at",
        "model_name",
    ),
    Index("jobs_by_counted", "counted", "state"),
    Index("jobs_by_summed", "summed", "state"),
    Index("jobs_by_announced", "announced", "state"),
    Index("jobs_by_state", "state", "token"),
    Index("jobs_by_time", "created_at", "id"),
    Index("jobs_by_batch", "batch_id"),
    Index("jobs_by_case", "case_name", "created_at"),
    Index("jobs_by_model", "model_name", "created_at"),
    Index("jobs_by_verdict", "mr_verdict", "created_at"),
    Index(
        "jobs_by_flag",
        "created_at",
        "id",
        "flag_codes",
        sqlite_where=sa.text("flag_count > 0"),
        postgresql_where=sa.text("flag_count > 0"),
    ),
    Index("jobs_by_change", "updated_at"),
    Index("jobs_by_owner", "owned_by", "created_at"),
    Index("jobs_by_review", "review", "created_at"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("document", JSON, nullable=False),
)
"""Every version of every review; deleted with the job's results, as what people write
may name somebody."""

organ_facts = Table(
    "organ_facts",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("organ", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, nullable=False),
    Column("owned_by", String(255), nullable=False),
    Column("model", String(140), nullable=False),
    Column("status", String(32), nullable=False),
    Column("volume_ml", Float, nullable=False),
    Column("flags", Text, nullable=False),
    Column("verdict", String(16)),
    Column("judged_at", Float),
    Column("corrected_ml", Float),
    Column("dice", Float),
    Column("hd95_mm", Float),
    Column("surface_dice", Float),
    Column("added_path_mm", Float),
    Index("organ_facts_by_correction", "verdict", "judged_at"),
)
"""What became of each organ of each ended job, in numbers; `organ` is its label, `day`
counts days since 1970. Deleted with the job's record."""

daily_sums = Table(
    "daily_sums",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("owned_by", String(255), primary_key=True),
    Column("model", String(140), primary_key=True),
    Column("organ", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("value", Float, nullable=False),
    Index("daily_sums_by_organ", "organ", "name", "day"),
)
"""Sums over all jobs of a day, which name no job and stay; organ 0 is the job itself.
See `hanseg_shared.jobs.tables.statistics`."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("found_at", Float, nullable=False),
    Column("columns", Text, nullable=False),
    Column("row", Text, nullable=False),
)
"""Rows of jobs that could not be read, as they were found; deleted with the job."""

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("received", Boolean, nullable=False, default=False),
    Column("owned_by", String(255), nullable=False, server_default=LOCAL_OWNER),
)

dicom_instances = Table(
    "dicom_instances",
    metadata,
    Column("owned_by", String(255), primary_key=True, server_default=LOCAL_OWNER),
    Column("study_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
)
"""Instances that were stored by STOW-RS, for a job to come."""

templates = Table(
    "templates",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", JSON(none_as_null=True)),
    Column("created_at", Float, nullable=False),
)
"""Every version of a site's templates. A deleted one has no document any more; its
versions stay counted, so that none comes back with other content."""

batches = Table(
    "batches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("name", Text),
    Column("owned_by", String(255), nullable=False, server_default=LOCAL_OWNER),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource", String(64)),
    Column("created_at", Float, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("secret_sha256", String(64), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("scopes", String(255), nullable=False),
    Column("note", Text),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
    Column("max_running", Integer),
    Column("max_unfinished", Integer),
)
"""The keys that open the API; its scopes are separated by blanks."""

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("sessions_by_end", "expires_at"),
)
"""Who is signed in with a key in a browser; an id is the SHA-256 of a secret."""

audit = Table(
    "audit",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""The audit log; see `hanseg_shared.jobs.audit`."""

installations = Table(
    "installations",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("identity", String(36), nullable=False),
)
"""One row, in slot 1: the identity of this database."""

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("since", Float, nullable=False),
)
"""Public keys of the workers, in base64; one that is not used any more stays."""

commissioning_sheets = Table(
    "commissioning_sheets",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("registered_at", Float, nullable=False),
    Column("document", JSON, nullable=False),
)
"""Sheets of commissionings with their signatures; none is ever changed."""

commissioning_files = Table(
    "commissioning_files",
    metadata,
    Column("sheet", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""What lies beside a sheet and is named in it: its PDF, its page, its pictures."""

tallies = Table(
    "tallies",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("labels", String(400), primary_key=True),
    Column("value", Float, nullable=False),
)
"""What ended jobs were counted into; see `hanseg_shared.jobs.tables.tallies`."""

turns = Table(
    "turns",
    metadata,
    Column("queue", String(32), primary_key=True),
    Column("owned_by", String(255), primary_key=True),
    Column("turn", BigInteger, nullable=False),
)
"""When each owner's turn last was, in each queue; a number grows with every turn."""

drains = Table(
    "drains",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("since", Float, nullable=False),
)
"""Hosts and workers that are to take no new job."""

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("at", Float, nullable=False),
    Column("queue", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("task", String(64)),
    Column("job_id", String(36)),
    Index("dead_letters_by_time", "at"),
)
"""Messages that the broker gave up, for a person to look at; their jobs go on."""

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owned_by", String(255), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", String(255), nullable=False),
    Column("secret", String(128), nullable=False),
    Column("previous_secret", String(128)),
    Column("previous_until", Float),
    Column("created_at", Float, nullable=False),
    Column("failing_since", Float),
    Column("disabled_at", Float),
    Column("disabled_why", String(16)),
    Column("token", String(32)),
    Column("lease_until", Float),
    Column("turn_at", Float, nullable=False, server_default="0"),
    Index("webhooks_by_owner", "owned_by", "created_at"),
)
"""Where owners are told what became of their jobs; `events` are separated by blanks.
The secrets sign messages, and are therefore kept as they are."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("webhook_id", String(32), nullable=False),
    Column("event", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("job_id", String(36)),
    Column("state", String(16)),
    Column("outcome", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("tried_at", Float),
    Column("status", Integer),
    Column("failure", String(32)),
    Column("created_at", Float, nullable=False),
    Index("webhook_deliveries_due", "webhook_id", "outcome", "due_at"),
    Index("webhook_deliveries_by_time", "created_at"),
    Index("webhook_deliveries_by_job", "job_id"),
)
"""Messages to webhooks, and what became of them; deleted with what they tell of."""

workers = Table(
    "workers",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("queue", String(32), nullable=False),
    Column("device", String(64), nullable=False),
    Column("seen_at", Float, nullable=False),
)
"""Workers that take jobs, for an API of version 0.1.0; see `worker_states`."""

worker_states = Table(
    "worker_states",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("queue", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("trouble", Text),
    Column("proven_at", Float),
)
"""How far each worker is, and what keeps it from being ready."""
