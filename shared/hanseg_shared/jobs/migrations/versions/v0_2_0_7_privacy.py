"""The audit log; how long a job's images and its record are kept; what was removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_7"
down_revision = "0.2.0_6"

RECORD_SECONDS = 365 * 24 * 3600.0
"""How long the records of jobs are kept that have ended before they had a clock."""


def upgrade() -> None:
    """Create the log, and start the clocks of jobs that have ended."""
    op.create_table(
        "audit",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.add_column("jobs", sa.Column("inputs_expire_at", sa.Float))
    op.add_column("jobs", sa.Column("record_expires_at", sa.Float))
    op.add_column("jobs", sa.Column("removed", sa.JSON))
    op.execute(
        "UPDATE jobs SET inputs_expire_at = expires_at, "  # noqa: S608 - question marks and columns of ours
        f"record_expires_at = expires_at + {RECORD_SECONDS} "
        "WHERE expires_at IS NOT NULL"
    )
