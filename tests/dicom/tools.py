"""Debian's programs that read DICOM: skipped, saying so, where one is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from hanseg_shared.volume import Mask


def program(name: str) -> str:
    """Return a program's path, or skip the test.

    pynetdicom puts other ones of the same names beside Python.
    """
    found = shutil.which(name, path="/usr/local/bin:/usr/bin")
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return found


def masks_by_plastimatch(
    structure_set: Path, ct: Path, folder: Path
) -> dict[str, Mask]:
    """Return the masks that plastimatch makes of a structure set on its CT, by name."""
    command = [program("plastimatch"), "convert", "--input", str(structure_set)]
    command += ["--referenced-ct", str(ct), "--output-prefix", str(folder)]
    subprocess.run(
        [*command, "--prefix-format", "nrrd"], capture_output=True, check=True
    )
    return {
        path.stem: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) > 0
        for path in folder.glob("*.nrrd")
    }


def dice(one: Mask, other: Mask) -> float:
    """Return the overlap of two masks, 1 for two empty ones."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0
