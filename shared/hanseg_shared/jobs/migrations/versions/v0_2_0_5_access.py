"""API keys; and whose each job, batch, upload and stored instance is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_5"
down_revision = "0.2.0_4"

LOCAL = "local"
"""The owner of everything that was made before there were keys."""


def upgrade() -> None:
    """Create the table of keys, and give what is there to the local owner."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("scopes", sa.String(255), nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("last_used_at", sa.Float),
    )
    for table in ("jobs", "batches", "uploads"):
        op.add_column(table, _owned_by())
    op.create_index("jobs_by_owner", "jobs", ["owned_by", "created_at"])
    _give_instances_owners()


def _owned_by() -> sa.Column[str]:
    return sa.Column("owned_by", sa.String(255), nullable=False, server_default=LOCAL)


def _give_instances_owners() -> None:
    """Make the owner a part of the primary key; SQLite cannot change that in place."""
    op.create_table(
        "dicom_instances_owned",
        _owned_by(),
        sa.Column("study_uid", sa.String(64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("owned_by", "study_uid", "sop_instance_uid"),
    )
    columns = "study_uid, sop_instance_uid, sop_class_uid, sha256, bytes, created_at"
    op.execute(
        f"INSERT INTO dicom_instances_owned ({columns}) "  # noqa: S608 - question marks and columns of ours
        f"SELECT {columns} FROM dicom_instances"
    )
    op.drop_table("dicom_instances")
    op.rename_table("dicom_instances_owned", "dicom_instances")
