"""Names and versions of models: they become names of folders."""

from __future__ import annotations

import re
import time
from typing import Annotated

from pydantic import Field

from hanseg_shared.errors import OptionError

_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

Name = Annotated[str, Field(pattern=f"^{_PATTERN}$")]


def is_name(text: str) -> bool:
    """Whether a text can be a model's name or version."""
    return re.fullmatch(_PATTERN, text) is not None


def require_name(text: str, *, what: str) -> None:
    """Raise `OptionError` unless a text can be a model's name or version."""
    if not is_name(text):
        raise OptionError(
            f"{text!r} cannot be a model's {what}; use up to 64 letters, digits, '.',"
            " '_' and '-', beginning with a letter or digit"
        )


def version_of_today() -> str:
    """Return the version of a model that is made now: the date, such as 2026.11.29."""
    return time.strftime("%Y.%m.%d")
