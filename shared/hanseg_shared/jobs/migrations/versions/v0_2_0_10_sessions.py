"""Who is signed in with a key in a browser."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_10"
down_revision = "0.2.0_9"


def upgrade() -> None:
    """Create the table of sessions."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("sessions_by_end", "sessions", ["expires_at"])
