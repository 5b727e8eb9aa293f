"""Reads whatever JSON a row holds; what is not as expected counts as nothing.

Rows may be of older versions, or damaged; figures about many of them go on without one.
"""

from __future__ import annotations

import json
import math
from typing import Any


def parse(text: object) -> Any:  # noqa: ANN401 - whatever the row holds
    """Return what a JSON text says; None if it is none."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def items(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list; none if it is no list."""
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, dict)]


def member(value: object, name: str) -> str:
    """Return an object's member that is a string; an empty one otherwise."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def number(value: object) -> float:
    """Return a finite number that is not negative; 0 otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) and value >= 0 else 0.0
