"""Webhooks, their deliveries, and which jobs' ends they were told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_18"
down_revision = "0.2.0_17"


def upgrade() -> None:
    """Create the tables; of jobs that have ended before, nobody is told."""
    op.add_column(
        "jobs",
        sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.execute(
        "UPDATE jobs SET announced = true "
        "WHERE state IN ('succeeded', 'failed', 'cancelled', 'expired')"
    )
    op.create_index("jobs_by_announced", "jobs", ["announced", "state"])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owned_by", sa.String(255), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.String(255), nullable=False),
        sa.Column("secret", sa.String(128), nullable=False),
        sa.Column("previous_secret", sa.String(128)),
        sa.Column("previous_until", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("failing_since", sa.Float),
        sa.Column("disabled_at", sa.Float),
        sa.Column("disabled_why", sa.String(16)),
        sa.Column("token", sa.String(32)),
        sa.Column("lease_until", sa.Float),
        sa.Column("turn_at", sa.Float, nullable=False, server_default="0"),
    )
    op.create_index("webhooks_by_owner", "webhooks", ["owned_by", "created_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("webhook_id", sa.String(32), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("state", sa.String(16)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("tried_at", sa.Float),
        sa.Column("status", sa.Integer),
        sa.Column("failure", sa.String(32)),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["webhook_id", "outcome", "due_at"],
    )
    op.create_index("webhook_deliveries_by_time", "webhook_deliveries", ["created_at"])
    op.create_index("webhook_deliveries_by_job", "webhook_deliveries", ["job_id"])
