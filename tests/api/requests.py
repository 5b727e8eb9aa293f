"""Requests that many tests send."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from hanseg_shared.jobs.services import Services
from tests.api.fakes import CT

PROBLEM = "application/problem+json"

ENDLESS = "/v1/worklist/events"
"""A stream that goes on until the caller goes or the service stops."""


@contextmanager
def ending(app: FastAPI, path: str) -> Iterator[None]:
    """Have the service stop while an endless stream is asked for.

    A `TestClient` hands over whole answers: it would wait for the end of the stream.
    """
    stopping: threading.Event = app.state.context.stopping
    if path == ENDLESS:
        stopping.set()
    try:
        yield
    finally:
        stopping.clear()


def submit(
    api: TestClient,
    ct: bytes = CT,
    mr: bytes | None = None,
    *,
    key: str | None = None,
    **request: Any,
) -> Response:
    """Send a case as a form."""
    files = {"ct": ("patient_1.nii.gz", ct)}
    if mr is not None:
        files["mr"] = ("patient_1_t1.nii.gz", mr)
    return api.post(
        "/v1/jobs",
        files=files,
        data={"request": json.dumps(request)} if request else None,
        headers={"Idempotency-Key": key} if key else None,
    )


def new_job(api: TestClient, **request: Any) -> str:
    """Send a case and return the job's id."""
    answer = submit(api, **request)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def announce(api: TestClient, content: bytes) -> Response:
    """Announce an upload."""
    sha256 = hashlib.sha256(content).hexdigest()
    return api.post("/v1/uploads", json={"bytes": len(content), "sha256": sha256})


def upload(api: TestClient, content: bytes) -> str:
    """Announce and send an upload; returns its id."""
    upload_id = str(announce(api, content).json()["id"])
    answer = api.put(f"/v1/uploads/{upload_id}/content", content=content)
    assert answer.status_code == 204, answer.text
    return upload_id


def assert_problem(answer: Response, status: int, slug: str, *says: str) -> None:
    """Hold that an answer is the problem it should be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["type"] == f"urn:hanseg:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    for phrase in says:
        assert phrase in problem["detail"]


def leftovers(services: Services) -> list[str]:
    """Return what a refused request should not have left: rows, payloads, files."""
    scratch = services.settings.scratch
    files = [path.name for path in scratch.rglob("*")] if scratch.exists() else []
    rows = [job.id for job in services.tables.jobs.list_page(limit=10).jobs]
    return files + rows + services.store.owners()


def new_webhook(api: TestClient) -> str:
    """Make a webhook and return its id."""
    made = api.post("/v1/webhooks", json={"url": "https://example.org/hanseg"})
    return str(made.json()["id"])
