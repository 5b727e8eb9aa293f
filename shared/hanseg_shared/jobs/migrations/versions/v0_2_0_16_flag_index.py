"""An index of the jobs that have flags, by age: the worklist looks for rare ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_16"
down_revision = "0.2.0_15"

FLAGGED = sa.text("flag_count > 0")


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "jobs_by_flag",
        "jobs",
        ["created_at", "id", "flag_codes"],
        sqlite_where=FLAGGED,
        postgresql_where=FLAGGED,
    )
