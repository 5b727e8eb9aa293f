"""What ended jobs are counted into; when a worker last proved that it can work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_8"
down_revision = "0.2.0_7"


def upgrade() -> None:
    """Create the tallies; of jobs that are there, tombstones have nothing to count."""
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("labels", sa.String(400), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.add_column(
        "jobs",
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.execute("UPDATE jobs SET counted = true WHERE state = 'expired'")
    op.create_index("jobs_by_counted", "jobs", ["counted", "state"])
    op.add_column("worker_states", sa.Column("proven_at", sa.Float))
