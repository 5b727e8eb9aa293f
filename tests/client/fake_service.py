"""A service in memory, behind the same HTTP as the real one, for the client's tests."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx

from hanseg_shared.documents import (
    InputSummary,
    JobDocument,
    JobOptions,
    JobState,
    Problem,
)
from hanseg_shared.problems import INTERNAL
from hanseg_shared.review.documents import ReviewDocument

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeService:
    """Answers as the API does; each look at a job moves it one state on."""

    road: tuple[JobState, ...] = (
        JobState.QUEUED,
        JobState.REGISTERING,
        JobState.SEGMENTING,
        JobState.SUCCEEDED,
    )
    jobs: dict[str, JobDocument] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    refusal: Problem | None = None
    damage: bool = False
    most_in_flight: int = 0
    reviews: dict[str, ReviewDocument] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    sent: dict[str, bytes] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[httpx.Response | Exception] = field(default_factory=list)
    troubled: set[str] = field(default_factory=set)
    """Cases at which the service meets a fault of its own."""
    asked: list[httpx.Request] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, by the next of `failures` if there is one."""
        self.asked.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        path = request.url.path
        if path == "/readyz":
            return httpx.Response(200, json={"ready": True, "checks": []})
        if path == "/livez":
            return httpx.Response(200, json={"status": "alive"})
        if path.startswith("/v1/templates"):
            return self._answer_template(request, path.rsplit("/", 1)[-1])
        if request.method == "POST" and path == "/v1/jobs":
            return self._create(request)
        if path == "/v1/jobs":
            return self._list(request)
        found = re.fullmatch(r"/v1/jobs/(\w+)(?:/([\w.]+))?(?:/(.+))?", unquote(path))
        assert found, path
        job_id, part, name = found.groups()
        if job_id not in self.jobs:
            return _problem(404, f"there is no job {job_id}")
        if self.jobs[job_id].case in self.troubled:
            return _problem(500, "an unforeseen fault")
        return self._about(job_id, part, name)

    def _answer_template(self, request: httpx.Request, name: str) -> httpx.Response:
        if name == "templates":
            row = {"version": 1, "structures": 1, "label": "l", "description": ""}
            return httpx.Response(200, json={"templates": [{"name": "clinic"} | row]})
        if request.method == "PUT":
            self.templates[name] = json.loads(request.read())
        if name not in self.templates:
            return _problem(404, f"there is no template {name}")
        return httpx.Response(200, json=self.templates[name])

    def _list(self, request: httpx.Request) -> httpx.Response:
        """Answer pages of at most two jobs, newest first."""
        asked = request.url.params
        found = [
            job
            for job in reversed(self.jobs.values())
            if asked.get("case") in {None, job.case}
            and (not asked.get_list("state") or job.state in asked.get_list("state"))
        ]
        start = int(asked.get("cursor", "0"))
        stop = start + min(2, int(asked["limit"]))
        more = f"/v1/jobs?{asked.set('cursor', str(stop))}" if found[stop:] else None
        page = [job.model_dump(mode="json") for job in found[start:stop]]
        return httpx.Response(200, json={"jobs": page, "next": more})

    def _about(self, job_id: str, part: str | None, name: str | None):
        if part is None:
            return _document(self._step(job_id))
        if part == "cancel":
            self.cancelled.append(job_id)
            return _document(self.jobs[job_id], 202)
        if part == "retry":
            if self.jobs[job_id].state is not JobState.FAILED:
                return _problem(409, f"job {job_id} is {self.jobs[job_id].state}")
            again = self.jobs[job_id].model_copy(
                update={"id": "f" * 32, "state": JobState.QUEUED, "error": None}
            )
            self.jobs[again.id] = again
            return _document(again, 202)
        if part == "events":
            return httpx.Response(200, text=self._events(job_id))
        if part == "review":
            return httpx.Response(200, text=self.reviews[job_id].model_dump_json())
        if part == "results.zip":
            return httpx.Response(200, content=self._archive(job_id))
        if name is None:
            signed = self.reviews.get(job_id)
            handed_on = [f.model_dump() for f in signed.files] if signed else []
            return httpx.Response(200, json={"files": [self._file(job_id), *handed_on]})
        content = self._record(job_id)
        return httpx.Response(200, content=b"?" + content if self.damage else content)

    def _create(self, request: httpx.Request) -> httpx.Response:
        if self.refusal is not None:
            return httpx.Response(
                self.refusal.status, json=self.refusal.model_dump(mode="json")
            )
        body = request.read()
        key = request.headers.get("Idempotency-Key")
        if key in self.keys:
            return _document(self.jobs[self.keys[key]], 202)
        sent = self.sent = _form(body)
        if json.loads(sent["request"]).get("case") in self.troubled:
            return _problem(500, "an unforeseen fault")
        job_id = f"job{len(self.jobs)}"
        job = JobDocument(
            id=job_id,
            state=self.road[0],
            case=json.loads(sent["request"]).get("case"),
            options=JobOptions.model_validate(json.loads(sent["request"])["options"]),
            created_at=NOW,
            inputs=tuple(
                InputSummary(
                    role=role,
                    **_kept(sent[role]),
                    size=(1, 1, 1),
                    spacing_mm=(1.0, 1.0, 1.0),
                )
                for role in ("ct", "mr")
                if role in sent
            ),
        )
        self.jobs[job_id] = job
        self.steps[job_id] = 0
        if key:
            self.keys[key] = job_id
        unfinished = sum(not job.state.is_final for job in self.jobs.values())
        self.most_in_flight = max(self.most_in_flight, unfinished)
        return _document(job, 202)

    def _step(self, job_id: str) -> JobDocument:
        position = min(self.steps[job_id] + 1, len(self.road) - 1)
        self.steps[job_id] = position
        state = self.road[position]
        error = INTERNAL.problem("it broke") if state is JobState.FAILED else None
        self.jobs[job_id] = self.jobs[job_id].model_copy(
            update={"state": state, "error": error}
        )
        return self.jobs[job_id]

    def _events(self, job_id: str) -> str:
        lines = []
        while not self.jobs[job_id].state.is_final:
            lines.append(f"event: job\ndata: {self._step(job_id).model_dump_json()}\n")
        return "\n".join(lines) + "\n"

    def _archive(self, job_id: str) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            content = self._record(job_id)
            archive.writestr("job.json", b"?" + content if self.damage else content)
        return packed.getvalue()

    def _record(self, job_id: str) -> bytes:
        return self.jobs[job_id].model_dump_json().encode()

    def _file(self, job_id: str) -> dict[str, object]:
        content = self._record(job_id)
        return {
            "name": "job.json",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "media_type": "application/json",
            "href": "somewhere",
        }


def _kept(sent: bytes) -> dict[str, Any]:
    """Return what is said of a part; DICOM is kept as something else."""
    sha256 = hashlib.sha256(sent).hexdigest()
    if not sent.startswith(b"PK"):
        return {"sha256": sha256, "bytes": len(sent), "format": "nifti"}
    return {"sha256": "0" * 64, "bytes": 7, "format": "dicom", "sent_sha256": sha256}


def _document(job: JobDocument, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=job.model_dump_json())


def _problem(status: int, detail: str) -> httpx.Response:
    body = {"type": "urn:x", "title": "t", "status": status, "detail": detail}
    return httpx.Response(status, json=body)


def _form(body: bytes) -> dict[str, bytes]:
    boundary = body.split(b"\r\n", 1)[0]
    parts: dict[str, bytes] = {}
    for part in body.split(boundary)[1:-1]:
        head, content = part.split(b"\r\n\r\n", 1)
        name = re.search(rb'name="(\w+)"', head)
        assert name
        parts[name.group(1).decode()] = content[:-2]
    return parts
