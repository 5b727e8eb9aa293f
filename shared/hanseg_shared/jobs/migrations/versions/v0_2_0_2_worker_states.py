"""A table for how far each worker is, and what keeps it from being ready."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_2"
down_revision = "0.2.0_1"


def upgrade() -> None:
    """Create the table; databases opened before there were migrations may have it."""
    op.create_table(
        "worker_states",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("queue", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("trouble", sa.Text),
        if_not_exists=True,
    )
