"""Results from the service to the caller's disk, each checked against its hash."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter

from hanseg_shared.client.results_folder import move_into, writing
from hanseg_shared.client.steps import Call, Fetch, Retry, Steps, Work, take
from hanseg_shared.documents import ListedFile, ResultFile
from hanseg_shared.errors import ServiceUnavailableError, StoreError
from hanseg_shared.result_files import REVIEWED

_FILES = TypeAdapter(tuple[ListedFile, ...])

CHUNK_BYTES = 1 << 20
"""How much of an archive's file is held in memory while it is checked."""


def list_results(job_id: str, retry: Retry) -> Steps[tuple[ListedFile, ...]]:
    """Fetch the list of a finished job's files, those withheld among them."""
    answer = yield from take(Call("GET", f"/v1/jobs/{job_id}/results"), retry)
    try:
        listed = [
            {k: v for k, v in file.items() if k in ListedFile.model_fields}
            for file in answer.json()["files"]
        ]
        return _FILES.validate_python(listed)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ServiceUnavailableError(
            "the service's list of results is not understood; are service and command "
            "of the same version?"
        ) from error


def fetch_all(job_id: str, folder: Path, retry: Retry) -> Steps[None]:
    """Fetch all results into a folder, which appears when all are there."""
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent
        ) as partial_folder:
            listed = yield from list_results(job_id, retry)
            for file in listed:
                if file.withheld or file.name.startswith(f"{REVIEWED}/"):
                    continue
                yield from _fetch_file(job_id, file, Path(partial_folder), retry)
            yield Work(partial(move_into, Path(partial_folder), folder))


def fetch_file(
    job_id: str, file: ResultFile, folder: Path, retry: Retry
) -> Steps[Path]:
    """Fetch one result into a folder, where it appears when it is whole.

    Returns:
        Its path.
    """
    with writing(folder):
        return (yield from _fetch_file(job_id, file, folder, retry))


def _fetch_file(
    job_id: str, file: ResultFile, folder: Path, retry: Retry
) -> Steps[Path]:
    target = _inside(folder, file.name)
    path = f"/v1/jobs/{job_id}/results/{quote(file.name)}"
    with _arriving(target) as partial_file:
        with _FileSink.opened(partial_file) as sink:
            yield from take(Fetch(path, sink), retry)
        if sink.sha256 != file.sha256:
            raise StoreError(f"{file.name} was damaged on its way; fetch it again")
    return target


def fetch_archive(job_id: str, target: Path, retry: Retry) -> Steps[Path]:
    """Fetch all results as one zip archive; returns its path."""
    listed = yield from list_results(job_id, retry)
    expected = [file for file in listed if not file.withheld]
    with writing(target), _arriving(target) as partial_file:
        with _FileSink.opened(partial_file) as sink:
            yield from take(Fetch(f"/v1/jobs/{job_id}/results.zip", sink), retry)
        yield Work(partial(_require_files, partial_file, expected))
    return target


@contextmanager
def _arriving(target: Path) -> Iterator[Path]:
    """Give a hidden file beside `target`, which takes its place if the block succeeds.

    If not, nothing of it is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_file = target.with_name(f".{target.name}.partial")
    try:
        yield partial_file
        partial_file.replace(target)
    finally:
        partial_file.unlink(missing_ok=True)


class _FileSink:
    """A file that is hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[_FileSink]:
        """Write a file for the time of a block."""
        sink = cls(path)
        try:
            yield sink
        except BaseException:
            with suppress(OSError):  # what went wrong first is told
                sink._file.close()
            raise
        sink._file.close()

    def begin(self) -> None:
        """Forget what an earlier try has written."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Write the next piece."""
        self._digest.update(chunk)
        self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """The hash, in hexadecimal digits."""
        return self._digest.hexdigest()


def _require_files(path: Path, expected: Sequence[ResultFile]) -> None:
    """Return if an archive has the files that it should have, and no others.

    Raises:
        StoreError: It has not.
    """
    try:
        with zipfile.ZipFile(path) as found:
            names = sorted(found.namelist())
            if names != sorted(file.name for file in expected):
                raise StoreError(
                    "the archive has other files than the job lists; fetch it again"
                )
            for file in expected:
                if _sha256_within(found, file.name) != file.sha256:
                    raise StoreError(
                        f"{file.name} was damaged on its way; fetch it again"
                    )
    except zipfile.BadZipFile as error:
        raise StoreError(
            f"the archive was damaged on its way ({error}); fetch it again"
        ) from error


def _sha256_within(found: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with found.open(name) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _inside(folder: Path, name: str) -> Path:
    """Return a path below a folder, whatever a service calls its files."""
    target = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise StoreError(f"the service names a result {name!r}, which is no file name")
    return target
