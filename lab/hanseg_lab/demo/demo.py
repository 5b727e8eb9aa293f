"""The demonstration: what a new user sees first, and all of it real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813
from rich.console import Console

from hanseg_lab.demo.samples import (
    RIRE_CT_POINTS,
    RIRE_MR_POINTS,
    Samples,
    fetch_samples,
)
from hanseg_lab.evaluation.landmarks import (
    LandmarkError,
    brain_points,
    landmark_error,
)
from hanseg_shared.client.client import Client
from hanseg_shared.client.console import make_reporter
from hanseg_shared.client.request import JobRequest
from hanseg_shared.client.segment import segment_case
from hanseg_shared.client.session import open_client
from hanseg_shared.client.tables import print_organs
from hanseg_shared.documents import JobDocument
from hanseg_shared.io import read_ct
from hanseg_shared.result_files import PREVIEW, TRANSFORM
from hanseg_shared.terminal import print_event, tell


@dataclass(frozen=True, slots=True)
class DemoCase:
    """One patient of the demonstration and where the results go."""

    title: str
    request: JobRequest
    out: Path


def run_demo(out: Path, *, as_json: bool = False) -> None:
    """Run both cases through the embedded stack and print the results."""

    def say(line: str) -> None:
        tell("message", line, as_json=as_json)

    say("fetching the sample images by pip (kept for the next time) …")
    cases = demo_cases(fetch_samples(), out)
    with open_client(None, announce=say) as client:
        done = [(case, _do(client, case, as_json=as_json)) for case in cases]
    for case, job in done:
        if as_json:
            print_event("result", **_figures(case), job=job.model_dump(mode="json"))
        else:
            _report(case, job)


def demo_cases(samples: Samples, out: Path) -> list[DemoCase]:
    """Return the patient with CT and MR, and the one with a CT alone."""
    return [
        DemoCase(
            "RIRE 001: a head, CT and T1 MR, not registered",
            JobRequest(samples.rire_ct, samples.rire_t1, case="rire_001"),
            out / "rire_001",
        ),
        DemoCase(
            "A head and neck, CT alone",
            JobRequest(samples.head_ct, case="head"),
            out / "head",
        ),
    ]


def registration_error(ct: Path, results: Path) -> LandmarkError:
    """Return how far the transform in `results` is from RIRE's bone markers, in mm."""
    return landmark_error(
        sitk.ReadTransform(str(results / TRANSFORM)),
        ct_points=RIRE_CT_POINTS,
        mr_points=RIRE_MR_POINTS,
        region=brain_points(read_ct(ct)),
    )


def _do(client: Client, case: DemoCase, *, as_json: bool) -> JobDocument:
    with make_reporter(case.request.case or "", as_json=as_json) as reporter:
        return segment_case(client, case.request, case.out, reporter)


def _figures(case: DemoCase) -> dict[str, object]:
    """Return what is reported of a case besides its job."""
    figures: dict[str, object] = {"title": case.title, "out": str(case.out)}
    if case.request.mr is not None:
        error = registration_error(case.request.ct, case.out)
        figures |= {"mean_error_mm": error.mean_mm, "max_error_mm": error.max_mm}
    return figures


def _report(case: DemoCase, job: JobDocument) -> None:
    console = Console()
    console.rule(case.title)
    print_organs(job, console=console)
    if case.request.mr is not None:
        error = registration_error(case.request.ct, case.out)
        console.print(
            f"registration error against the bone markers: {error.mean_mm:.2f} mm "
            f"mean over the brain, {error.max_mm:.2f} mm at most",
            highlight=False,
        )
    console.print(f"picture: {case.out / PREVIEW}", highlight=False, markup=False)
