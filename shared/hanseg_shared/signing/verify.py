"""A folder compared with what was signed of it: changed, missing, added, signed.

It holds the results of a job, with their manifest, or the sheet of a commissioning.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.result_files import MANIFEST, SIGNATURE
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.manifest import (
    LARGEST_BYTES,
    Manifest,
    ManifestFile,
    Signature,
    parse_manifest,
    parse_signature,
)
from hanseg_shared.signing.sheet import (
    SHEET,
    SHEET_SIGNATURE,
    CommissioningSheet,
    parse_sheet,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a folder that is not as it was signed.

    Attributes:
        kind: ``changed``, ``missing``, ``added``, ``altered manifest`` or
            ``another key``.
        what: The file, or the key.
    """

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What is found of a folder.

    Attributes:
        signed: What was signed: the manifest of a job's results, or a sheet.
        key: The public key that the signature names.
        findings: Nothing, if all is as it was signed by a key that is trusted.
    """

    signed: Manifest | CommissioningSheet
    key: PublicKey
    findings: tuple[Finding, ...]

    @property
    def what(self) -> str:
        """What the files are of, in words."""
        if isinstance(self.signed, Manifest):
            return f"job {self.signed.job}"
        verdict = "passed" if self.signed.passed else "failed"
        return f"the commissioning of {self.signed.made_at:%Y-%m-%d} ({verdict})"

    @property
    def remedy(self) -> str:
        """What to do where the files are not what was signed."""
        if isinstance(self.signed, Manifest):
            return "Fetch the results again with hanseg jobs fetch"
        return "Take the sheet from where it is kept, or make it anew"


def verify_folder(folder: Path, trusted: Collection[PublicKey]) -> Verification:
    """Compare a folder with what was signed of it, and that with its signature.

    Args:
        folder: Results as they were fetched, or a commissioning's sheet.
        trusted: The keys whose signature counts.

    Raises:
        InputError: There is no manifest or signature, or it cannot be read.
    """
    is_sheet = (folder / SHEET).is_file() and not (folder / MANIFEST).exists()
    names = (SHEET, SHEET_SIGNATURE) if is_sheet else (MANIFEST, SIGNATURE)
    content = _read(folder / names[0])
    signature = parse_signature(_read(folder / names[1]))
    signed = parse_sheet(content) if is_sheet else parse_manifest(content)
    findings = (
        *_check_signature(content, signature, trusted, name=names[0]),
        *_compare_files(folder, signed.files, names),
    )
    return Verification(signed, PublicKey(signature.key), findings)


def _check_signature(
    content: bytes,
    signature: Signature,
    trusted: Collection[PublicKey],
    *,
    name: str,
) -> Iterator[Finding]:
    """Yield what is wrong with the signature; the key it names is trusted by others."""
    key = PublicKey(signature.key)
    if key not in trusted:
        yield Finding("another key", signature.key)
    if not signature.is_of(content, key):
        yield Finding("altered manifest", name)


def _compare_files(
    folder: Path, files: Collection[ManifestFile], own: Collection[str]
) -> Iterator[Finding]:
    """Yield what differs; `own` is what is signed itself, and its signature."""
    there = set(_list_files(folder)) - set(own)
    for file in sorted(files, key=lambda file: file.name):
        path = folder / file.name
        if file.name not in there:
            yield Finding("missing", file.name)
        elif not _is_same(path, file):
            yield Finding("changed", file.name)
    for name in sorted(there - {file.name for file in files}):
        yield Finding("added", printable(name))


def _is_same(path: Path, file: ManifestFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    return file_sha256(path) == file.sha256


def _list_files(folder: Path) -> Iterator[str]:
    """Yield everything in a folder that is no folder, links to folders included."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in [*names, *links]:
            yield (Path(place) / name).relative_to(folder).as_posix()


def printable(name: str) -> str:
    """Return a name as it can be shown: control characters would rule a terminal."""
    return name if name.isprintable() else ascii(name)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: this is no folder of results, or one that was written "
            "before results were signed; fetch it again with hanseg jobs fetch"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} has more than {LARGEST_BYTES} bytes")
    return content
