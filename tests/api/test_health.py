"""Health and metrics: what is wrong is said, and no patient is named."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hanseg_segmentation.api.routes import health
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from tests.api.requests import assert_problem, new_job, submit


@pytest.fixture
def workers(services) -> None:
    """A live worker on each queue."""
    for queue in QueueName:
        services.tables.workers.report_ready(f"{queue}-1", queue=queue, device="cpu")


@pytest.fixture
def broken_database(services, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ServiceUnavailableError("the database does not work: no answer")

    for table, name in (
        (services.tables.database, "ping"),
        (services.tables.workers, "statuses"),
        (services.tables.jobs, "count_by_state"),
        (services.tables.jobs, "get"),
    ):
        monkeypatch.setattr(table, name, fails)


def test_a_process_that_answers_is_alive_whatever_else(api, broken_database, publisher):
    publisher.down = True
    assert api.get("/livez").json() == {"status": "alive"}


@pytest.mark.usefixtures("workers")
def test_a_service_where_all_works_is_ready(api):
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"]
    assert [check["name"] for check in answer.json()["checks"]] == [
        "database",
        "broker",
        "disk",
        "store",
        "models",
        "registration worker",
        "segmentation worker",
    ]


def wrong(answer) -> list[str]:
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    return [check["name"] for check in answer.json()["checks"] if not check["ok"]]


def test_without_workers_it_is_not_ready(api):
    answer = api.get("/readyz")
    assert wrong(answer) == ["registration worker", "segmentation worker"]
    assert "no segmentation worker was heard of in 15 s" in answer.json()["detail"]


def worker_check(api, queue: QueueName) -> dict[str, Any]:
    [found] = [
        check
        for check in api.get("/readyz").json()["checks"]
        if check["name"] == f"{queue} worker"
    ]
    return found


class TestHowFarAWorkerIs:
    @pytest.mark.usefixtures("workers")
    def test_ready_since_when(self, api):
        check = worker_check(api, QueueName.SEGMENTATION)
        assert check["state"] == "ready"
        assert datetime.fromisoformat(check["since"]) <= datetime.now(UTC)

    def test_loading_is_not_dead(self, api, services):
        services.tables.workers.report_loading(
            "s-1", queue="segmentation", trouble=None
        )
        check = worker_check(api, QueueName.SEGMENTATION)
        assert (check["ok"], check["state"]) == (False, "loading")
        assert check["detail"].startswith(
            "no segmentation worker is ready: one has been loading for"
        )
        assert worker_check(api, QueueName.REGISTRATION)["state"] == "dead"

    def test_why_it_is_not_ready_yet(self, api, services):
        services.tables.workers.report_loading(
            "r-1", queue="registration", trouble="the database does not work"
        )
        detail = worker_check(api, QueueName.REGISTRATION)["detail"]
        assert detail.endswith("cannot work yet: the database does not work")

    def test_one_that_fell_silent_is_dead(self, api, services, monkeypatch):
        services.tables.workers.report_loading(
            "s-1", queue="segmentation", trouble=None
        )
        monkeypatch.setattr(health, "ALIVE_SECONDS", 0.0)
        check = worker_check(api, QueueName.SEGMENTATION)
        assert check["state"] == "dead"
        assert "the last one fell silent" in check["detail"]

    def test_one_that_has_not_proven_that_it_can_work_is_not_ready(self, api, services):
        for name, seconds in (("s-1", 1000.0), ("s-2", 20.0)):
            services.tables.workers.report_ready(
                name, queue="segmentation", device="cpu", proven_seconds=seconds
            )
            check = worker_check(api, QueueName.SEGMENTATION)
            assert check["ok"] == (seconds < 150)
        assert check["detail"] == "1 alive, proven 20 s ago that it can work"

    def test_one_that_has_stopped_is_not_looked_for(self, api, services):
        services.tables.workers.report_ready("s-1", queue="segmentation", device="cpu")
        services.tables.workers.forget("s-1")
        check = worker_check(api, QueueName.SEGMENTATION)
        assert (check["state"], check["since"]) == ("dead", None)


@pytest.mark.usefixtures("workers")
def test_a_database_that_is_frozen_holds_no_check_up(api, services, monkeypatch):
    thawed = threading.Event()
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(services.tables.database, "ping", thawed.wait)
    try:
        first, second = api.get("/readyz"), api.get("/readyz")
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("check of database") == 1
    finally:
        thawed.set()
    assert wrong(first) == wrong(second) == ["database"]
    details = {check["name"]: check["detail"] for check in first.json()["checks"]}
    assert details["database"].startswith("no answer for")
    assert details["broker"].endswith("messages for segmentation")


@pytest.mark.usefixtures("workers")
def test_without_a_broker_it_is_not_ready(api, publisher):
    publisher.down = True
    assert wrong(api.get("/readyz")) == ["broker"]


def models_check(answer) -> str:
    details = {check["name"]: check["detail"] for check in answer.json()["checks"]}
    return str(details["models"])


@pytest.mark.usefixtures("workers")
def test_without_the_default_model_it_is_not_ready(api, models):
    shutil.rmtree(models / "default")
    answer = api.get("/readyz")
    assert wrong(answer) == ["models"]
    assert models_check(answer).endswith("is not installed")


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_with_a_broken_default_model_it_is_not_ready_and_says_why(api, models, file):
    (models / "default" / file).write_bytes(b"torn")
    answer = api.get("/readyz")
    assert wrong(answer) == ["models"]
    assert f"left out: default ({file}" in models_check(answer)
    assert str(models) not in answer.text
    refused = submit(api)
    assert_problem(refused, 503, "unavailable", "model default cannot be used")


@pytest.mark.usefixtures("workers")
def test_another_broken_model_is_named_and_stops_nothing(api, models):
    shutil.copytree(models / "default", models / "bone")
    file = models / "bone" / "model.json"
    file.write_text(file.read_text().replace('"default"', '"bone"'))
    (models / "bone" / "weights.safetensors").unlink()
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert models_check(answer).startswith("default; left out: bone (weights.safe")
    assert submit(api).status_code == 202


@pytest.mark.usefixtures("workers")
def test_a_model_that_is_mended_is_offered_without_a_restart(api, models):
    weights = models / "default" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert wrong(api.get("/readyz")) == ["models"]
    weights.write_bytes(whole)
    assert api.get("/readyz").status_code == 200


@pytest.mark.usefixtures("workers", "broken_database")
def test_without_a_database_it_is_not_ready(api):
    answer = api.get("/readyz")
    assert wrong(answer) == ["database", "registration worker", "segmentation worker"]


def samples(api) -> dict[tuple[str, ...], float]:
    text = api.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_prometheus_text(api):
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")


def test_jobs_are_counted_by_state(api, worker):
    new_job(api)
    worker.begin(new_job(api))
    found = samples(api)
    assert found["hanseg_jobs", "queued"] == 1
    assert found["hanseg_jobs", "registering"] == 1
    assert found["hanseg_jobs", "failed"] == 0
    assert found["hanseg_queue_age_seconds", "registering"] >= 0
    assert found["hanseg_stage_running_seconds", "registering"] >= 0


@pytest.mark.usefixtures("workers")
def test_queues_and_workers_are_counted(api):
    new_job(api)
    found = samples(api)
    assert found["hanseg_queue_messages", "registration"] == 1
    assert found["hanseg_queue_messages", "segmentation"] == 0
    assert found["hanseg_workers", "registration", "ready"] == 1
    assert found["hanseg_workers", "registration", "silent"] == 0
    assert found["hanseg_worker_proof_age_seconds", "registration"] < 60


def test_a_finished_job_is_counted_once(api, worker):
    worker.succeed(new_job(api))
    for _ in range(2):
        found = samples(api)
        assert found["hanseg_jobs_finished_total", "succeeded"] == 1
        assert found["hanseg_mr_verdicts_total", "absent"] == 1
        assert found["hanseg_stage_seconds_count", "segmenting"] == 1
    worker.succeed(new_job(api))
    assert samples(api)["hanseg_jobs_finished_total", "succeeded"] == 2


def test_requests_are_counted_by_route_and_not_by_path(api):
    job_id = new_job(api, case="Jane Doe")
    api.get(f"/v1/jobs/{job_id}")
    api.get("/secret/path")
    text = api.get("/metrics").text
    found = samples(api)
    route = "/v1/jobs/{job_id}"
    assert found["hanseg_http_requests_total", "GET", route, "200"] == 1
    assert found["hanseg_http_requests_total", "POST", "/v1/jobs", "202"] == 1
    assert found["hanseg_http_requests_total", "GET", "unmatched", "404"] == 1
    for private in (job_id, "Jane", "secret"):
        assert private not in text


def test_methods_that_nobody_knows_share_a_label(api):
    api.request("BREW", "/v1/jobs")
    assert not any("BREW" in key for key in samples(api))


def test_what_does_not_answer_is_told_by_up(api, publisher, broken_database):
    publisher.down = True
    found = samples(api)
    assert found["hanseg_up", "database"] == 0
    assert found["hanseg_up", "broker"] == 0


def test_two_applications_count_apart(app, api, services, models, checker):
    from hanseg_segmentation.api.app import create_app

    other = create_app(services, check_case=checker, model_folders=[models])
    assert other.state.metrics.registry is not app.state.metrics.registry


def test_what_was_counted_outlives_the_process_and_the_jobs_files(
    api, worker, services, models, checker
):
    from hanseg_segmentation.api.app import create_app

    job_id = new_job(api)
    worker.succeed(job_id)
    api.delete(f"/v1/jobs/{job_id}")  # before anybody asked for the metrics
    other = create_app(services, check_case=checker, model_folders=[models])
    for text in (api.get("/metrics").text, other.state.metrics.text().decode()):
        assert 'hanseg_jobs_finished_total{state="succeeded"} 1.0' in text
        assert (
            'hanseg_organ_statuses_total{model="default 1",organ="Brainstem",'
            'status="empty"} 1.0'
        ) in text or 'organ="Brainstem",status="empty",model="default 1"} 1.0' in text


def test_rejected_requests_are_counted_by_the_problems_type(api):
    api.get("/v1/jobs/none")
    api.get("/v1/jobs?colour=red")
    found = samples(api)
    assert found["hanseg_http_requests_rejected_total", "invalid-request"] == 1
    assert found["hanseg_http_requests_rejected_total", "not-found"] == 1


def test_the_disks_and_the_store_are_measured(api, worker):
    found = samples(api)
    assert found["hanseg_disk_free_bytes", "data"] > 0
    assert found["hanseg_stored_bytes",] >= 0
    assert found["hanseg_up", "store"] == 1


def test_the_database_is_not_read_again_at_once(api, app, worker):
    app.state.metrics.cache_seconds = 60.0
    new_job(api)
    assert samples(api)["hanseg_jobs", "queued"] == 1
    new_job(api)
    assert samples(api)["hanseg_jobs", "queued"] == 1
