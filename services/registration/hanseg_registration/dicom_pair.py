"""A CT and an MR that are DICOM: made into volumes, and the results into DICOM."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_registration.geometry.motions import (
    Motion,
    from_transform,
    read_motion,
)
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.errors import ImageContentError, OptionError
from hanseg_shared.io import read_mr
from hanseg_shared.io.dicom.conversion import Conversion
from hanseg_shared.io.dicom.source import DicomIdentity, DicomSource
from hanseg_shared.io.formats import is_dicom_input
from hanseg_shared.result_files import MR_SERIES, REG, REGISTERED_MR, TRANSFORM

if TYPE_CHECKING:  # pydicom and more, which only DICOM needs
    from hanseg_shared.dicom.case import DicomCase


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles:
    """A CT and an MR as files that the registration reads.

    Attributes:
        ct: The planning CT.
        mr: The MR.
        given: A registration that was sent along, from points of the CT to points of
            the MR in mm LPS; None to search for one.
        source: Where they came from, if they came as DICOM.
        identity: Whose they are, likewise.
        remarks: What a person should know of the DICOM files.
    """

    ct: Path
    mr: Path
    given: Motion | None = None
    source: DicomSource | None = None
    identity: DicomIdentity | None = None
    remarks: tuple[str, ...] = ()

    def make_case(self, transform: Path, created_at: datetime) -> DicomCase | None:
        """Return what DICOM results have in common; None for images of other formats.

        Args:
            transform: The transform that was found, on which their UIDs depend.
            created_at: When they are said to be made.
        """
        if self.source is None or self.identity is None:
            return None
        from hanseg_shared.dicom.case import DicomCase

        seed = hashlib.sha256(transform.read_bytes()).hexdigest()
        return DicomCase(self.source, self.identity, created_at, seed)


@contextmanager
def open_images(
    ct: Path, mr: Path, given: Path | None, scratch: Path
) -> Iterator[ImageFiles]:
    """Yield a CT and an MR as files; DICOM is converted for as long as they are used.

    Args:
        ct: An image file; or a folder, a zip archive or a file of DICOM.
        mr: Another one; the same for an archive of both.
        given: A registration: an ITK transform, or a DICOM registration object.
        scratch: A folder that exists, for what is converted.

    Raises:
        InputError: They cannot be used; the message names the file and the remedy.
    """
    sent = (ct, mr) if given is None else (ct, mr, given)
    motion = None if given is None or is_dicom_input(given) else read_motion(given)
    if not any(path.is_dir() or is_dicom_input(path) for path in sent):
        yield ImageFiles(ct, mr, motion)
        return
    from hanseg_shared.io.dicom.convert import convert_case_in_child

    with tempfile.TemporaryDirectory(prefix=".dicom-", dir=scratch) as folder:
        done = convert_case_in_child(
            ct,
            None if mr.samefile(ct) else mr,
            given if motion is None else None,
            Path(folder),
        )
        yield _find_files(done, Path(folder), mr, motion)


def _find_files(
    done: Conversion, folder: Path, mr: Path, motion: Motion | None
) -> ImageFiles:
    """Return the files of a conversion, with the MR itself if that is no DICOM."""
    source = DicomSource.model_validate_json((folder / done.source).read_bytes())
    identity = DicomIdentity.model_validate_json((folder / done.identity).read_bytes())
    if done.mr is None and (mr.is_dir() or is_dicom_input(mr)):
        raise ImageContentError(f"{mr.name}: there is no MR series in it")
    if motion is None and source.registration is not None:
        motion = np.array(source.registration.mr_from_ct)
    return ImageFiles(
        folder / done.ct,
        mr if done.mr is None else folder / done.mr,
        motion,
        source,
        identity,
        done.remarks,
    )


def require_case(images: ImageFiles, ct: Path) -> None:
    """Refuse to write DICOM for a CT that is none.

    Raises:
        OptionError: The CT did not come as DICOM.
    """
    if images.source is None:
        raise OptionError(
            f"{ct.name} is no DICOM, and results can be written as DICOM only for a CT "
            "that is; send the CT's series as a folder or a zip archive"
        )


def write_dicom(folder: Path, report: RegistrationReport, case: DicomCase) -> list[str]:
    """Write the registration and the registered MR as DICOM, and read them back.

    Those of an earlier registration in the folder are removed.

    Args:
        folder: Where the registration's other results are.
        report: The verdict.
        case: Whose.

    Returns:
        What was left out and why, a sentence each.

    Raises:
        OutputError: An object does not read back as what it should say.
    """
    (folder / REG).unlink(missing_ok=True)
    if (folder / MR_SERIES).exists():
        shutil.rmtree(folder / MR_SERIES)
    if report.verdict is not MrVerdict.USED:
        return ["no DICOM was written: the MR was rejected, and is not to be used"]
    from hanseg_shared.dicom.gate import require_mr_series
    from hanseg_shared.dicom.mr_series import write_mr_series

    left_out = []
    with tempfile.TemporaryDirectory(prefix=".dicom-", dir=folder) as made:
        if reason := _write_registration(Path(made) / REG, folder / TRANSFORM, case):
            left_out.append(f"no {REG} was written: {reason}")
        mr = read_mr(folder / REGISTERED_MR)
        write_mr_series(Path(made) / MR_SERIES, mr, case=case)
        require_mr_series(Path(made) / MR_SERIES, mr, case=case)
        for path in sorted(Path(made).iterdir()):
            path.rename(folder / path.name)
    return left_out


def _write_registration(path: Path, transform: Path, case: DicomCase) -> str | None:
    """Write the registration object; return why not, where it cannot be."""
    if case.source.mr is None:
        return "the MR did not come as DICOM, so that it has no frame of reference"
    found = sitk.ReadTransform(str(transform))
    if not found.IsLinear():
        return "the MR was deformed, and a spatial registration holds one matrix"
    from hanseg_shared.dicom.gate import require_registration
    from hanseg_shared.dicom.registration_object import write_registration

    motion = from_transform(found)
    write_registration(path, motion, case=case)
    require_registration(path, motion, case=case)
    return None
