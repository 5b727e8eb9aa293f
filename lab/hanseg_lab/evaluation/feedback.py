"""What clinicians changed of our contours: sent to the service, and read from there.

The service compares and keeps them, as it does what is corrected in its page; there is
no second history.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from hanseg_lab.evaluation.case_folders import find_case_masks
from hanseg_lab.evaluation.label_table import OUR_NUMBERS
from hanseg_shared.client import Client
from hanseg_shared.csv_cells import safe_row
from hanseg_shared.documents import JobDocument
from hanseg_shared.errors import InputError
from hanseg_shared.faults import first_fault
from hanseg_shared.organs import ORGANS
from hanseg_shared.result_files import RECORD
from hanseg_shared.review.documents import Correction

MOST_CORRECTIONS = 5000
"""As many as the service tells at a time."""

COLUMNS = tuple(Correction.model_fields)


def find_job(job: str) -> str:
    """Return a job's id, which is given, or is that of a folder with its results.

    Raises:
        InputError: It is neither.
    """
    if re.fullmatch("[0-9a-f]{32}", job):
        return job
    record = Path(job) / RECORD
    if not record.is_file():
        raise InputError(
            f"{job} is no job's id, which is 32 hexadecimal digits, and no folder with "
            f"a job's results: {RECORD} is not there"
        )
    try:
        return JobDocument.model_validate_json(record.read_bytes()).id
    except ValidationError as error:
        raise InputError(
            f"{record}: no job's document: {first_fault(error)}"
        ) from error


def send_corrected(
    client: Client,
    job_id: str,
    corrected: Path,
    *,
    on_sent: Callable[[Path], None] = lambda _: None,
) -> None:
    """Send what a clinician corrected to the review of a job.

    Args:
        client: Of the service that has the job's results.
        job_id: The job.
        corrected: An RTSTRUCT, a DICOM segmentation, a label map, or a folder with one
            of these or with a mask an organ.
        on_sent: Called with each file that was taken.

    Raises:
        InputError: The masks cannot be used.
        JobStateError: The results are gone, or their review is signed.
    """
    for path, organ in _list_files(corrected):
        client.send_correction(job_id, path, organ=organ)
        on_sent(path)


def read_corrections(client: Client, *, model: str | None = None) -> list[Correction]:
    """Return the corrections that the service knows, the oldest first."""
    found = client.corrections(limit=MOST_CORRECTIONS, model=model)
    return sorted(found, key=lambda each: (each.judged_at, each.job))


def write_corrections(found: Iterable[Correction], path: Path) -> None:
    """Write corrections as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in found:
            row = each.model_dump(mode="json")
            told = ("" if row[name] is None else row[name] for name in COLUMNS)
            writer.writerow(safe_row(list(told)))


def _list_files(corrected: Path) -> list[tuple[Path, str | None]]:
    """Return the files to be sent, each with the organ whose mask it is."""
    if corrected.is_file():
        return [(corrected, None)]
    sources = find_case_masks(corrected, OUR_NUMBERS)  # it was made from ours
    if len(sources) > 1:
        raise InputError(
            f"{corrected}: one case's masks are needed, but there are {len(sources)}"
        )
    source = sources[0]
    if not source.organ_files:
        return [(source.first_file, None)]
    known = [
        (path, each.name)
        for each in ORGANS
        if (path := source.organ_files.get(each.name)) is not None
    ]
    if not known:
        raise InputError(f"{corrected}: no file has the name of one of the 30 organs")
    return list(known)
