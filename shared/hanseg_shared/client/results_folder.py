"""A case's results on the caller's disk: which files of a folder are ours to replace.

An organ that was found last time and not this time must not keep its mask, so all
results of an earlier run go before new ones come. The record is the first to go and
the last to come: a folder with a record is complete.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hanseg_shared.errors import OptionError, ServiceUnavailableError, StoreError
from hanseg_shared.result_files import ALL, MASKS, MR_SERIES, RECORD


def replace_results(source: Path, folder: Path) -> None:
    """Move the files of `source` into `folder`, in place of an earlier run's results.

    Both must be on one file system. Files that are no results stay where they are.

    Raises:
        ServiceUnavailableError: There is no space left.
        StoreError: The folder cannot be written.
    """
    with writing(folder):
        _remove_results(folder)
        found = [path for path in source.rglob("*") if path.is_file()]
        for path in sorted(found, key=lambda path: (path.name == RECORD, path)):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def move_into(source: Path, folder: Path) -> None:
    """Make a temporary folder the results, in place of an earlier run's if any."""
    if folder.exists():
        replace_results(source, folder)
        return
    source.chmod(0o755)
    source.rename(folder)
    source.mkdir()  # for the temporary folder's own clean-up


def require_writable(folder: Path) -> None:
    """Return if results can be written to a folder, which need not exist yet.

    Raises:
        OptionError: It, or the folder it would be made in, cannot be written.
    """
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise OptionError(
            f"results cannot be written to {folder}: {existing} is no folder that you "
            "may write to; choose another with --out"
        )


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise an error of the disk under `folder` as one of ours.

    Raises:
        ServiceUnavailableError: There is no space left.
        StoreError: Anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ServiceUnavailableError(
                f"no space is left for the results in {folder}"
            ) from error
        raise StoreError(
            f"the results cannot be written to {folder}: {error.strerror or error}"
        ) from error


def _remove_results(folder: Path) -> None:
    for name in ALL:
        (folder / name).unlink(missing_ok=True)
    for path in (folder / MR_SERIES).glob("[0-9]*.dcm"):
        path.unlink()
    for name in (MASKS, MR_SERIES):
        with contextlib.suppress(OSError):  # not there, or something of the user's
            (folder / name).rmdir()
