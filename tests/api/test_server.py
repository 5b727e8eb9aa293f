"""The API behind real sockets: streams, aborted uploads, stopping."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hanseg_segmentation.api.server import command, configure, listen
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.problems import EXPIRED
from hanseg_shared.settings import Settings
from tests.api.fakes import CT, FakeChecker, FakeWorker
from tests.api.running import PATIENCE_SECONDS, Running
from tests.api.test_limits import BOUNDARY, END, FORM, part


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when something holds that another thread brings about."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        pause.wait(0.01)


@pytest.fixture
def connection(running: Running) -> Iterator[http.client.HTTPConnection]:
    found = running.connect()
    yield found
    found.close()


def submit(connection: http.client.HTTPConnection) -> str:
    connection.request("POST", "/v1/jobs", part("ct", CT) + END, FORM)
    answer = connection.getresponse()
    assert answer.status == 202
    return str(json.loads(answer.read())["id"])


def next_state(stream: http.client.HTTPResponse) -> str:
    while not (line := stream.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    return str(json.loads(line.removeprefix(b"data: "))["state"])


def test_changes_arrive_while_they_happen(connection, worker: FakeWorker):
    job_id = submit(connection)
    connection.request("GET", f"/v1/jobs/{job_id}/events")
    stream = connection.getresponse()
    assert next_state(stream) == "queued"
    worker.begin(job_id, Stage.REGISTER)
    assert next_state(stream) == "registering"
    gone = EXPIRED.problem("deleted by a test")
    worker.services.tables.jobs.expire(job_id, gone)
    assert next_state(stream) == "expired"
    assert stream.read() == b"\n"


def test_a_client_that_goes_away_ends_its_stream(running, connection, app, caplog):
    job_id = submit(connection)
    follower = running.connect()
    follower.request("GET", f"/v1/jobs/{job_id}/events")
    assert next_state(follower.getresponse()) == "queued"
    follower.close()
    wait_until(lambda: not running.server.server_state.tasks)
    assert "Traceback" not in caplog.text


def test_an_aborted_upload_leaves_nothing(running, settings, services):
    scratch = settings.scratch
    raw = socket.create_connection(("127.0.0.1", running.port))
    head = (
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    raw.sendall(head.encode() + part("ct", CT))
    wait_until(lambda: any(scratch.glob("*/ct")))
    raw.close()
    wait_until(lambda: not list(scratch.iterdir()))
    assert services.tables.jobs.list_page(limit=1).jobs == ()
    assert services.store.owners() == []


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body(
    running, settings
):
    raw = socket.create_connection(("127.0.0.1", running.port))
    raw.sendall(
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: %d\r\n\r\n" % (settings.max_upload_bytes + 1)
    )
    with raw, raw.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_answered_at_the_limit_while_it_is_sent(running, settings):
    raw = socket.create_connection(("127.0.0.1", running.port))
    chunk = b"x" * settings.max_upload_bytes
    raw.sendall(
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=%b\r\n\r\n" % BOUNDARY.encode()
    )
    sent = part("ct", chunk)
    raw.sendall(b"%x\r\n%b\r\n" % (len(sent), sent))  # no end: more could follow
    with raw, raw.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 413")
    wait_until(lambda: not list(settings.scratch.iterdir()))


class SlowChecker(FakeChecker):
    """Looks at an image until it is told to come to an end."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = threading.Event()
        self.enough = threading.Event()

    def __call__(self, ct: Path, mr: Path | None, limits: Limits, halt: Halt):
        self.looking.set()
        assert self.enough.wait(PATIENCE_SECONDS)
        return super().__call__(ct, mr, limits, halt)


class TestWhileAnImageIsLookedAt:
    @pytest.fixture
    def checker(self) -> SlowChecker:
        return SlowChecker()

    def test_other_requests_are_answered(self, running, connection, checker):
        submitting = threading.Thread(target=submit, args=[connection])
        submitting.start()
        assert checker.looking.wait(PATIENCE_SECONDS)
        other = running.connect()
        other.request("GET", "/livez")
        assert other.getresponse().status == 200
        other.close()
        checker.enough.set()
        submitting.join()

    def test_a_client_that_does_not_wait_gets_its_job_all_the_same(
        self, running, checker, services
    ):
        gone = running.connect()
        gone.request("POST", "/v1/jobs", part("ct", CT) + END, FORM)
        assert checker.looking.wait(PATIENCE_SECONDS)
        gone.close()
        checker.enough.set()
        wait_until(lambda: len(services.tables.jobs.list_page(limit=1).jobs) == 1)
        wait_until(lambda: not list(services.settings.scratch.iterdir()))


def test_stopping_ends_streams_and_waits_at_once(running, connection):
    job_id = submit(connection)
    waiting = running.connect()
    waiting.request("GET", f"/v1/jobs/{job_id}", headers={"Prefer": "wait=2"})
    connection.request("GET", f"/v1/jobs/{job_id}/events")
    stream = connection.getresponse()
    assert next_state(stream) == "queued"
    running.stop()
    assert not running.thread.is_alive()
    stream.read()
    assert waiting.getresponse().status == 200
    waiting.close()


def test_a_taken_port_is_told_in_one_line(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServiceUnavailableError, match=rf"127\.0\.0\.1 port {port}.*PORT"
        ):
            listen(settings.model_copy(update={"port": port}))


def test_a_host_that_is_not_ours_is_told(settings):
    with pytest.raises(
        ServiceUnavailableError,
        match=r"192\.0\.2\.1 is no address of this machine.*HANSEG_HOST",
    ):
        listen(settings.model_copy(update={"host": "192.0.2.1"}))


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "HANSEG_DATA": str(settings.data),
        "HANSEG_PORT": "0",
        "HANSEG_MIN_FREE_BYTES": "0",
        "HANSEG_BROKER_URL": "redis://127.0.0.1:1/0",
    }


@pytest.mark.e2e
def test_the_process_ends_with_status_0_when_told_to_stop(settings, environment):
    process = subprocess.Popen(
        command(settings), env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process, process.stderr as log:
        port = next(int(x.split()[-1]) for x in log if "the API listens on" in x)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/readyz")
        problem = json.loads(connection.getresponse().read())
        connection.close()
        process.terminate()
        log.read()
    assert process.returncode == 0
    assert "broker: the broker (Redis) does not answer" in problem["detail"]


@pytest.mark.e2e
def test_the_process_ends_with_status_4_when_the_port_is_taken(settings, environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["HANSEG_PORT"] = str(taken.getsockname()[1])
        done = subprocess.run(
            command(settings),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("cannot listen at 127.0.0.1 port ")


@pytest.mark.parametrize("proxies", [(), ("192.0.2.9",)])
def test_only_the_proxies_that_were_named_say_where_a_request_is_from(app, proxies):
    config = configure(app, grace_seconds=1, proxies=proxies)
    assert config.proxy_headers is bool(proxies)
    assert config.forwarded_allow_ips == list(proxies)
