"""Which jobs are in the sums of each day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_11"
down_revision = "0.2.0_10"


def upgrade() -> None:
    """Have all jobs that still say what became of them summed up, at the next sweep."""
    op.add_column(
        "jobs",
        sa.Column("summed", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.execute("UPDATE jobs SET summed = true WHERE state = 'expired'")
    op.create_index("jobs_by_summed", "jobs", ["summed", "state"])
    op.create_index("daily_sums_by_organ", "daily_sums", ["organ", "name", "day"])
