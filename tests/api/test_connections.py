"""Connections that are silent, slow or too many do not hold up the others."""

from __future__ import annotations

import dataclasses
import errno
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from hanseg_segmentation.api import connections
from hanseg_segmentation.api.connections import ConnectionLimits, raise_file_limit
from hanseg_segmentation.api.places import Shares
from hanseg_segmentation.api.server import Server, configure, listen
from hanseg_shared.settings import Settings
from hanseg_shared.stack import children
from hanseg_shared.stack.children import Child
from tests.api.fakes import CT, FakeWorker
from tests.api.running import Running
from tests.api.test_limits import BOUNDARY, part
from tests.api.test_server import next_state, submit, wait_until

PATIENT = ConnectionLimits(look_seconds=0.01)

Start = Callable[..., Running]

HEAD = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=%b\r\n" % BOUNDARY.encode()
)


@pytest.fixture
def start(app: FastAPI, settings: Settings) -> Iterator[Start]:
    """Start a server with other limits."""
    started: list[tuple[Running, socket.socket]] = []

    def begin(**limits: Any) -> Running:
        listener = listen(settings.model_copy(update={"port": 0}))
        server = Server(
            configure(app, grace_seconds=5),
            stopping=app.state.context.stopping,
            limits=dataclasses.replace(PATIENT, **limits),
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running = Running(listener.getsockname()[1], server, thread)
        started.append((running, listener))
        return running

    yield begin
    for running, listener in started:
        running.stop()
        listener.close()


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=20)


def read_all(raw: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    found = b""
    try:
        while more := raw.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


def assert_alive(running: Running) -> None:
    asking = running.connect()
    asking.request("GET", "/livez")
    assert asking.getresponse().status == 200
    asking.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nHost: [::1]\r\nX-Slow: "]
)
def test_a_head_that_does_not_come_ends_the_connection(start: Start, sent: bytes):
    running = start(head_seconds=0.05)
    with connect(running) as silent:
        silent.sendall(sent)
        assert read_all(silent) == b""
    assert_alive(running)


def test_a_body_that_comes_too_slowly_is_given_up(
    start: Start, settings: Settings, services
):
    running = start(window_seconds=0.1, window_bytes=10_000)
    with connect(running) as slow:
        slow.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + part("ct", CT))
        answer = read_all(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:hanseg:problem:too-slow" in answer
    wait_until(lambda: not list(settings.scratch.iterdir()))
    assert services.store.owners() == []


def test_an_answer_that_nobody_reads_is_given_up(start: Start, services):
    running = start(window_seconds=0.1)
    asking = running.connect()
    job_id = submit(asking)
    FakeWorker(services).succeed(job_id, {"large.nii.gz": bytes(16 << 20)})
    asking.close()
    with connect(running) as unread:
        path = f"/v1/jobs/{job_id}/results/large.nii.gz"
        unread.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        unread.recv(1)
        wait_until(lambda: not running.server.server_state.connections)


def test_a_body_in_tiny_chunks_is_refused(start: Start):
    running = start(most_pieces=16)
    with connect(running) as tiny:
        tiny.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 99)
        assert read_all(tiny).startswith(b"HTTP/1.1 400 ")
    assert_alive(running)


def test_beyond_the_bound_a_silent_connection_makes_room(start: Start):
    running = start(connections=3)
    silent = [connect(running) for _ in range(12)]
    assert_alive(running)
    assert len(running.server.server_state.connections) <= 3
    for each in silent:
        each.close()


def test_beyond_the_bound_a_busy_connection_stays(start: Start, worker: FakeWorker):
    running = start(connections=1)
    following = running.connect()
    job_id = submit(following)
    following.request("GET", f"/v1/jobs/{job_id}/events")
    stream = following.getresponse()
    assert next_state(stream) == "queued"
    with connect(running) as waiting:
        head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        waiting.sendall(head)
        worker.begin(job_id)
        assert next_state(stream) == "registering"
        following.close()
        stream.close()
        assert read_all(waiting).startswith(b"HTTP/1.1 200 ")


def test_a_stream_is_older_than_any_deadline(start: Start, worker: FakeWorker):
    running = start(head_seconds=0.02, window_seconds=0.02)
    following = running.connect()
    job_id = submit(following)
    following.request("GET", f"/v1/jobs/{job_id}/events")
    stream = following.getresponse()
    assert next_state(stream) == "queued"
    for _ in range(5):
        assert stream.readline()  # a comment every 20 ms
    worker.begin(job_id)
    assert next_state(stream) == "registering"
    following.close()


def test_when_files_run_out_the_server_pauses_and_goes_on(
    start: Start, monkeypatch, caplog
):
    refused: list[None] = []
    accept = socket.socket.accept

    def accept_later(listener: socket.socket) -> tuple[socket.socket, object]:
        if len(refused) < 3:
            refused.append(None)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(connections, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(socket.socket, "accept", accept_later)
    with caplog.at_level(logging.WARNING):
        assert_alive(start())
    assert len(refused) == 3
    said = [each for each in caplog.messages if "Too many open files" in each]
    assert len(said) == 1


def test_a_process_may_open_as_many_files_as_the_system_allows():
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 512 if hard == resource.RLIM_INFINITY else min(512, hard)
    assert raise_file_limit(512) >= most


def test_a_caller_has_a_share_of_places_and_gives_it_back():
    places = Shares(3, a_caller=2)
    assert [places.take(who) for who in "aaabb"] == [True, True, False, True, False]
    places.give_back("a")
    assert places.take("b")


class TestStreams:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_streams_a_caller": 1})

    def test_a_caller_follows_no_more_than_its_share(self, running: Running):
        first, second = running.connect(), running.connect()
        job_id = submit(first)
        first.request("GET", f"/v1/jobs/{job_id}/events")
        assert next_state(first.getresponse()) == "queued"

        second.request("GET", f"/v1/jobs/{job_id}/events")
        refused = second.getresponse()
        assert refused.status == 429
        assert refused.getheader("Retry-After")
        assert b"too-many-requests" in refused.read()

        second.request("GET", f"/v1/jobs/{job_id}", headers={"Prefer": "wait=2"})
        answered = second.getresponse()
        assert answered.status == 200
        assert answered.getheader("Preference-Applied") is None
        answered.read()

        first.close()
        wait_until(lambda: follows(second, job_id))
        second.close()


def follows(connection: http.client.HTTPConnection, job_id: str) -> bool:
    connection.request("GET", f"/v1/jobs/{job_id}/events")
    answer = connection.getresponse()
    if answer.status == 200:
        return True
    answer.read()
    return False


def test_a_log_is_put_aside_while_its_child_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "MOST_LOG_BYTES", 10)
    log = tmp_path / "api.log"
    child = Child("api", [], {}, log)
    child.trim_log()  # there is none yet
    with log.open("ab") as writer:
        writer.write(b"0123456789 old")
        writer.flush()
        child.trim_log()
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (tmp_path / "api.log.1").read_bytes() == b"0123456789 old"
    assert (tmp_path / "api.log.1").stat().st_mode & 0o777 == 0o600
