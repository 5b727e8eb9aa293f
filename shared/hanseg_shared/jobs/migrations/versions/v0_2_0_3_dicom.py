"""Tables for instances sent by STOW-RS and for templates; what a job wrote as DICOM."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_3"
down_revision = "0.2.0_2"


def upgrade() -> None:
    """Create both tables, and the column; jobs that are there wrote no DICOM."""
    op.create_table(
        "dicom_instances",
        sa.Column("study_uid", sa.String(64), primary_key=True),
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "templates",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.add_column("jobs", sa.Column("dicom", sa.JSON))
