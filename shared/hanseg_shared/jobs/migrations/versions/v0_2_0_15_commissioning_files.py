"""A table for what lies beside the sheets of commissionings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_15"
down_revision = "0.2.0_14"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "commissioning_files",
        sa.Column("sheet", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
