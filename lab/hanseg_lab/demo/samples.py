"""Real images for the demonstration, from a public source archive on PyPI.

The archive of dicom2stl 0.5.0 (Apache-2.0) carries RIRE's training case 001, a CT and
a T1 MR of one head (West et al. 1997, doi 10.1097/00004728-199707000-00007; CC BY 3.0
US), and a head-and-neck CT. They are fetched by pip and never become part of this
project.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_shared.errors import ServiceUnavailableError, StoreError
from hanseg_shared.file_hash import file_sha256

PACKAGE, VERSION = "dicom2stl", "0.5.0"
ARCHIVE = f"{PACKAGE}-{VERSION}.tar.gz"
SHA256 = "fb214135f811315203829abbc579cfdb8108d6af4fe49bd513620f4a4fae023d"

RIRE_CT_POINTS = np.array(
    [
        (0.0, 0.0, 0.0),
        (333.9870, 0.0, 0.0),
        (0.0, 333.9870, 0.0),
        (333.9870, 333.9870, 0.0),
        (0.0, 0.0, 112.0),
        (333.9870, 0.0, 112.0),
        (0.0, 333.9870, 112.0),
        (333.9870, 333.9870, 112.0),
    ]
)
"""Eight points of RIRE 001's CT, in mm LPS, shape ``(8, 3)``; see `RIRE_MR_POINTS`."""

RIRE_MR_POINTS = np.array(
    [
        (5.0369, -17.4970, -27.1650),
        (338.0219, -43.3470, -27.4162),
        (30.8808, 315.3043, -16.0856),
        (363.8658, 289.4544, -16.3368),
        (4.8333, -21.2077, 84.7733),
        (337.8183, -47.0576, 84.5221),
        (30.6772, 311.5937, 95.8527),
        (363.6622, 285.7437, 95.6015),
    ]
)
"""Where those points lie in the T1 MR, by fiducial markers fixed to the bone (RIRE's
standard ``ct_T1``, patient 001)."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The images of the demonstration."""

    rire_ct: Path
    rire_t1: Path
    head_ct: Path


_MEMBERS = {
    "rire_ct": "ct_example.nii.gz",
    "rire_t1": "mri_t1_example.nii.gz",
    "head_ct": "ct_head.nii.gz",
}


def cache_folder() -> Path:
    """Return the per-user folder for fetched files (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hanseg"


def fetch_samples(folder: Path | None = None) -> Samples:
    """Fetch the archive unless it is there already, and unpack the three images.

    Raises:
        ServiceUnavailableError: The archive cannot be fetched.
        StoreError: What was fetched is not the archive that was expected.
    """
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / ARCHIVE
    if not archive.exists():
        _download(archive)
    if file_sha256(archive) != SHA256:
        archive.unlink()
        raise StoreError(f"{archive} is damaged and was deleted; try again")
    _unpack(archive, folder)
    return Samples(**{role: folder / name for role, name in _MEMBERS.items()})


def _download(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", PACKAGE, "--dest", folder, f"{PACKAGE}=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(folder) / ARCHIVE
        if done.returncode != 0 or not fetched.exists():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServiceUnavailableError(
                f"pip cannot fetch {PACKAGE} {VERSION}: {reason}"
            )
        fetched.replace(target)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for name in _MEMBERS.values():
            source = tar.extractfile(f"{PACKAGE}-{VERSION}/examples/Data/{name}")
            if source is None:
                raise StoreError(f"{archive} lacks {name}")
            partial = folder / f".{name}"
            partial.write_bytes(source.read())
            partial.replace(folder / name)
