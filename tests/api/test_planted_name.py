"""A DICOM job full of a planted name: all that was written is searched for it.

The API with its conversion in a child process, the worker's own packaging, a real Redis
and SQLite. The name may stand in the results that carry it, in the file that keeps
whose images they are, and as the case's name in the column for it.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydantic import SecretStr

from hanseg_segmentation.api.app import create_app
from hanseg_shared.io.dicom.source import IDENTITY_FILE
from hanseg_shared.jobs.messages import BrokerPublisher
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.schema import metadata
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import work_on
from hanseg_shared.log_filter import PatientFilter
from tests.api.conftest import FAST
from tests.api.fakes import REPORT
from tests.api.test_privacy import (
    BORN,
    NAME,
    NUMBER,
    accept,
    archive,
    segment,
)
from tests.redis_server import RunningRedis, running_redis

pytestmark = [pytest.mark.torch, pytest.mark.redis]

PLANTED = [text.encode() for text in ("Trillian", NUMBER, BORN)]
NAMED_RESULTS = {"rtstruct.dcm", "report.dcm", "report.pdf"}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningRedis]:
    with running_redis(tmp_path / "redis") as found:
        yield found


@pytest.fixture
def publisher(redis: RunningRedis, settings) -> BrokerPublisher:
    return BrokerPublisher(
        settings.model_copy(update={"broker_url": SecretStr(redis.url)})
    )


@pytest.fixture
def api(services, models) -> Iterator[TestClient]:
    app = create_app(
        services, check_case=accept, model_folders=[models], pace=FAST, reconcile=False
    )
    with TestClient(app) as client:
        yield client


@contextmanager
def log_to(stream: io.StringIO, *filters: logging.Filter) -> Iterator[None]:
    handler = logging.StreamHandler(stream)
    for each in filters:
        handler.addFilter(each)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def list_processes() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() + b"\n"
        except OSError:  # it has ended
            continue
    return found


@contextmanager
def watch_processes() -> Iterator[list[bytes]]:
    """Collect the command lines of this machine for as long as the body runs."""
    seen: list[bytes] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            if finds(text := list_processes()):
                seen.append(text)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def dump_redis(redis: RunningRedis) -> bytes:
    """Return every key with its content, and the bodies of messages unpacked."""
    readers = {b"list": "LRANGE", b"zset": "ZRANGE"}
    found: list[bytes] = []
    with redis.client() as client:
        for key in client.scan_iter():
            kind = client.type(key)
            if kind in readers:
                values = client.execute_command(readers[kind], key, 0, -1)
            elif kind == b"hash":
                values = [part for pair in client.hgetall(key).items() for part in pair]
            else:
                values = client.smembers(key) if kind == b"set" else [client.get(key)]
            found += [key, *values, *(_unpack(value) for value in values)]
    return b"\n".join(found)


def _unpack(message: bytes) -> bytes:
    """Return the body of a message of Celery's; nothing of anything else."""
    try:
        return base64.b64decode(json.loads(message)["body"])
    except (ValueError, LookupError, TypeError):
        return b""


def dump_rows(services: Services) -> bytes:
    """Return every row of every table, without the column for the case's name."""
    found: list[Any] = []
    with services.tables.database.read() as connection:
        for table in metadata.sorted_tables:
            columns = [each for each in table.c if each.name != "case_name"]
            found += connection.execute(sa.select(*columns)).all()
    return repr(found).encode()


def finds(*contents: bytes) -> list[bytes]:
    return [planted for planted in PLANTED for text in contents if planted in text]


def run_job(api: TestClient, services: Services, worker, folder: Path) -> str:
    from hanseg_segmentation.tasks import package_stage

    answer = api.post(
        "/v1/jobs",
        files={"ct": (f"{NAME}.zip", archive())},
        data={"request": f'{{"case": "{NAME}"}}'},
        headers={"X-Patient": NAME},
    )
    assert answer.status_code == 202, answer.text
    job_id = str(answer.json()["id"])
    api.get("/v1/jobs", params={"case": NAME})
    api.get("/v1/jobs", params={"patient": NAME})
    worker.do(job_id, Stage.REGISTER, StageResult(registration=REPORT))
    worker.do(job_id, Stage.SEGMENT, segment(services, job_id, folder))
    work_on(Stage.PACKAGE, job_id, package_stage, services)
    assert api.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded"
    return job_id


def find_in_store(api: TestClient, services: Services, job_id: str) -> None:
    """Hold that of the stored files only those name the patient that may."""
    job = services.tables.jobs.get(job_id)
    may = {f.sha256 for f in job.intermediate if f.name == IDENTITY_FILE}
    may |= {f.sha256 for f in job.files if f.name in NAMED_RESULTS | {"job.json"}}
    named = {
        path.name
        for path in services.settings.data.rglob("*")
        if path.is_file()
        and "jobs.sqlite" not in path.name
        and path.name != "made"
        and finds(path.read_bytes())
    }
    assert named <= may
    assert len(named) >= 2  # the control: the search finds them


def test_a_planted_name_is_nowhere_but_where_it_belongs(
    api, services, worker, redis, tmp_path, capfd
):
    log = io.StringIO()
    with log_to(log, PatientFilter()), watch_processes() as named_processes:
        job_id = run_job(api, services, worker, tmp_path)

    printed = "".join(capfd.readouterr())
    answers = api.get("/metrics").content
    paths = "\n".join(str(each) for each in services.settings.data.rglob("*"))
    audit = "".join(each.line for each in services.tables.audit.list_entries())
    queues = dump_redis(redis)
    assert job_id.encode() in queues
    assert job_id in log.getvalue()
    assert job_id in audit
    assert finds(log.getvalue().encode(), printed.encode(), audit.encode()) == []
    assert finds(answers, paths.encode(), queues, dump_rows(services)) == []
    assert named_processes == []
    find_in_store(api, services, job_id)


def test_the_search_would_find_the_name(services, redis):
    log = io.StringIO()
    with log_to(log):
        logging.getLogger("a.library").warning("bad value %s", NAME)
    with redis.client() as client:
        client.lpush("queue", f"{NUMBER}")
    services.tables.batches.create(NAME)
    sleeper = [sys.executable, "-c", "input()", NAME]
    with (
        watch_processes() as named,
        subprocess.Popen(sleeper, stdin=subprocess.PIPE) as process,
    ):
        waited = threading.Event()
        for _ in range(500):
            if named or waited.wait(0.01):
                break
        process.communicate(b"\n")

    assert named
    assert finds(log.getvalue().encode()) == [PLANTED[0]]
    assert finds(dump_redis(redis)) == [PLANTED[1]]
    assert finds(dump_rows(services)) == [PLANTED[0]]
