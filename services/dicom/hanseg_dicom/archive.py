"""Archives of DICOM files, the same bytes for the same instances every time."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hanseg_dicom.orthanc import Orthanc
from hanseg_dicom.plan import PlannedInstance

_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that an archive can name."""


def write_archive(
    orthanc: Orthanc, instances: tuple[PlannedInstance, ...], path: Path
) -> None:
    """Fetch instances into an archive, uncompressed, in the order given.

    The files are numbered: their names tell nothing.

    Raises:
        NotInOrthancError: Orthanc no longer has one of them.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, instance in enumerate(instances, start=1):
            entry = zipfile.ZipInfo(f"{number:06d}.dcm", date_time=_TIME)
            entry.external_attr = 0o600 << 16
            with archive.open(entry, "w", force_zip64=True) as sink:
                orthanc.copy_file(instance.id, sink)
