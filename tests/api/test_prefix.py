"""The service below a path of a reverse proxy: no link leads out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from hanseg_segmentation.api import server
from hanseg_segmentation.api.app import ROUTERS
from hanseg_segmentation.api.http.prefix import require_free
from hanseg_shared.access import Scope
from hanseg_shared.errors import OptionError
from hanseg_shared.problems import DEADLINE
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.settings import BAD_SETTINGS, Settings
from hanseg_shared.stack.redis_server import free_port
from tests.api.fakes import CT, MR, USED
from tests.api.requests import announce, assert_problem, new_job, upload
from tests.api.test_commissioning import NAMED, PDF, sheet, signed
from tests.api.test_corrections import paint
from tests.api.test_stow import body, instances
from tests.review.cases import SMALLER, pack, write_labels

PREFIX = "/contouring"
IN_TEXT = re.compile(rb"^Content-Location: (\S+)\r$|href=\"(\S*?)\"", re.MULTILINE)


class Proxy:
    """A reverse proxy that publishes nothing but the prefix."""

    def __init__(self, app: Any, *, takes_off: bool) -> None:
        self.app = app
        self._takes_off = takes_off

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path, raw = scope["path"], scope["raw_path"]
            assert path.startswith(f"{PREFIX}/"), f"{path} leads out of the prefix"
            if self._takes_off:
                path = path.removeprefix(PREFIX)
                raw = raw.removeprefix(PREFIX.encode())
            scope = {**scope, "path": path, "raw_path": raw}
        await self.app(scope, receive, send)


class Caller(TestClient):
    """Calls through a proxy, and keeps every answer."""

    answers: list[Response]

    def request(self, method: str, url: Any, **more: Any) -> Response:
        whole = str(url)
        if not whole.startswith(PREFIX):  # what a test has from documentation
            whole = PREFIX + whole
        answer = super().request(method, whole, **more)
        self.answers.append(answer)
        return answer


@pytest.fixture
def settings(settings, tmp_path):
    return settings.model_copy(update={"root_path": PREFIX})


@pytest.fixture(params=[True, False], ids=["taken off", "left there"])
def api(app, request) -> Iterator[Caller]:
    with Caller(Proxy(app, takes_off=request.param)) as client:
        client.answers = []
        yield client


def links_of(answer: Response) -> Iterator[str]:
    """Yield every address in an answer: headers, documents, parts, pages."""
    for name in ("location", "content-location"):
        if name in answer.headers:
            yield answer.headers[name]
    if "json" in answer.headers.get("content-type", ""):
        yield from _strings(answer.json())
    for match in IN_TEXT.finditer(answer.content):
        yield (match[1] or match[2]).decode()


def _strings(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        own = {"paths", "servers"}  # of OpenAPI: told apart by a test
        part = [each for name, each in part.items() if name not in own]
    if isinstance(part, list):
        for each in part:
            yield from _strings(each)
    elif isinstance(part, str) and part.startswith("/"):
        yield part


def walk(api: Caller) -> set[str]:
    """Return all addresses in the answers so far, each of which leads somewhere."""
    found = {link for answer in api.answers for link in links_of(answer)}
    for link in found:
        assert link.startswith(f"{PREFIX}/"), link
        there = TestClient.request(api, "TRACE", link)  # which no route answers
        assert there.status_code == 405, f"{link}: {there.status_code}"
        if "GET" in there.headers["allow"] and not link.endswith("/events"):
            assert TestClient.request(api, "GET", link).status_code == 200, link
    return found


def test_a_job_and_its_results_and_review(api, worker):
    job = new_job(api, mr=MR, case="case 7")
    new_job(api)
    worker.succeed(
        job, {"masks/Brainstem.nii.gz": b"mask"}, contoured={"Brainstem": 25.0},
        registration=USED,
    )  # fmt: skip
    api.get(f"/v1/jobs/{job}")
    api.get(f"/v1/jobs/{job}/results")
    parts = api.get(f"/v1/jobs/{job}/results", headers={"Accept": "multipart/related"})
    assert parts.status_code in {200, 406}
    said = {"organs": [{"organ": "Brainstem", "verdict": "accepted"}]}
    api.post(f"/v1/jobs/{job}/review/organs", json=said)
    api.get(f"/v1/jobs/{job}/review/versions")
    assert len(walk(api)) > 10


def test_a_corrected_mask(api, worker, tmp_path):
    job = new_job(api)
    label_map = write_labels(tmp_path / "own.nii.gz").read_bytes()
    worker.succeed(job, {SEGMENTATION: label_map}, contoured={"Brainstem": 0.4})
    saved = paint(api, f"/v1/jobs/{job}/review", pack(SMALLER))
    assert saved.json()["organs"][0]["mask"]["href"] in walk(api)


def test_a_commissioning_and_a_file_beside_its_sheet(api):
    made = signed(sheet().model_copy(update={"files": (NAMED,)}))
    sha256 = api.post("/v1/commissioning", json=made).json()["sha256"]
    path = f"/v1/commissioning/{sha256}/files/{NAMED.name}"
    assert api.put(path, content=PDF).status_code == 204
    (found,) = api.get("/v1/commissioning").json()["sheets"]
    assert found["files"][0]["href"] == PREFIX + path
    assert PREFIX + path in walk(api)


def test_pages_of_a_list_follow_each_other(api):
    made = {new_job(api), new_job(api)}
    for path in ("/v1/jobs", "/v1/worklist"):
        first = api.get(f"{path}?limit=1").json()
        second = api.get(first["next"]).json()
        assert {each["id"] for each in first["jobs"] + second["jobs"]} == made
    walk(api)


def test_a_job_that_failed_names_itself_and_its_retry(api, worker, services):
    job = new_job(api)
    problem = DEADLINE.problem("it took too long", instance=f"/v1/jobs/{job}")
    assert services.tables.claims.fail(worker.begin(job), problem)
    failed = api.get(f"/v1/jobs/{job}").json()
    assert failed["error"]["instance"] == failed["links"]["self"]
    again = api.post(failed["links"]["retry"]).json()
    assert api.get(again["links"]["self"]).json()["id"] == again["id"]
    walk(api)


def test_events_name_the_same_addresses(api, worker):
    job = new_job(api)
    worker.succeed(job)
    lines = api.get(f"/v1/jobs/{job}/events").text.splitlines()
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    links = [each["links"] for each in told if each.get("links")]
    assert links
    assert all(link.startswith(PREFIX) for each in links for link in each.values())


def test_uploads_batches_and_templates(api):
    announce(api, CT + b" later")
    cases = [{"name": "one", "ct": upload(api, CT)}]
    batch = api.post("/v1/batches", json={"cases": cases})
    api.get(batch.headers["location"])
    clinic = {"name": "clinic", "label": "Head neck", "structures": [
        {"name": "Eye_L", "organs": ["Eye_AL", "Eye_PL"], "colour": [0, 128, 255]}
    ]}  # fmt: skip
    api.put("/v1/templates/clinic", json=clinic)
    api.get("/v1/templates")
    assert {f"{PREFIX}/v1/templates/clinic", batch.headers["location"]} <= walk(api)


def test_a_study_that_is_stored_becomes_a_job(api):
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    stored = api.post(
        "/v1/dicom-web/studies?submit=true",
        content=body(instances()),
        headers={"Content-Type": kind},
    )
    assert api.get(stored.headers["location"]).json()["links"]["self"] in walk(api)


def test_problems_and_the_docs_name_what_callers_know(api):
    assert_problem(api.get("/v1/jobs/" + "0" * 32), 404, "not-found")
    assert_problem(api.get("/nothing"), 404, "not-found", f"{PREFIX}/nothing")
    assert all(each.json()["instance"] == each.request.url.path for each in api.answers)
    api.answers.clear()
    assert PREFIX in api.get("/docs").text
    assert api.get("/openapi.json").json()["servers"] == [{"url": PREFIX}]
    assert f"{PREFIX}/openapi.json" in walk(api)


def test_a_session_is_of_the_prefix_alone(api, services, app):
    made = services.tables.api_keys.create("anna", frozenset(Scope))
    answer = api.post("/v1/session", json={"key": made.text})
    assert answer.headers["location"] == f"{PREFIX}/v1/session"
    assert f"Path={PREFIX};" in answer.headers["set-cookie"] + ";"
    assert api.get("/v1/session").json()["signed_in"]
    token = {"X-CSRF-Token": answer.json()["csrf_token"]}
    ended = api.delete("/v1/session", headers=token)
    assert f"Path={PREFIX};" in ended.headers["set-cookie"] + ";"
    assert not api.get("/v1/session").json()["signed_in"]


def test_the_page_has_its_base_there(api):
    for path in ("/", "/sign-in"):
        answer = api.get(path)
        wanted = f"{PREFIX}/docs" if answer.status_code == 503 else f'href="{PREFIX}/"'
        assert wanted in answer.text


def test_pages_of_other_sites_are_known_below_a_prefix(api):
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert api.get("/docs", headers=elsewhere).status_code == 200
    assert_problem(api.get("/v1/jobs", headers=elsewhere), 403, "foreign-page")
    assert_problem(api.post("/", headers=elsewhere), 403, "foreign-page")


def test_programs_beside_the_service_need_not_know_it(app):
    with TestClient(app) as api:
        assert api.get("/livez").status_code == 200
        assert api.get(PREFIX).status_code in {200, 503}  # the page, if it was built
        assert api.get(f"{PREFIX}ed/livez").status_code == 404
        assert api.get(f"{PREFIX}{PREFIX}/livez").status_code == 404


@pytest.mark.parametrize("prefix", ["/v1", "/docs/of/it", "/jobs", "/assets"])
def test_a_prefix_is_no_address_of_the_service(prefix):
    paths = [route.path for router in ROUTERS for route in router.routes]  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match=f"HANSEG_ROOT_PATH is {prefix}"):
        require_free(prefix, paths)
    require_free("/contouring/v1", paths)


def test_a_wrong_prefix_is_refused_once_and_for_all(monkeypatch, capsys, tmp_path):
    """`hanseg serve` starts the API again unless it ends as for bad settings."""
    settings = Settings(data=tmp_path, port=free_port(), root_path="/jobs")
    monkeypatch.setattr(server, "settings_of_process", lambda: settings)
    monkeypatch.setattr(server, "configure_logging", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        server.main()
    assert ended.value.code == BAD_SETTINGS
    assert "HANSEG_ROOT_PATH is /jobs" in capsys.readouterr().err
