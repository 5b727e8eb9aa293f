"""A contouring service in memory, behind the part of its REST API the bridge uses."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO

import httpx
import pydicom

from hanseg_shared.documents import (
    JobDocument,
    JobOptions,
    JobState,
    Problem,
    ReviewState,
)
from hanseg_shared.review.documents import ReviewDocument
from tests.bridge.dicom_files import dicom_file, uid_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)

Results = Callable[[JobDocument, dict[str, bytes]], dict[str, bytes]]


def made_results(job: JobDocument, sent: dict[str, bytes]) -> dict[str, bytes]:
    """Return a structure set, and a registration if there is an MR.

    UIDs are those of the job, so that results fetched twice are the same.
    """
    ct = files_in(sent["ct"])[0]
    kinds = ["RTSTRUCT", "REG"] if "mr" in sent else ["RTSTRUCT"]
    found = {}
    for kind in kinds:
        found[f"{kind.lower()}.dcm"] = of_the_service(kind, job.id, ct)
    return found | {"job.json": b"{}", "masks/Brainstem.nii.gz": b"mask"}


def of_the_service(kind: str, job: str, ct: pydicom.Dataset) -> bytes:
    """Return an object of the service's own, in the study of a CT's patient."""
    file = pydicom.dcmread(
        BytesIO(
            dicom_file(
                kind,
                f"{job} {kind}",
                manufacturer="hanseg",
                frames=(ct.FrameOfReferenceUID, uid_of("another")),
            )
        )
    )
    file.StudyInstanceUID = ct.StudyInstanceUID
    file.PatientID, file.PatientName = ct.PatientID, ct.PatientName
    sink = BytesIO()
    file.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def signed_of(content: bytes) -> bytes:
    """Return an object as it is once somebody has signed it."""
    file = pydicom.dcmread(BytesIO(content))
    file.SOPInstanceUID = uid_of("signed", str(file.SOPInstanceUID))
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.ApprovalStatus = "APPROVED"
    sink = BytesIO()
    file.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def files_in(archive: bytes) -> list[pydicom.Dataset]:
    """Return the DICOM files of an archive in its order."""
    with zipfile.ZipFile(BytesIO(archive)) as found:
        return [
            pydicom.dcmread(BytesIO(found.read(name)), stop_before_pixels=True)
            for name in found.namelist()
        ]


@dataclass
class FakeService:
    """Makes a job of what is sent; each look at a job moves it one state on."""

    road: tuple[JobState, ...] = (
        JobState.QUEUED,
        JobState.REGISTERING,
        JobState.SUCCEEDED,
    )
    results: Results = made_results
    jobs: dict[str, JobDocument] = field(default_factory=dict)
    sent: dict[str, dict[str, bytes]] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    error: Problem | None = None
    refusal: Problem | None = None
    ready: bool = True
    away: bool = False
    retried: list[str] = field(default_factory=list)
    reviews: dict[str, ReviewDocument] | None = None
    """What was said of each job; None where the site asks for no review."""
    _steps: dict[str, int] = field(default_factory=dict)
    _retries: dict[str, str] = field(default_factory=dict)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        path = request.url.path
        if path == "/readyz":
            return httpx.Response(200, json={"ready": self.ready})
        if path == "/v1/jobs":
            if request.method == "POST":
                return self._create(request)
            case = request.url.params["case"]
            found = [job for job in self.jobs.values() if job.case == case]
            listed = [job.model_dump(mode="json") for job in found[:1]]
            return httpx.Response(200, json={"jobs": listed, "next": None})
        match = re.fullmatch(r"/v1/jobs/(\w+)(?:/(\w+))?(?:/(.+))?", path)
        assert match, path
        job, part, name = match.groups()
        if job not in self.jobs:
            return _problem(404, f"there is no job {job}")
        if part is None:
            return _document(self._step(job))
        if part == "retry":
            return self._retry(job)
        if part == "review":
            assert self.reviews is not None
            said = self.reviews.get(job, ReviewDocument(job=job))
            return httpx.Response(200, text=said.model_dump_json())
        return self._result(job, name)

    def _create(self, request: httpx.Request) -> httpx.Response:
        if self.refusal is not None:
            return _problem(self.refusal.status, self.refusal.detail)
        form = _form(request)
        asked = json.loads(form.pop("request"))
        key = request.headers["Idempotency-Key"]
        print_ = hashlib.sha256(repr(sorted(form.items())).encode()).hexdigest()
        known = self.keys.get(key)
        if known is not None:
            if known[0] != print_:
                return _problem(422, "this key was used for a different request")
            return _document(self.jobs[known[1]], 202)
        job = self._add(
            JobOptions.model_validate(asked["options"]), asked["case"], form
        )
        self.keys[key] = print_, job.id
        return _document(job, 202)

    def _add(
        self, options: JobOptions, case: str | None, form: dict[str, bytes]
    ) -> JobDocument:
        job = JobDocument(
            id=f"{len(self.jobs):032x}",
            state=self.road[0],
            case=case,
            options=options,
            created_at=NOW,
        )
        self.jobs[job.id], self.sent[job.id] = job, form
        self._steps[job.id] = 0
        return job

    def _step(self, job: str) -> JobDocument:
        self._steps[job] = min(self._steps[job] + 1, len(self.road) - 1)
        state = self.road[self._steps[job]]
        error = self.error if state is JobState.FAILED else None
        changed = {"state": state, "error": error}
        self.jobs[job] = self.jobs[job].model_copy(update=changed)
        return self.jobs[job]

    def _retry(self, job: str) -> httpx.Response:
        if job not in self._retries:
            self.retried.append(job)
            old = self.jobs[job]
            self._retries[job] = self._add(old.options, old.case, self.sent[job]).id
        return _document(self.jobs[self._retries[job]], 202)

    def _result(self, job: str, name: str | None) -> httpx.Response:
        files = self.results(self.jobs[job], self.sent[job])
        said = (self.reviews or {}).get(job)
        if said is not None and said.state is ReviewState.SIGNED:
            files |= {
                f"reviewed/{each}": signed_of(content)
                for each, content in files.items()
                if each.endswith(".dcm")
            }
        withheld = {
            each
            for each in files
            if self.reviews is not None
            and each.endswith(".dcm")
            and not each.startswith("reviewed/")
        }
        if name in withheld:
            return _problem(409, "it waits for a signed review")
        if name is not None:
            return httpx.Response(200, content=files[name])
        listed = [
            {
                "name": each,
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "media_type": "application/dicom",
                "withheld": "it waits for a review" if each in withheld else None,
            }
            for each, content in files.items()
        ]
        return httpx.Response(200, json={"files": listed})


def _document(job: JobDocument, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=job.model_dump_json())


def _problem(status: int, detail: str) -> httpx.Response:
    body = {"type": "urn:x", "title": "t", "status": status, "detail": detail}
    return httpx.Response(status, json=body)


def _form(request: httpx.Request) -> dict[str, bytes]:
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    parts: dict[str, bytes] = {}
    for part in request.read().split(b"--" + boundary)[1:-1]:
        head, content = part.split(b"\r\n\r\n", 1)
        name = re.search(rb'name="(\w+)"', head)
        assert name
        parts[name.group(1).decode()] = content[:-2]
    return parts
