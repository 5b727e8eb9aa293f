"""Corrections read and compared in a child process that can be killed and starved.

``python -m hanseg_shared.review.sandbox REQUEST`` is the child of
`compare_in_child`; see `hanseg_shared.io.confined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanseg_shared.document import Document
from hanseg_shared.errors import CheckDiedError
from hanseg_shared.io.confined import Confines, answer_request, run_confined
from hanseg_shared.io.halt import Halt
from hanseg_shared.review.documents import MaskComparison

_MODULE = "hanseg_shared.review.sandbox"

CONFINES = Confines(
    memory_bytes=6 << 30, cpu_seconds=120, wall_seconds=180.0, file_bytes=64 << 20
)
"""Enough, several times over, for 30 organs of a CT of 512 x 512 x 400 voxels."""


@dataclass(frozen=True, slots=True)
class SentCorrection:
    """A correction, and what it is compared with.

    Attributes:
        path: What was sent.
        own: The model's label map.
        organ: The organ of a mask that was painted, or of a file with one mask.
        painted: Whether it is a mask as the viewer sends it.
        source: Where the CT's slices came from; None if it was no DICOM.
        identity: Whose the CT is; None likewise.
    """

    path: Path
    own: Path
    organ: str | None = None
    painted: bool = False
    source: Path | None = None
    identity: Path | None = None


class ComparedOrgan(Document):
    """A corrected organ: its comparison, and the file of its mask."""

    organ: str
    file: str
    comparison: MaskComparison


class ComparedCorrection(Document):
    """What a correction changes.

    Attributes:
        kind: What it came in; see `CorrectedMask.source`.
        organs: Those that were corrected.
        unchanged: Those that came as the model had made them.
        remarks: What a person should know of how it was read.
    """

    kind: str
    organs: tuple[ComparedOrgan, ...]
    unchanged: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def compare_in_child(
    sent: SentCorrection, out: Path, halt: Halt | None = None
) -> ComparedCorrection:
    """Do what `compare_files` does, in a process of its own.

    Raises:
        ImageError: As `compare_files`, or the child died.
        GridMismatchError: As `compare_files`.
        ServiceUnavailableError: It was killed from outside, and again.
    """
    request = {
        "path": str(sent.path),
        "own": str(sent.own),
        "organ": sent.organ,
        "painted": sent.painted,
        "source": sent.source and str(sent.source),
        "identity": sent.identity and str(sent.identity),
        "out": str(out),
    }
    answer = run_confined(_MODULE, request, confines=CONFINES, halt=halt or Halt())
    if "corrected" in answer:
        return ComparedCorrection.model_validate(answer["corrected"])
    raise CheckDiedError(
        "the corrected contours could not be read safely: the reader ran out of memory "
        "or time, or crashed on damaged data; export them again"
    )


def compare_files(
    sent: SentCorrection, out: Path, halt: Halt | None = None
) -> ComparedCorrection:
    """Read a correction, compare it with the model's contours, and write its masks.

    Args:
        sent: The files.
        out: The folder where masks are written; see `CorrectedMask.sha256`.
        halt: Not looked at: this is what the child does.

    Raises:
        ImageError: The correction cannot be used.
        GridMismatchError: It does not lie on the CT's grid.
    """
    from hanseg_shared.io.dicom.source import DicomIdentity, DicomSource
    from hanseg_shared.io.read import read_labels
    from hanseg_shared.review.corrected_masks import (
        Belongings,
        read_corrected,
        read_painted,
    )
    from hanseg_shared.review.correction import compare_correction, write_mask

    del halt
    own = read_labels(sent.own)
    if sent.painted and sent.organ is not None:
        corrected = read_painted(sent.path, own.grid, sent.organ)
    else:
        belongings = Belongings()
        if sent.source is not None and sent.identity is not None:
            belongings = Belongings(
                DicomSource.model_validate_json(sent.source.read_bytes()).ct,
                DicomIdentity.model_validate_json(sent.identity.read_bytes()),
            )
        corrected = read_corrected(sent.path, own.grid, belongings, organ=sent.organ)
    found = compare_correction(own, corrected)
    organs = []
    for name, comparison in found.comparisons.items():
        file = f"{name}.gz"
        write_mask(out / file, corrected.parts[name], own.grid.shape)
        organs.append(ComparedOrgan(organ=name, file=file, comparison=comparison))
    return ComparedCorrection(
        kind=corrected.kind,
        organs=tuple(organs),
        unchanged=found.unchanged,
        remarks=corrected.remarks,
    )


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    out = Path(request.pop("out"))
    paths = {
        name: Path(request[name])
        for name in ("path", "own", "source", "identity")
        if request[name] is not None
    }
    sent = SentCorrection(**{**request, **paths})
    return {"corrected": compare_files(sent, out).model_dump(mode="json")}


if __name__ == "__main__":
    answer_request(_answer)
