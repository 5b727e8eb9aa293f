"""What jobs are found by in the worklist: model, verdict and flags."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0.2.0_12"
down_revision = "0.2.0_11"


def upgrade() -> None:
    """Add the columns, and fill them for the jobs that are there."""
    op.add_column("jobs", sa.Column("model_name", sa.String(64)))
    op.add_column("jobs", sa.Column("mr_verdict", sa.String(16)))
    op.add_column("jobs", sa.Column("flag_codes", sa.Text))
    op.add_column("jobs", sa.Column("flag_count", sa.Integer))
    _fill()
    op.create_index("jobs_by_model", "jobs", ["model_name", "created_at"])
    op.create_index("jobs_by_verdict", "jobs", ["mr_verdict", "created_at"])
    op.create_index("jobs_by_change", "jobs", ["updated_at"])


def _fill() -> None:
    connection = op.get_bind()
    rows = connection.execute(
        sa.text("SELECT id, options, registration, organs FROM jobs")
    ).all()
    change = sa.text(
        "UPDATE jobs SET model_name = :model_name, mr_verdict = :mr_verdict, "
        "flag_codes = :flag_codes, flag_count = :flag_count WHERE id = :id"
    )
    for row in rows:
        connection.execute(change, {"id": row.id, **_values(row)})


def _values(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of any version
    options, registration, organs = (
        _parse(each) for each in (row.options, row.registration, row.organs)
    )
    found = [_code(flag) for organ in _list(organs) for flag in _flags(organ)]
    codes = " ".join(sorted({code for code in found if code}))
    return {
        "model_name": _text(options, "model"),
        "mr_verdict": _text(registration, "verdict"),
        "flag_codes": f" {codes} " if _list(organs) else None,
        "flag_count": len(found) if _list(organs) else None,
    }


def _flags(organ: Any) -> list[Any]:  # noqa: ANN401 - whatever a row holds
    return _list(organ.get("flags")) if isinstance(organ, dict) else []


def _code(flag: Any) -> str | None:  # noqa: ANN401 - whatever a row holds
    if isinstance(flag, dict):
        return _text(flag, "code")
    if not isinstance(flag, str):
        return None
    for old in ("pieces_removed", "holes"):  # version 0.1 wrote the number behind it
        if flag.startswith(f"{old}_"):
            return old
    return flag


def _text(document: Any, name: str) -> str | None:  # noqa: ANN401 - see above
    found = document.get(name) if isinstance(document, dict) else None
    return found[:64] if isinstance(found, str) else None


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - see above
    return value if isinstance(value, list) else []


def _parse(value: Any) -> Any:  # noqa: ANN401 - text in SQLite, parsed in PostgreSQL
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None
