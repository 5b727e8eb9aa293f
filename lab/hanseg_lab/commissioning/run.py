"""A commissioning: cases and phantoms through the service, judged, written, signed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hanseg_lab.commissioning.cases import draw_worst, pair_cases
from hanseg_lab.commissioning.figures import describe_failures, judge_organs
from hanseg_lab.commissioning.limits import Limits
from hanseg_lab.commissioning.pdf import write_pdf
from hanseg_lab.commissioning.phantoms import PHANTOM_NAME, Phantom
from hanseg_lab.commissioning.report import Picture, sheet_page
from hanseg_lab.evaluation.empty import EmptyRule
from hanseg_lab.evaluation.label_table import LabelTable
from hanseg_lab.evaluation.output import all_or_nothing
from hanseg_lab.evaluation.score_cases import CaseScores, Scoring, score_cases
from hanseg_lab.evaluation.scores import Score, write_scores
from hanseg_lab.evaluation.structures import in_label_order, organs_in
from hanseg_shared.documents import JobDocument, MrVerdict
from hanseg_shared.errors import InputError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.cases import CaseFiles
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.result_files import CHECKERBOARD
from hanseg_shared.signing.manifest import ManifestFile, Signature, sign
from hanseg_shared.signing.sheet import (
    SHEET,
    SHEET_SIGNATURE,
    CommissioningSheet,
    PhantomSheet,
    SheetOrigin,
    SignedSheet,
)

CASES, PHANTOMS, SHEET_FOLDER = "cases", "phantoms", "sheet"
"""Sub-folders of the output folder: results of both, and what is handed on."""

PDF, PAGE, SCORES = "commissioning.pdf", "commissioning.html", "scores.csv"

LONGEST = 700
"""Letters of a remark on the sheet."""


@dataclass(frozen=True, slots=True)
class Commissioning:
    """What was contoured and what it is judged by.

    Attributes:
        folder: The department's cases with their references.
        out: The output folder.
        cases: What was found in it.
        jobs: The jobs of cases and phantoms, by case.
        limits: The site's.
        signed_by: Who answers for it.
        labels: What numbers of label maps stand for, where nothing else says it.
        phantom: None where the registration is not tested.
        workers: Cases scored at a time; None for as many as the machine can.
    """

    folder: Path
    out: Path
    cases: Sequence[CaseFiles]
    jobs: Mapping[str, JobDocument]
    limits: Limits
    signed_by: str | None = None
    labels: LabelTable | None = None
    phantom: Phantom | None = None
    workers: int | None = None

    def write(self, key: Ed25519PrivateKey) -> SignedSheet:
        """Score everything, write the sheet, and return it with its signature.

        Raises:
            InputError: References cannot be scored, or results are of several models.
        """
        made_of = origin_of(self.jobs, self.limits)
        pairs = pair_cases(self.out / CASES, self.folder, self.cases, self.labels)
        tolerances = default_tolerances()
        scored = score_cases(
            pairs,
            Scoring(EmptyRule.CHALLENGE, tolerances),
            workers=self.workers,
        )
        unknown = self._not_in_model()
        scores = [
            score
            for case in scored
            for score in case.scores
            if not set(organs_in(score.organ)) <= unknown
        ]
        organs = judge_organs(scores, self.limits, tolerances)
        phantoms = self._judge_phantoms()
        failures = describe_failures(
            organs, phantoms, cases=len(self.cases), limits=self.limits
        )
        sheet = CommissioningSheet(
            made_at=datetime.now(UTC).replace(microsecond=0),
            signed_by=self.signed_by,
            passed=not failures,
            failures=failures,
            remarks=self._remarks(scored, scores, unknown),
            cases=len(self.cases),
            cases_with_mr=self._with_mr(),
            organs=organs,
            phantoms=phantoms,
            registration_limit_mm=self.limits.target_error_mm,
            made_of=made_of,
        )
        pictures = [*draw_worst(scores, pairs, self.cases), *self._draw_phantom(sheet)]
        return write_sheet(self.out / SHEET_FOLDER, sheet, scores, pictures, key)

    def _not_in_model(self) -> set[str]:
        """Return the organs that the model does not contour."""
        lacking = OrganStatus.NOT_IN_MODEL
        return {
            organ.name
            for case in self.cases
            for organ in self.jobs[case.name].organs
            if organ.status is lacking
        }

    def _with_mr(self) -> int:
        verdicts = (self.jobs[case.name].mr_verdict for case in self.cases)
        return sum(verdict is MrVerdict.USED for verdict in verdicts)

    def _judge_phantoms(self) -> tuple[PhantomSheet, ...]:
        if self.phantom is None:
            return ()
        return tuple(
            self.phantom.judge(
                name.removeprefix(PHANTOM_NAME),
                job,
                self.out / PHANTOMS / name,
                limit_mm=self.limits.target_error_mm,
            )
            for name, job in self._phantom_jobs()
        )

    def _phantom_jobs(self) -> list[tuple[str, JobDocument]]:
        own = {case.name for case in self.cases}
        return [(name, job) for name, job in self.jobs.items() if name not in own]

    def _draw_phantom(self, sheet: CommissioningSheet) -> list[Picture]:
        """Return the checkerboard of the phantom whose registration is worst."""
        found = [each for each in sheet.phantoms if each.mean_mm is not None]
        if not found:
            return []
        worst = max(found, key=lambda each: each.mean_mm or 0.0)
        path = self.out / PHANTOMS / f"{PHANTOM_NAME}{worst.position}" / CHECKERBOARD
        title = (
            f"Phantom, CT stored as {worst.position}: {worst.mean_mm:.2f} mm off in "
            "the mean, the largest of all positions"
        )
        shown = f"{PHANTOM_NAME}{worst.position}"
        return [Picture(title, path.read_bytes(), shown)] if path.is_file() else []

    def _remarks(
        self, scored: Sequence[CaseScores], scores: Sequence[Score], unknown: set[str]
    ) -> tuple[str, ...]:
        judged = {n for score in scores for n in organs_in(score.organ)}
        without = [
            organ.name
            for organ in ORGANS
            if organ.name not in judged and organ.name not in unknown
        ]
        mr_cases = sum(case.mr is not None for case in self.cases)
        lines = [
            f"Not judged, for want of a reference: {', '.join(without)}."
            if without
            else "",
            f"Not contoured by this model: {', '.join(in_label_order(unknown))}."
            if unknown
            else "",
            "" if self.phantom else "The registration was not tested on phantoms.",
            f"The MR was used in {self._with_mr()} of {mr_cases} cases that have one."
            if mr_cases
            else "",
        ]
        read = {remark for case in scored for remark in case.remarks}
        kept = [line for line in (*lines, *sorted(read)[:20]) if line]
        return tuple(line[:LONGEST] for line in kept)


def origin_of(jobs: Mapping[str, JobDocument], limits: Limits) -> SheetOrigin:
    """Return what made all results.

    Raises:
        InputError: They were made by more than one model, version or parameter set.
    """
    first = next(iter(jobs.values()))
    _require_one(jobs, "models", lambda job: job.model)
    if first.model is None:
        raise InputError(f"job {first.id} does not say which model contoured it")
    _require_one(
        jobs, "versions of the software", lambda job: sorted(job.versions.items())
    )
    registered = {
        name: job
        for name, job in jobs.items()
        if job.registration and job.registration.parameters_sha256
    }
    _require_one(registered, "registration parameters", _parameters_of)
    parameters = next(map(_parameters_of, registered.values()), None)
    images = hashlib.sha256()
    for name, job in sorted(jobs.items()):
        for image in job.inputs:
            images.update(f"{name} {image.role} {image.sha256}\n".encode())
    versions = dict(first.versions) | {"hanseg-lab": version("hanseg-lab")}
    return SheetOrigin(
        model=first.model,
        registration_parameters_sha256=parameters,
        limits_sha256=limits.sha256,
        images_sha256=images.hexdigest(),
        versions=versions,
    )


def _parameters_of(job: JobDocument) -> str | None:
    return job.registration.parameters_sha256 if job.registration else None


def _require_one(
    jobs: Mapping[str, JobDocument], what: str, read: Callable[[JobDocument], object]
) -> None:
    """Raise unless something is the same in all jobs."""
    found: dict[str, list[str]] = {}
    for name, job in jobs.items():
        found.setdefault(repr(read(job)), []).append(name)
    if len(found) > 1:
        fewest = min(found.values(), key=len)
        raise InputError(
            f"the results are of several {what}: {', '.join(fewest[:8])} differ from "
            "the others; delete their folders of results and start the command again"
        )


def write_sheet(
    folder: Path,
    sheet: CommissioningSheet,
    scores: Sequence[Score],
    pictures: Sequence[Picture],
    key: Ed25519PrivateKey,
) -> SignedSheet:
    """Write PDF, page, scores and pictures, then the sheet that names them, signed."""
    with all_or_nothing(folder) as draft:
        write_scores(scores, draft / SCORES)
        write_pdf(draft / PDF, sheet, pictures)
        (draft / PAGE).write_text(sheet_page(sheet, pictures), encoding="utf-8")
        names = [PAGE, PDF, SCORES, *_write_pictures(draft, pictures)]
        files = tuple(_describe(draft / name) for name in names)
        complete = sheet.model_copy(update={"files": files})
        signature = sign(complete.canonical(), key)
        _write_signed(draft, complete, signature)
    return SignedSheet(sheet=complete, signature=signature)


def _write_pictures(folder: Path, pictures: Sequence[Picture]) -> list[str]:
    """Write each picture as a file of its own, the worst first; return their names."""
    names = []
    for number, picture in enumerate(pictures, start=1):
        shown = re.sub(r"[^A-Za-z0-9_]+", "_", picture.shown)
        names.append(f"worst_{number}_{shown}.png")
        (folder / names[-1]).write_bytes(picture.png)
    return names


def _describe(path: Path) -> ManifestFile:
    return ManifestFile(
        name=path.name, sha256=file_sha256(path), bytes=path.stat().st_size
    )


def _write_signed(
    folder: Path, sheet: CommissioningSheet, signature: Signature
) -> None:
    (folder / SHEET).write_bytes(sheet.canonical())
    (folder / SHEET_SIGNATURE).write_text(signature.model_dump_json() + "\n")
