"""All results of a job as one archive: whole, in ranges, refused, unlisted."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.http.zip_layout import Archive, Entry, lay_out
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.cache import PayloadCache
from hanseg_shared.result_files import MANIFEST, SIGNATURE
from tests.api.conftest import make_app
from tests.api.fakes import FakeWorker
from tests.api.requests import assert_problem, new_job

FILES = {
    "segmentation.nii.gz": bytes(range(256)) * 8,
    "masks/Eye_AL.nii.gz": b"a mask",
    "rtstruct.dcm": b"contours",
    "empty.nii.gz": b"",
    MANIFEST: b"{}",
    SIGNATURE: b"{}",
}
MADE_AT = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)


@pytest.fixture
def job(api, worker) -> str:
    """A job with results, of a case with a name."""
    job_id = new_job(api, case="Trillian")
    worker.succeed(job_id, FILES)
    return job_id


@pytest.fixture
def path(job: str) -> str:
    return f"/v1/jobs/{job}/results.zip"


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_it_has_every_result_by_its_name(api, path):
    answer = api.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert unpacked(answer.content) == FILES


def test_it_is_announced_and_named_without_the_case(api, job, path):
    answer = api.get(path)
    assert answer.headers["content-length"] == str(len(answer.content))
    named = f'attachment; filename="hanseg-{job}.zip"'
    assert answer.headers["content-disposition"] == named
    assert answer.headers["cache-control"] == "private, no-store"
    assert b"Trillian" not in answer.content


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_other_programs_unpack_it(api, path, tmp_path):
    packed = tmp_path / "results.zip"
    packed.write_bytes(api.get(path).content)
    subprocess.run(["unzip", "-q", packed, "-d", tmp_path / "out"], check=True)
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_head_tells_the_same_without_the_bytes(api, path):
    head, whole = api.head(path), api.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize("cut", [0, 1, 40, 100, 2100, 2200, -30])
def test_a_download_that_broke_off_is_taken_up_again(api, path, cut: int):
    whole = api.get(path)
    first = whole.content[:cut]
    headers = {"Range": f"bytes={len(first)}-", "If-Range": whole.headers["etag"]}
    rest = api.get(path, headers=headers)
    assert rest.status_code == 206
    assert first + rest.content == whole.content
    size = len(whole.content)
    assert rest.headers["content-range"] == f"bytes {len(first)}-{size - 1}/{size}"


def test_a_range_outside_of_it_is_refused(api, path):
    answer = api.get(path, headers={"Range": "bytes=99999-"})
    assert_problem(answer, 416, "range-not-satisfiable", "99999")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_that_is_known_is_not_sent_again(api, path, method: str):
    etag = api.head(path).headers["etag"]
    answer = api.request(method, path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_the_job_and_its_list_link_it(api, job, path):
    assert api.get(f"/v1/jobs/{job}").json()["links"]["zip"] == path
    assert api.get(f"/v1/jobs/{job}/results").json()["links"]["zip"] == path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unfinished_job_has_none_yet(api, method: str):
    answer = api.request(method, f"/v1/jobs/{new_job(api)}/results.zip")
    assert answer.status_code == 409
    if method == "GET":
        assert_problem(answer, 409, "not-finished", "queued")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_that_of_an_expired_job_is_gone(api, job, path, method: str):
    api.delete(f"/v1/jobs/{job}")
    assert api.request(method, path).status_code == 410


def test_there_is_none_of_no_job(api):
    assert_problem(api.get(f"/v1/jobs/{'0' * 32}/results.zip"), 404, "not-found")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-3"}])
def test_with_an_altered_file_nothing_is_sent(api, services, job, path, headers):
    sha256 = hashlib.sha256(FILES["rtstruct.dcm"]).hexdigest()
    stored = services.settings.data / "payloads" / job / sha256
    stored.write_bytes(b"conTours")
    answer = api.get(path, headers=headers)
    assert_problem(answer, 500, "internal-error", "rtstruct.dcm", "altered")


def test_what_waits_for_a_review_is_left_out(services, models, checker, converter):
    settings = services.settings.model_copy(update={"require_review": True})
    services = replace(services, settings=settings)
    with TestClient(make_app(services, models, checker, converter)) as api:
        job = new_job(api)
        FakeWorker(services).succeed(job, FILES | {"reviewed/rtstruct.dcm": b"signed"})
        found = unpacked(api.get(f"/v1/jobs/{job}/results.zip").content)
    assert "rtstruct.dcm" not in found
    assert found["reviewed/rtstruct.dcm"] == b"signed"


def test_it_comes_from_a_remote_store_as_well(
    services, models, checker, converter, tmp_path
):
    cache = PayloadCache(tmp_path / "cache", most_bytes=100)  # which holds not all
    store = PayloadStore("memory://results-zip", cache=cache)
    services = replace(services, store=store)
    with TestClient(make_app(services, models, checker, converter)) as api:
        job = new_job(api)
        FakeWorker(services).succeed(job, FILES)
        answer = api.get(f"/v1/jobs/{job}/results.zip")
    assert unpacked(answer.content) == FILES


def test_a_download_is_on_record(api, services, job, path):
    api.get(path)
    *_, last = [entry.line for entry in services.tables.audit.list_entries()]
    assert "fetch_results_zip" in last
    assert job in last


class Sparse(io.RawIOBase):
    """An archive whose files are zeros, which are made when they are read."""

    def __init__(self, found: Archive) -> None:
        self._found, self._at = found, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._found.size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._found.size if size < 0 else self._at + size
        told = b"".join(self._found.read(self._at, stop, zeros))
        self._at += len(told)
        return told


def zeros(_: int, start: int, stop: int):
    yield bytes(stop - start)


GIB = 1 << 30


def test_files_and_places_above_4_gib_need_zip64():
    entries = [Entry("small", 3), Entry("large", 5 * GIB), Entry("after", 7)]
    with zipfile.ZipFile(Sparse(lay_out(entries, MADE_AT))) as found:
        sizes = {each.filename: each.file_size for each in found.infolist()}
        # opening a file compares its own header with the directory
        with found.open("large") as large:
            assert large.read(1 << 10) == bytes(1 << 10)
        with found.open("after") as after:
            after._expected_crc = None  # type: ignore[attr-defined]
            assert after.read() == bytes(7)
    assert sizes == {"small": 3, "large": 5 * GIB, "after": 7}


def test_more_than_65535_files_need_zip64():
    entries = [Entry(f"{n}", 0) for n in range(70_000)]
    with zipfile.ZipFile(Sparse(lay_out(entries, MADE_AT))) as found:
        assert len(found.namelist()) == 70_000


def test_names_and_times_are_kept():
    made = lay_out([Entry("Drüse.nii.gz", 0)], MADE_AT)
    with zipfile.ZipFile(Sparse(made)) as found:
        [info] = found.infolist()
    assert info.filename == "Drüse.nii.gz"
    assert info.date_time == (2026, 3, 4, 5, 6, 8)
    assert info.external_attr >> 16 == 0o100644


def test_no_file_is_held_in_memory(services, tmp_path: Path):
    """A file of 64 MiB passes through as chunks."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    payload = services.store.put("job-1", large)
    found = lay_out([Entry("large", payload.bytes)], MADE_AT)

    def read(_: int, start: int, stop: int):
        return services.store.read_range("job-1", payload.sha256, start, stop)

    tracemalloc.start()
    sent = sum(len(chunk) for chunk in found.read(0, found.size, read))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent == found.size
    assert peak < 8 << 20
