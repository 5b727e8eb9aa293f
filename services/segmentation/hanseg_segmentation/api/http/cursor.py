"""Cursors: where a page of jobs ends, opaque to callers and checked when sent back."""

from __future__ import annotations

import base64
import json
import math

from starlette.datastructures import URL

from hanseg_segmentation.api.http.ids import is_id
from hanseg_segmentation.api.http.prefix import published
from hanseg_shared.errors import OptionError


def next_page(url: URL, position: tuple[float, str]) -> str:
    """Return where the page after a position is, with the same filters."""
    text = json.dumps(position).encode()
    cursor = base64.urlsafe_b64encode(text).decode("ascii")
    following = url.include_query_params(cursor=cursor)
    return published(f"{following.path}?{following.query}")


def position_of(cursor: str | None) -> tuple[float, str] | None:
    """Return the position that a cursor stands for: a time and a job's id.

    Raises:
        OptionError: This service made no such cursor.
    """
    if cursor is None:
        return None
    try:
        moment, job_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        position = float(moment), job_id
    except (ValueError, TypeError, OverflowError):
        raise _foreign_cursor() from None
    if not math.isfinite(position[0]) or not is_id(job_id):
        raise _foreign_cursor()
    return position


def _foreign_cursor() -> OptionError:
    return OptionError("the cursor is none that this service made; start without one")
