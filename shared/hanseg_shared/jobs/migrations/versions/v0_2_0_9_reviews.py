"""Reviews; what became of each organ in numbers, and their sums by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_9"
down_revision = "0.2.0_8"


def upgrade() -> None:
    """Create the tables, and have the jobs that have ended counted into them."""
    op.add_column(
        "jobs",
        sa.Column("review", sa.String(16), nullable=False, server_default="open"),
    )
    op.add_column("jobs", sa.Column("follows", sa.String(36)))
    op.create_index("jobs_by_review", "jobs", ["review", "created_at"])
    op.create_table(
        "reviews",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_table(
        "organ_facts",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("organ", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("owned_by", sa.String(255), nullable=False),
        sa.Column("model", sa.String(140), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("volume_ml", sa.Float, nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("judged_at", sa.Float),
        sa.Column("corrected_ml", sa.Float),
        sa.Column("dice", sa.Float),
        sa.Column("hd95_mm", sa.Float),
        sa.Column("surface_dice", sa.Float),
        sa.Column("added_path_mm", sa.Float),
    )
    op.create_index(
        "organ_facts_by_correction", "organ_facts", ["verdict", "judged_at"]
    )
    op.create_table(
        "daily_sums",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owned_by", sa.String(255), primary_key=True),
        sa.Column("model", sa.String(140), primary_key=True),
        sa.Column("organ", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
