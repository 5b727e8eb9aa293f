"""Registrations as plastimatch writes them; see its command ``xf-convert``."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813

from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.sent_registration import read_sent_registration
from hanseg_shared.itk import to_image
from hanseg_shared.volume import Volume
from tests.dicom.tools import program


@dataclass(frozen=True)
class Written:
    """A registration object of plastimatch, and the frames of its two images."""

    path: Path
    ct_frame: str
    mr_frame: str

    def read(self) -> np.ndarray:
        """Return the ``mr_from_ct`` that we read in it."""
        found = read_sent_registration(
            pydicom.dcmread(self.path),
            ct_frame=self.ct_frame,
            mr_frame=self.mr_frame,
            name=self.path.name,
        )
        return np.array(found.mr_from_ct)


def write_by_plastimatch(folder: Path, mr_from_ct: np.ndarray) -> Written:
    """Let plastimatch write a registration of two small images, or skip without it.

    Args:
        folder: Empty; for its files.
        mr_from_ct: What it is told as an ITK transform, fixed to moving.
    """
    program_path = program("plastimatch")
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(mr_from_ct[:3, :3].ravel().tolist())
    transform.SetTranslation(mr_from_ct[:3, 3].tolist())
    sitk.WriteTransform(transform, str(folder / "mr_from_ct.tfm"))
    for name, origin in (("ct", (-10.0, -20.0, -30.0)), ("mr", (5.0, 6.0, 7.0))):
        grid = Grid((16, 16, 4), (1.0, 1.0, 3.0), origin)
        volume = Volume(np.zeros(grid.shape, np.int16), grid)
        sitk.WriteImage(to_image(volume), folder / f"{name}.mha")
    arguments = "--input mr_from_ct.tfm --fixed-image ct.mha --moving-image mr.mha"
    subprocess.run(
        [program_path, "xf-convert", *arguments.split(), "--output-dicom", "out"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (path,) = (folder / "out").glob("sro_*.dcm")
    ct, mr = (
        str(
            pydicom.dcmread(next((folder / "out" / name).iterdir())).FrameOfReferenceUID
        )
        for name in ("fixed", "moving")
    )
    return Written(path, ct, mr)
