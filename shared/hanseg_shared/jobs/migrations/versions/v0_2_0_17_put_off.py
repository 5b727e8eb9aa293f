"""Which jobs are not taken before their message comes again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_17"
down_revision = "0.2.0_16"


def upgrade() -> None:
    """Add the column, also to what workers choose by."""
    op.add_column(
        "jobs",
        sa.Column("put_off", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.drop_index("jobs_by_turn", "jobs")
    op.create_index(
        "jobs_by_turn",
        "jobs",
        [
            "state",
            "token",
            "cancel_requested",
            "put_off",
            "priority",
            "owned_by",
            "created_at",
            "model_name",
        ],
    )
