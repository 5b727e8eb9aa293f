"""Sheets of commissionings: kept as they were signed, and held to what runs now."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hanseg_segmentation.api.http.body import LARGEST_SHEET_FILE_BYTES
from hanseg_shared.documents import ModelSummary
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.manifest import ManifestFile, sign
from hanseg_shared.signing.sheet import CommissioningSheet, SheetOrigin
from tests.api.requests import assert_problem

PATH = "/v1/commissioning"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def sheet(*, day: int = 1, software: str = "", **model: str) -> CommissioningSheet:
    return CommissioningSheet(
        made_at=datetime(2026, 1, day, tzinfo=UTC),
        signed_by="Dr. M. Example",
        passed=True,
        cases=12,
        organs=(),
        registration_limit_mm=2.0,
        made_of=SheetOrigin(
            model=ModelSummary(
                **{"name": "none", "version": "1", "sha256": "a" * 64} | model
            ),
            limits_sha256="b" * 64,
            images_sha256="c" * 64,
            versions={
                "hanseg-segmentation": software or version("hanseg-segmentation")
            },
        ),
    )


def signed(each: CommissioningSheet) -> dict[str, Any]:
    signature = sign(each.canonical(), KEY)
    return {
        "sheet": each.model_dump(mode="json"),
        "signature": signature.model_dump(mode="json"),
    }


def running(api) -> dict[str, str]:
    """Return the model that the service has."""
    found = api.get("/v1/models").json()["models"][0]
    return {name: found[name] for name in ("name", "version", "sha256")}


def test_there_are_none_at_first(api):
    assert api.get(PATH).json() == {"sheets": []}


def test_what_is_registered_is_listed_newest_first(api):
    for day in (1, 2):
        answer = api.post(PATH, json=signed(sheet(day=day)))
        assert answer.status_code == 201, answer.text
    listed = api.get(PATH).json()["sheets"]
    assert [each["sheet"]["made_at"][:10] for each in listed] == [
        "2026-01-02",
        "2026-01-01",
    ]
    assert listed[0]["key_id"] == PublicKey.of(KEY).id
    (newest,) = api.get(f"{PATH}?limit=1").json()["sheets"]
    assert newest == listed[0]


def test_the_same_sheet_again_changes_nothing(api):
    first = api.post(PATH, json=signed(sheet())).json()
    assert api.post(PATH, json=signed(sheet())).json() == first
    assert len(api.get(PATH).json()["sheets"]) == 1


def test_a_sheet_that_was_changed_is_refused(api):
    sent = signed(sheet())
    sent["sheet"]["cases"] = 100
    assert_problem(api.post(PATH, json=sent), 422, "invalid-request", "signature")
    assert api.get(PATH).json() == {"sheets": []}


def test_other_software_and_a_missing_model_are_differences(api):
    api.post(PATH, json=signed(sheet(software="0.0.1")))
    (found,) = api.get(PATH).json()["sheets"]
    assert found["matches"] is False
    software, model = found["differences"]
    assert "0.0.1 was commissioned" in software
    assert "none, which was commissioned, is not there" in model


def test_the_model_that_runs_matches_until_its_weights_are_others(api):
    model: Any = running(api)
    answer = api.post(PATH, json=signed(sheet(**model)))
    assert answer.json()["matches"] is True, answer.text
    other = sheet(day=2, **model | {"sha256": "d" * 64})
    differences = api.post(PATH, json=signed(other)).json()["differences"]
    assert len(differences) == 1
    assert "with other weights" in differences[0]


PDF = b"%PDF-1.7 a sheet"
NAMED = ManifestFile(
    name="commissioning.pdf", sha256=hashlib.sha256(PDF).hexdigest(), bytes=len(PDF)
)


def registered(api, **changes: Any) -> str:
    """Register a sheet that names a PDF, and return where the PDF belongs."""
    kept = sheet().model_copy(update={"files": (NAMED,), **changes})
    answer = api.post(PATH, json=signed(kept))
    assert answer.json()["files"] == []
    return f"{PATH}/{answer.json()['sha256']}/files/{NAMED.name}"


def test_a_file_that_the_sheet_names_is_kept_beside_it(api):
    path = registered(api)
    assert_problem(api.get(path), 404, "not-found", "no such file is kept")
    for _ in range(2):  # again changes nothing
        assert api.put(path, content=PDF).status_code == 204
    (found,) = api.get(PATH).json()["sheets"][0]["files"]
    assert (found["href"], found["media_type"]) == (path, "application/pdf")
    answer = api.get(path)
    assert answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_another_file_than_was_signed_is_refused(api):
    path = registered(api)
    refused = api.put(path, content=PDF + b" and more")
    assert_problem(refused, 422, "invalid-request", "not the commissioning.pdf")
    assert_problem(api.get(path), 404, "not-found")


def test_a_file_that_no_sheet_names_is_refused(api):
    other = registered(api).replace(NAMED.name, "other.pdf")
    assert_problem(api.put(other, content=PDF), 404, "not-found", "names no such file")
    unknown = f"{PATH}/{'0' * 64}/files/{NAMED.name}"
    assert_problem(api.put(unknown, content=PDF), 404, "not-found", "register")


def test_a_file_of_another_kind_is_none_that_is_kept(api):
    script = NAMED.model_copy(update={"name": "sheet.js"})
    path = registered(api, files=(script,)).replace(NAMED.name, script.name)
    assert_problem(api.put(path, content=PDF), 404, "not-found", "names no such file")


def test_a_file_beyond_the_limit_is_refused_unread(api):
    size = str(LARGEST_SHEET_FILE_BYTES + 1)
    answer = api.put(registered(api), content=b"", headers={"Content-Length": size})
    assert_problem(answer, 413, "too-large")
