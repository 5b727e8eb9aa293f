"""What is handed on once a review is signed, as it left the contours; in a child.

``python -m hanseg_shared.review.hand_on REQUEST`` is the child of `write_in_child`; see
`hanseg_shared.io.confined`. What it writes is read back before it counts.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hanseg_shared.document import Document
from hanseg_shared.documents import DicomOutput, ModelSummary, OrganResult
from hanseg_shared.errors import OutputError
from hanseg_shared.io.confined import Confines, answer_request, run_confined
from hanseg_shared.io.halt import Halt
from hanseg_shared.result_files import LABELMAP, RTSTRUCT, SEG, SEGMENTATION

if TYPE_CHECKING:
    from hanseg_shared.dicom.case import DicomCase
    from hanseg_shared.dicom.organ_masks import Review
    from hanseg_shared.dicom.scanline import Part
    from hanseg_shared.dicom.template import Template
    from hanseg_shared.volume import Volume

_MODULE = "hanseg_shared.review.hand_on"

CONFINES = Confines(
    memory_bytes=6 << 30, cpu_seconds=180, wall_seconds=240.0, file_bytes=512 << 20
)
"""Enough, several times over, for 30 organs of a CT of 512 x 512 x 400 voxels."""


class SignedReview(Document):
    """What a signed review says, and in which forms it is handed on.

    Attributes:
        reviewer: Reviewer Name (300E,0008).
        at: When it was signed, in UTC; also when the object is said to be made.
        rejected: Organs that are left out.
        organs: What became of each organ.
        model: What made the masks.
        seed: What objects depend on besides their source: equal seeds, equal UIDs.
        outputs: Objects to write; the label map is written where it changes.
    """

    reviewer: str
    at: datetime
    rejected: tuple[str, ...]
    organs: tuple[OrganResult, ...]
    model: ModelSummary | None
    seed: str
    outputs: tuple[DicomOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class DicomFiles:
    """What DICOM objects are written of, beside the masks.

    Attributes:
        source: Where the CT's slices came from.
        identity: Whose the CT is.
        template: The template of the structure set.
    """

    source: Path
    identity: Path
    template: Path


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """The files that what is handed on is written of.

    Attributes:
        own: The model's label map.
        edited: Corrected masks by organ; see `CorrectedMask.sha256`.
        dicom: None where no DICOM object is written.
    """

    own: Path
    edited: Mapping[str, Path]
    dicom: DicomFiles | None = None


def write_in_child(
    files: SignedFiles, review: SignedReview, out: Path, halt: Halt | None = None
) -> dict[str, str]:
    """Do what `write_signed` does, in a process of its own.

    Raises:
        OutputError: As `write_signed`, or the child died.
        ServiceUnavailableError: It was killed from outside, and again.
    """
    dicom = files.dicom
    request = {
        "own": str(files.own),
        "dicom": None
        if dicom is None
        else [str(dicom.source), str(dicom.identity), str(dicom.template)],
        "edited": {name: str(path) for name, path in files.edited.items()},
        "review": review.model_dump(mode="json"),
        "out": str(out),
    }
    answer = run_confined(_MODULE, request, confines=CONFINES, halt=halt or Halt())
    if "left_out" in answer:
        return dict(answer["left_out"])
    raise OutputError(answer.get("refused", "what was signed was not written"))


def write_signed(
    files: SignedFiles, review: SignedReview, out: Path, halt: Halt | None = None
) -> dict[str, str]:
    """Write the label map of a signed review, and its DICOM objects; read them back.

    Args:
        files: What they are written of.
        review: What was said, by whom, and what is asked for.
        out: The folder; it is not that of `files`.
        halt: Not looked at: this is what the child does.

    Returns:
        The names of structures that the structure set has not, and why each.

    Raises:
        OutputError: No organ is left, or an object does not read back as it should.
    """
    from hanseg_shared.dicom.organ_masks import Review
    from hanseg_shared.io.read import read_labels
    from hanseg_shared.review.corrected_labels import correct_labels

    del halt
    labels = read_labels(files.own)
    edited = {n: _read(p, labels.grid.shape) for n, p in files.edited.items()}
    said = Review(review.reviewer, review.at, edited, frozenset(review.rejected))
    corrected = correct_labels(labels, said)
    if said.edited or said.rejected:
        _write_label_map(out / SEGMENTATION, corrected)
    if files.dicom is None:
        return {}
    return _write_dicom(files.dicom, labels, corrected, review, said, out)


def _write_label_map(path: Path, labels: Volume) -> None:
    """Write a label map, and compare every voxel of the file with it."""
    from hanseg_shared.io.read import read_labels
    from hanseg_shared.io.write import write_volume

    write_volume(labels, path)
    if not np.array_equal(read_labels(path).array, labels.array):
        raise OutputError("the signed label map does not read back as it was written")


def _write_dicom(
    files: DicomFiles,
    labels: Volume,
    corrected: Volume,
    review: SignedReview,
    said: Review,
    out: Path,
) -> dict[str, str]:
    """Write the objects that are asked for; return what the structure set lacks."""
    from pydicom.config import disable_value_validation

    from hanseg_shared.dicom.case import DicomCase
    from hanseg_shared.dicom.person_name import fit_name
    from hanseg_shared.dicom.template import Template
    from hanseg_shared.io.dicom.source import DicomIdentity, DicomSource

    case = DicomCase(
        DicomSource.model_validate_json(files.source.read_bytes()),
        DicomIdentity.model_validate_json(files.identity.read_bytes()),
        review.at,
        review.seed,
    )
    template = Template.model_validate_json(files.template.read_bytes())
    reviewer = fit_name(review.reviewer, case.identity.character_set)
    said = replace(said, reviewer=reviewer)
    missing: dict[str, str] = {}
    with disable_value_validation():
        if DicomOutput.RTSTRUCT in review.outputs:
            missing = _write_structures(
                out / RTSTRUCT, labels, case, template, review, said
            )
        for kind, name in ((DicomOutput.SEG, SEG), (DicomOutput.LABELMAP, LABELMAP)):
            if kind in review.outputs:
                _write_segments(out / name, corrected, case, review, said, kind)
    return missing


def _write_structures(
    path: Path,
    labels: Volume,
    case: DicomCase,
    template: Template,
    review: SignedReview,
    said: Review,
) -> dict[str, str]:
    from hanseg_shared.dicom import gate
    from hanseg_shared.dicom.organ_masks import OrganMasks
    from hanseg_shared.dicom.rtstruct import write_rtstruct

    masks = OrganMasks(labels, said)
    written = write_rtstruct(
        path,
        labels,
        case=case,
        template=template,
        organs=review.organs,
        model=review.model,
        review=said,
    )
    gate.require_rtstruct(
        path,
        labels,
        case=case,
        template=template,
        organs=[each.name for each in review.organs if masks.has(each.name)],
        review=said,
    )
    return {each.name: each.reason for each in written.left_out}


def _write_segments(
    path: Path,
    corrected: Volume,
    case: DicomCase,
    review: SignedReview,
    said: Review,
    kind: DicomOutput,
) -> None:
    from hanseg_shared.dicom import gate
    from hanseg_shared.dicom.segmentation import write_segmentation

    if review.model is None:
        raise OutputError("a segmentation names its model, and none is known")
    there = np.bincount(corrected.array.ravel(), minlength=256) > 0
    organs = [each.name for each in review.organs if there[each.label]]
    write_segmentation(
        path,
        corrected,
        case=case,
        organs=organs,
        model=review.model,
        kind=kind,
        review=said,
    )
    gate.require_segmentation(path, corrected, case=case, organs=organs)


def _read(path: Path, shape: tuple[int, int, int]) -> Part:
    from hanseg_shared.dicom.scanline import Part
    from hanseg_shared.metrics.surface import bounding_box

    content = gzip.decompress(path.read_bytes())
    mask = np.frombuffer(content, dtype=np.bool_).reshape(shape)
    box = bounding_box(mask)
    if box is None:
        raise OutputError("a corrected mask is empty")
    z, y, x = (each.start for each in box)
    return Part(mask[box], (z, y, x))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    edited = {name: Path(path) for name, path in request["edited"].items()}
    dicom = request["dicom"]
    files = SignedFiles(
        Path(request["own"]),
        edited,
        None if dicom is None else DicomFiles(*map(Path, dicom)),
    )
    review = SignedReview.model_validate(request["review"])
    try:
        left_out = write_signed(files, review, Path(request["out"]))
    except OutputError as error:
        return {"refused": error.message}
    return {"left_out": left_out}


if __name__ == "__main__":
    answer_request(_answer)
