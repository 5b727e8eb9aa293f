"""A table for rows of jobs that could not be read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_4"
down_revision = "0.2.0_3"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "quarantine",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("found_at", sa.Float, nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("row", sa.Text, nullable=False),
    )
