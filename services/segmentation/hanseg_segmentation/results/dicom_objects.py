"""A job's results as DICOM: what its packaging stage knows, handed to the writers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from pydantic import BaseModel

from hanseg_segmentation.results.case_result import CaseResult
from hanseg_shared.dicom.template import TEMPLATE_FILE, Template
from hanseg_shared.documents import NATURAL_OUTPUTS, DicomReport
from hanseg_shared.errors import JobStateError
from hanseg_shared.io import read_labels, read_registered_mr
from hanseg_shared.io.dicom.source import (
    IDENTITY_FILE,
    SOURCE_FILE,
    DicomIdentity,
    DicomSource,
)
from hanseg_shared.itk import matrix_of
from hanseg_shared.jobs.record import Job, moment
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.log_filter import keep_out_of_log
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    REGISTERED_MR,
    SEGMENTATION,
    TRANSFORM,
)
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from hanseg_shared.dicom.case import DicomCase
    from hanseg_shared.dicom.export import ContouredCase

Attached = TypeVar("Attached", bound=BaseModel)


def write_dicom(
    place: Workplace, folder: Path, result: CaseResult
) -> DicomReport | None:
    """Write the DICOM objects that a job asks for; None if its CT was no DICOM.

    Packaging a job again gives the same bytes: time and identifiers are the job's.

    Args:
        place: The packaging stage.
        folder: Where they go.
        result: What they say.

    Raises:
        OutputError: An object does not read back as what it should say.
    """
    source = _read_attached(place, SOURCE_FILE, DicomSource)
    if source is None:
        return None
    from hanseg_shared.dicom.export import write_dicom_results

    wanted = place.job.options.outputs
    return write_dicom_results(
        folder,
        NATURAL_OUTPUTS if wanted is None else wanted,
        _contoured(place, result),
        case=_case(place.job, source, _require_identity(place)),
        template=_require(place, TEMPLATE_FILE, Template),
    )


def _case(job: Job, source: DicomSource, identity: DicomIdentity) -> DicomCase:
    from hanseg_shared.dicom.case import DicomCase

    return DicomCase(source, identity, moment(job.created_at), _seed(job))


def _seed(job: Job) -> str:
    """Return what the results depend on besides the source."""
    labels = next(f.sha256 for f in job.intermediate if f.name == SEGMENTATION)
    weights = job.model.sha256 if job.model else ""
    return hashlib.sha256(f"{job.id} {labels} {weights}".encode()).hexdigest()


def _contoured(place: Workplace, result: CaseResult) -> ContouredCase:
    from hanseg_shared.dicom.export import ContouredCase

    mr, field_of_view = _read_mr(place, result)
    transform = place.fetch_intermediate(TRANSFORM)
    return ContouredCase(
        ct=result.images.ct,
        labels=result.labels,
        organs=result.organs,
        model=result.model,
        registration=result.registration,
        mr=mr,
        field_of_view=field_of_view,
        mr_from_ct=None if transform is None else read_matrix(transform),
        remarks=place.job.remarks,
    )


def _read_mr(
    place: Workplace, result: CaseResult
) -> tuple[Volume | None, Volume | None]:
    """Return the registered MR and its field of view, a rejected one too."""
    images = result.images
    if images.mr is not None:
        return images.mr, images.field_of_view
    mr = place.fetch_intermediate(REGISTERED_MR)
    field_of_view = place.fetch_intermediate(FIELD_OF_VIEW)
    if mr is None or field_of_view is None:
        return None, None
    return read_registered_mr(mr), read_labels(field_of_view)


def read_matrix(path: Path) -> npt.NDArray[np.float64] | None:
    """Return the homogeneous 4 x 4 matrix of an ITK transform; None if it deforms.

    It maps points as the transform does, in mm LPS.
    """
    return matrix_of(sitk.ReadTransform(str(path)))


def _require_identity(place: Workplace) -> DicomIdentity:
    identity = _require(place, IDENTITY_FILE, DicomIdentity)
    keep_out_of_log(*identity.texts())
    return identity


def _require(place: Workplace, name: str, kind: type[Attached]) -> Attached:
    found = _read_attached(place, name, kind)
    if found is None:
        raise JobStateError(f"job {place.job.id} lacks {name}")
    return found


def _read_attached(
    place: Workplace, name: str, kind: type[Attached]
) -> Attached | None:
    path = place.fetch_intermediate(name)
    return None if path is None else kind.model_validate_json(path.read_bytes())
