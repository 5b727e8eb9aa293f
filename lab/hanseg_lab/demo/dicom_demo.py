"""The demonstration by DICOM: patients sent to an Orthanc, contours found in it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hanseg_lab.demo.dicom_patient import DicomPatient, write_ct, write_mr
from hanseg_lab.demo.orthanc_server import (
    USER,
    OrthancServer,
    require_programs,
    running_orthanc,
)
from hanseg_lab.demo.samples import Samples, fetch_samples
from hanseg_shared.client.client import Client
from hanseg_shared.client.session import open_client
from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.errors import JobError, ServiceUnavailableError
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.result_files import REG, RTSTRUCT
from hanseg_shared.stack.children import Child
from hanseg_shared.terminal import print_event, print_table, tell

MR_WAIT_SECONDS = 10
"""How long the bridge lets a CT wait for an MR; both are sent at once here."""

PATIENCE_SECONDS = 1800.0
STORE_SECONDS = 60.0
"""Longest time from the last job's success until Orthanc has the results."""

LOOK_SECONDS = 1.0

BRIDGE = (sys.executable, "-c", "from hanseg_shared.cli import main; main()")


@dataclass(frozen=True, slots=True)
class DicomDemoCase:
    """One patient of the demonstration.

    Attributes:
        title: For people.
        name: Of the folders, and the patient's number.
        ct: The CT's file.
        mr: The MR's, if there is one.
    """

    title: str
    name: str
    ct: Path
    mr: Path | None = None

    @property
    def wanted(self) -> dict[str, str]:
        """The results' files by modality."""
        registration = {"REG": REG} if self.mr is not None else {}
        return {"RTSTRUCT": RTSTRUCT} | registration


@dataclass(frozen=True, slots=True)
class Found:
    """One object that was found in Orthanc."""

    case: DicomDemoCase
    modality: str
    description: str
    detail: str
    path: Path


def run_dicom_demo(out: Path, *, as_json: bool = False) -> None:
    """Send the patients by DICOM, wait, and print what is found in Orthanc.

    Raises:
        ServiceUnavailableError: A program is missing, or a process does not work.
        JobError: A job failed.
    """

    def say(line: str) -> None:
        tell("message", line, as_json=as_json)

    require_programs()
    say("fetching the sample images by pip (kept for the next time) …")
    cases = dicom_cases(fetch_samples())
    with tempfile.TemporaryDirectory(prefix="hanseg-demo-dicom-") as temporary:
        folder = Path(temporary)
        say("writing them as DICOM series …")
        for case in cases:
            write_patient(case, folder / "images" / case.name)
        with (
            running_orthanc(folder / "orthanc") as orthanc,
            open_client(None, announce=say) as client,
            _running_bridge(folder / "bridge", orthanc, client) as bridge,
        ):
            say(f"Orthanc at {orthanc.url} takes DICOM on port {orthanc.dicom}")
            say("storescu: sending to Orthanc; nobody touches anything from here …")
            orthanc.send(folder / "images")
            _wait(cases, orthanc, client, bridge, say)
            found = [each for case in cases for each in _collect(case, orthanc, out)]
    _report(found, out, as_json=as_json)


def dicom_cases(samples: Samples) -> list[DicomDemoCase]:
    """Return the patient with CT and MR, and the one with a CT alone."""
    return [
        DicomDemoCase(
            "a head, CT and T1 MR", "rire_001", samples.rire_ct, samples.rire_t1
        ),
        DicomDemoCase("a head and neck, CT alone", "head", samples.head_ct),
    ]


def write_patient(case: DicomDemoCase, folder: Path) -> None:
    """Write a patient's images as DICOM series."""
    patient = DicomPatient(f"Demonstration^{case.name}", case.name)
    write_ct(read_ct(case.ct), folder / "ct", patient)
    if case.mr is not None:
        write_mr(read_mr(case.mr), folder / "mr", patient)


@contextmanager
def _running_bridge(
    folder: Path, orthanc: OrthancServer, client: Client
) -> Iterator[Child]:
    """Run `hanseg bridge run` for the time of a block, once it follows Orthanc."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("HANSEG_")}
    own = {
        "HANSEG_URL": client.url,
        "HANSEG_BRIDGE_ORTHANC_URL": orthanc.url,
        "HANSEG_BRIDGE_ORTHANC_USER": USER,
        "HANSEG_BRIDGE_ORTHANC_PASSWORD": orthanc.password,
        "HANSEG_BRIDGE_DATA": str(folder),
        "HANSEG_BRIDGE_MR_WAIT_SECONDS": str(MR_WAIT_SECONDS),
        "HANSEG_BRIDGE_POLL_SECONDS": "1",
        "HANSEG_BRIDGE_BACKLOG": "true",
    }
    command = [*BRIDGE, "bridge", "run"]
    child = Child("bridge", command, others | own, folder.with_suffix(".log"))
    child.start()
    try:
        yield child
    finally:
        child.terminate()
        child.wait(time.monotonic() + 30.0)


def _wait(
    cases: list[DicomDemoCase],
    orthanc: OrthancServer,
    client: Client,
    bridge: Child,
    say: Callable[[str], None],
) -> None:
    """Return when Orthanc has every patient's structure set.

    Raises:
        JobError: A job failed.
        ServiceUnavailableError: The bridge ended, or it takes too long.
    """
    shown, started = "", time.monotonic()
    deadline = started + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if all(orthanc.find(case.name, "RTSTRUCT") for case in cases):
            return
        death = bridge.revive()
        if death is not None:
            raise ServiceUnavailableError(f"the bridge: {death}")
        jobs = _our_jobs(client, len(cases))
        _require_none_failed(jobs)
        line = ", ".join(str(job.state) for job in jobs)
        done = len(jobs) == len(cases) and all(job.state.is_final for job in jobs)
        deadline = min(deadline, time.monotonic() + STORE_SECONDS) if done else deadline
        if line and line != shown:
            say(f"jobs: {line}")
            shown = line
        time.sleep(LOOK_SECONDS)
    raise ServiceUnavailableError(
        f"no results in Orthanc after {time.monotonic() - started:.0f} s; the bridge's "
        f"last words: {bridge.last_words()}"
    )


def _our_jobs(client: Client, most: int) -> list[JobDocument]:
    """Return the newest jobs that a bridge sent, oldest first."""
    jobs, _ = client.jobs(limit=2 * most)
    ours = [job for job in jobs if (job.case or "").startswith("orthanc-")]
    return ours[:most][::-1]


def _require_none_failed(jobs: list[JobDocument]) -> None:
    for job in jobs:
        if job.state is JobState.FAILED:
            reason = job.error.detail if job.error else "no reason given"
            raise JobError(f"job {job.id} failed: {reason}")


def _collect(case: DicomDemoCase, orthanc: OrthancServer, out: Path) -> list[Found]:
    """Fetch a patient's results from Orthanc into the folder of the demonstration."""
    found = []
    for modality, name in case.wanted.items():
        for instance in orthanc.find(case.name, modality):
            tags = orthanc.get(f"/instances/{instance}/simplified-tags")
            path = out / case.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(orthanc.file(instance))
            description = str(tags.get("SeriesDescription", ""))
            found.append(Found(case, modality, description, _detail(tags), path))
    return found


def _detail(tags: dict[str, Any]) -> str:
    """Return what an object holds, in a few words."""
    structures = tags.get("StructureSetROISequence")
    if structures is not None:
        contours = sum(
            len(each.get("ContourSequence", []))
            for each in tags.get("ROIContourSequence", [])
        )
        return f"{len(structures)} structures, {contours} contours"
    return f"{len(tags.get('RegistrationSequence', []))} frames of reference"


def _report(found: list[Found], out: Path, *, as_json: bool) -> None:
    if as_json:
        for each in found:
            print_event(
                "result",
                patient=each.case.name,
                modality=each.modality,
                description=each.description,
                detail=each.detail,
                out=str(each.path),
            )
        return
    rows = [
        (e.case.title, e.modality, e.detail, str(e.path.relative_to(out)))
        for e in found
    ]
    headings = ("patient", "modality", "holds", "copy")
    print_table(headings, rows, title="found in Orthanc", whole=headings[1:2])
    click.echo(f"copies: {out}")
