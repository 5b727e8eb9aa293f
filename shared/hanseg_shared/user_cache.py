"""The user's cache: what can be made again, kept for every data folder of one user."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "hanseg"
"""Our folder in the cache; only its user may look into it."""


def user_cache() -> Path | None:
    """Return the folder, made if need be; None where nothing can be kept in it.

    It is ``$XDG_CACHE_HOME/hanseg``, or ``~/.cache/hanseg`` (XDG Base Directory
    Specification). What is kept is loaded and run again, so that a folder which
    another user has made is not used.
    """
    base = _base()
    if base is None:
        return None
    folder = base / NAME
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = folder.stat().st_uid == os.geteuid()
        if is_ours and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None


def _base() -> Path | None:
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the specification has others ignored
        return named
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in a container
        return None
