"""Whose turn it is: priorities, owners' turns and limits, drains, dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_14"
down_revision = "0.2.0_13"


def upgrade() -> None:
    """Add what workers choose by; a version before this goes on beside it.

    Every column has a default of the database's own, as its API inserts none.
    """
    op.add_column(
        "jobs",
        sa.Column("priority", sa.String(16), nullable=False, server_default="routine"),
    )
    op.add_column(
        "jobs",
        sa.Column("passed_over", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index(
        "jobs_by_turn",
        "jobs",
        [
            "state",
            "token",
            "cancel_requested",
            "priority",
            "owned_by",
            "created_at",
            "model_name",
        ],
    )
    op.add_column("api_keys", sa.Column("max_running", sa.Integer))
    op.add_column("api_keys", sa.Column("max_unfinished", sa.Integer))
    _create_tables()


def _create_tables() -> None:
    op.create_table(
        "turns",
        sa.Column("queue", sa.String(32), primary_key=True),
        sa.Column("owned_by", sa.String(255), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "drains",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("queue", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("task", sa.String(64)),
        sa.Column("job_id", sa.String(36)),
    )
    op.create_index("dead_letters_by_time", "dead_letters", ["at"])
