"""A table for the sheets of commissionings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_13"
down_revision = "0.2.0_12"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "commissioning_sheets",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("registered_at", sa.Float, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
