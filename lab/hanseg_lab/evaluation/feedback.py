"""What clinicians change of our contours, kept as a history."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from hanseg_lab.evaluation.case_folders import find_case_masks
from hanseg_lab.evaluation.case_masks import CaseMasks, CaseSource, read_case_masks
from hanseg_lab.evaluation.csv_file import CsvRow, read_csv
from hanseg_lab.evaluation.label_table import OUR_NUMBERS
from hanseg_shared.documents import JobDocument
from hanseg_shared.errors import InputError
from hanseg_shared.metrics import measures
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.organs import ORGANS
from hanseg_shared.result_files import RECORD, SEGMENTATION
from hanseg_shared.volume import Volume

HISTORY = "history.csv"


@dataclass(frozen=True, slots=True)
class Change:
    """How a clinician corrected one organ of one job.

    Attributes:
        corrected_at: When, UTC.
        job: The job's id.
        case: What the caller called the case; may be empty.
        model: Name and version of the model that segmented the organ.
        model_sha256: Of its weights.
        organ: The organ's name.
        dice: Of our mask with the corrected one; 0 if one of them is empty.
        surface_dice: Share of both surfaces within the organ's tolerance; the same.
        added_path_mm: Contour that had to be drawn; see `added_path_length`.
        volume_ml: Of our mask.
        corrected_ml: Of the corrected one.
    """

    corrected_at: datetime
    job: str
    case: str
    model: str
    model_sha256: str
    organ: str
    dice: float
    surface_dice: float
    added_path_mm: float
    volume_ml: float
    corrected_ml: float

    @property
    def volume_change_ml(self) -> float:
        """By how much the correction made the organ larger."""
        return self.corrected_ml - self.volume_ml


COLUMNS = [field.name for field in fields(Change)]


def changes_of_job(
    job_folder: Path,
    corrected: Path,
    *,
    corrected_at: datetime,
    tolerances_mm: dict[str, float],
) -> list[Change]:
    """Compare a job's masks with the clinician's, organ by organ.

    Args:
        job_folder: A job's results: `job.json` and `segmentation.nii.gz`.
        corrected: A label map, which covers all organs, or a folder with a mask for
            each organ, which covers only those.
        corrected_at: When the correction was made.
        tolerances_mm: Of each organ, for the surface Dice.

    Raises:
        InputError: The job's files or the masks cannot be used, or their grids differ.
    """
    job = _read_job(job_folder)
    ours = read_case_masks(CaseSource(job.id, job_folder / SEGMENTATION))
    source = _find_single_case(corrected)
    theirs = read_case_masks(source)
    if ours.grid is not None and theirs.grid is not None:
        ours.grid.require_same(theirs.grid, what="the corrected contours")
    looked_at = set(source.organ_files) or {organ.name for organ in ORGANS}
    return [
        _change(job, organ.name, ours, theirs, corrected_at, tolerances_mm[organ.name])
        for organ in ORGANS
        if organ.name in looked_at
        and (organ.name in ours.masks or organ.name in theirs.masks)
    ]


def record(changes: Iterable[Change], folder: Path, *, replace: bool = False) -> None:
    """Add changes to a folder's history, all of them or none.

    Args:
        changes: Of one job.
        folder: Made if it is not there.
        replace: Whether older entries of the same organs of the same job give way.

    Raises:
        InputError: They are in the history already, or it cannot be read.
    """
    new = list(changes)
    keys = {(change.job, change.organ) for change in new}
    with _lock(folder):
        old = read_history(folder)
        twice = sorted({x.job for x in old if (x.job, x.organ) in keys})
        if twice and not replace:
            raise InputError(
                f"{folder}: job {', '.join(twice)} is in the history already; "
                "--replace puts the new correction in its place"
            )
        kept = [change for change in old if (change.job, change.organ) not in keys]
        _write([*kept, *new], folder / HISTORY)


def read_history(folder: Path) -> list[Change]:
    """Return every change, oldest first; none if there is no history yet.

    Raises:
        InputError: The file is no history.
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    changes = [_parse(row, path) for row in read_csv(path, COLUMNS, exact=True)]
    return sorted(changes, key=lambda change: (change.corrected_at, change.job))


def _read_job(folder: Path) -> JobDocument:
    for name in (RECORD, SEGMENTATION):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: a job's results are needed, but {name} is not there"
            )
    try:
        return JobDocument.model_validate_json((folder / RECORD).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{folder / RECORD}: no job's document: {first['loc']}: {first['msg']}"
        ) from error


def _find_single_case(corrected: Path) -> CaseSource:
    sources = find_case_masks(corrected, OUR_NUMBERS)  # it was made from ours
    if len(sources) > 1:
        raise InputError(
            f"{corrected}: one case's masks are needed, but there are {len(sources)}"
        )
    return sources[0]


def _change(
    job: JobDocument,
    organ: str,
    ours: CaseMasks,
    theirs: CaseMasks,
    corrected_at: datetime,
    tolerance_mm: float,
) -> Change:
    found, wanted = ours.masks.get(organ), theirs.masks.get(organ)
    comparison = compare(
        _replace_missing(wanted, found), _replace_missing(found, wanted)
    )
    model = job.model
    return Change(
        corrected_at=corrected_at,
        job=job.id,
        case=job.case or "",
        model=f"{model.name} {model.version}" if model else "",
        model_sha256=model.sha256 if model else "",
        organ=organ,
        dice=measures.dice(comparison),
        surface_dice=measures.surface_dice(comparison.distances, tolerance_mm),
        added_path_mm=comparison.added_path_mm,
        volume_ml=measures.volume_ml(comparison),
        corrected_ml=measures.reference_volume_ml(comparison),
    )


def _replace_missing(mask: Volume | None, other: Volume | None) -> Volume:
    """Return a mask, or one without a voxel on the lattice of the other."""
    if mask is not None:
        return mask
    if other is None:
        raise InputError("an organ needs a mask on one side at least")
    return other.with_array(other.array & False)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep others from writing to a folder's history meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(changes: Iterable[Change], path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for change in changes:
            row = asdict(change)
            writer.writerow(row | {"corrected_at": change.corrected_at.isoformat()})
    draft.replace(path)


def _parse(row: CsvRow, path: Path) -> Change:
    try:
        when = datetime.fromisoformat(row["corrected_at"])
        return Change(
            corrected_at=when if when.tzinfo else when.replace(tzinfo=UTC),
            job=row["job"],
            case=row["case"],
            model=row["model"],
            model_sha256=row["model_sha256"],
            organ=row["organ"],
            dice=row.number("dice"),
            surface_dice=row.number("surface_dice"),
            added_path_mm=row.number("added_path_mm"),
            volume_ml=row.number("volume_ml"),
            corrected_ml=row.number("corrected_ml"),
        )
    except (ValueError, InputError) as error:
        raise InputError(f"{path}, line {row.line}: {error}") from error
