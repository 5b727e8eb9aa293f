"""An index by which the jobs of a case are found."""

from __future__ import annotations

from alembic import op

revision = "0.2.0_1"
down_revision = "0.1.0_1"


def upgrade() -> None:
    """Create the index; databases opened before there were migrations may have it."""
    op.create_index(
        "jobs_by_case", "jobs", ["case_name", "created_at"], if_not_exists=True
    )
