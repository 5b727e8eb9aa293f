"""Series that another program wrote are read to the volume it was given."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.write import write_volume
from tests.dicom.tools import program
from tests.grids import GRIDS
from tests.io.dicom.made_series import made_volume
from tests.io.dicom.test_poses import assert_same_everywhere

RIGHT_HANDED = sorted(
    name for name in GRIDS if np.linalg.det(GRIDS[name].direction) > 0
)


@pytest.mark.dicom
@pytest.mark.parametrize("name", RIGHT_HANDED)
def test_plastimatchs_series_are_read_as_it_meant_them(tmp_path, name):
    made = made_volume(GRIDS[name])
    image = write_volume(made, tmp_path / "ct.nrrd")
    folder = tmp_path / "series"
    command = [program("plastimatch"), "convert", "--input", str(image)]
    subprocess.run(
        [*command, "--output-dicom", str(folder)], capture_output=True, check=True
    )
    files = [DicomFile(path, path.name) for path in sorted(folder.iterdir())]
    assert_same_everywhere(read_case(files).ct, made, tolerance=0.5)
