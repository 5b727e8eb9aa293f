"""A table for the public keys that results were signed with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_6"
down_revision = "0.2.0_5"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "signing_keys",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
    )
