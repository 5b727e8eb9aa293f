"""What the stack refuses before it starts anything, told in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hanseg_shared.client.session import private_settings
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.keys import KeyClaim, KeyState
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.children import MOST_QUICK_DEATHS, Child
from hanseg_shared.stack.redis_server import RedisServer, free_port
from hanseg_shared.stack.stack import _lock_folder, _put_database_right
from tests.jobs.fakes import make_with_key
from tests.redis_server import answers


def settings(tmp_path, **values) -> Settings:
    return Settings(data=tmp_path / "data", port=free_port(), **values)


def start(stack: Stack) -> None:
    with stack:
        pass


def test_a_taken_port_is_told_with_its_remedy(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = settings(tmp_path).model_copy(update={"port": port})
        with pytest.raises(ServiceUnavailableError, match=f"port {port}.*--port"):
            start(Stack(taken))


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.77", "192.0.2.77 is no address of this machine"),
        ("2001:db8::5", "2001:db8::5 is no address of this machine"),
        ("two words", "there is no"),
    ],
)
def test_a_host_that_cannot_be_listened_at_is_told_and_not_the_port(
    tmp_path, host: str, why: str
):
    wrong = settings(tmp_path).model_copy(update={"host": host})
    with pytest.raises(ServiceUnavailableError, match=f"{why}.*--host$"):
        start(Stack(wrong))


def test_a_full_disk_is_told_with_its_numbers(tmp_path):
    full = settings(tmp_path, min_free_bytes=10**18)
    with pytest.raises(ServiceUnavailableError, match=r"disk is full.*GB free"):
        start(Stack(full))


def test_a_data_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(ServiceUnavailableError, match="cannot be used"):
        start(Stack(settings(tmp_path)))


def test_two_services_do_not_share_a_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    held = _lock_folder(tmp_path / "data")
    with pytest.raises(ServiceUnavailableError, match="another service"):
        start(Stack(settings(tmp_path)))
    held.close()


def test_nothing_is_started_when_a_check_fails(tmp_path, monkeypatch):
    class Entry:
        name = "segmentation"

        def load(self):
            def check(_):
                raise ServiceUnavailableError("the model is missing")

            return check

    monkeypatch.setattr("hanseg_shared.stack.stack.entry_points", lambda **_: [Entry()])
    stack = Stack(settings(tmp_path))
    with pytest.raises(ServiceUnavailableError, match="model is missing"):
        start(stack)
    assert stack.children == {}


def test_the_brokers_password_is_neither_in_its_command_nor_in_its_repr(tmp_path):
    server = RedisServer.in_folder(tmp_path)
    assert server.password in server.configuration
    assert not any(server.password in word for word in server.command)
    assert server.password not in repr(server)


def test_a_folder_with_spaces_and_quotes_reaches_redis_whole(tmp_path):
    odd = tmp_path / 'Anna Meier "old" \\ x'
    server = RedisServer.in_folder(odd)
    redis = subprocess.Popen(
        server.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert redis.stdin is not None
        redis.stdin.write(server.configuration.encode())
        redis.stdin.close()
        deadline = time.monotonic() + 20
        while not answers(server):
            assert redis.poll() is None, "Redis refuses its configuration"
            assert time.monotonic() < deadline
        assert (odd / "appendonlydir").exists() or list(odd.iterdir())
    finally:
        redis.kill()
        redis.wait()


def test_a_new_data_folder_is_nobody_elses_business(tmp_path):
    with pytest.raises(ServiceUnavailableError):
        start(Stack(settings(tmp_path, min_free_bytes=10**18)))
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_data_folder_without_write_permission_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ServiceUnavailableError, match="Permission denied"):
        start(Stack(settings(tmp_path, min_free_bytes=0)))


def test_port_0_is_any_free_port_and_all_know_it(tmp_path):
    stack = Stack(settings(tmp_path).model_copy(update={"port": 0}))
    assert stack.settings.port > 0
    assert stack.url == f"http://127.0.0.1:{stack.settings.port}"


def test_an_ipv6_address_is_written_in_brackets(tmp_path):
    stack = Stack(settings(tmp_path, host="::1"))
    assert stack.url == f"http://[::1]:{stack.settings.port}"


def test_a_child_that_cannot_be_kept_alive_ends_the_stack_with_its_reason(tmp_path):
    said: list[str] = []
    stack = Stack(settings(tmp_path), announce=said.append)
    mumbler = [sys.executable, "-c", "print('no CUDA device'); raise SystemExit(3)"]
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    hopeless = Child("segmentation", mumbler, os.environ, tmp_path / "a.log")
    healthy = Child("api", sleeper, os.environ, tmp_path / "b.log")
    hopeless.quick_deaths = MOST_QUICK_DEATHS - 1
    for child in (hopeless, healthy):
        stack._add(child)
    api = psutil.Process(healthy.pid)
    stack._watcher.start()
    stack._watcher.join(timeout=30)
    assert not psutil.wait_procs([api], timeout=30)[1]
    with pytest.raises(ServiceUnavailableError, match="no CUDA device"):
        stack.check()
    assert said == []
    stack._stop()


def test_a_worker_that_refuses_to_start_ends_the_stack_at_once(tmp_path):
    said: list[str] = []
    stack = Stack(settings(tmp_path), announce=said.append)
    refusal = (
        "print('hanseg: the segmentation worker cannot start: model.json is damaged');"
        "raise SystemExit(78)"
    )
    command = [sys.executable, "-c", refusal]
    stack._add(Child("segmentation", command, os.environ, tmp_path / "a.log"))
    stack._watcher.start()
    stack._watcher.join(timeout=30)
    with pytest.raises(
        ServiceUnavailableError,
        match=r"^the segmentation worker cannot start: model.json is damaged \(log:",
    ):
        stack.check()
    assert said == []
    stack._stop()


def test_a_stack_for_one_command_shares_nothing_with_the_hospitals_service(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HANSEG_DATABASE_URL", "postgresql://hospital/jobs")
    monkeypatch.setenv("HANSEG_STORE_URI", "s3://hospital/images")
    monkeypatch.setenv("HANSEG_THREADS", "1")
    own = private_settings(Settings(), tmp_path, port=1234)
    told = Stack(own)._environment(RedisServer.in_folder(tmp_path / "redis"))
    assert told["HANSEG_DATABASE_URL"] == f"sqlite:///{tmp_path}/jobs.sqlite"
    assert told["HANSEG_STORE_URI"] == f"file://{tmp_path}/payloads"
    assert told["HANSEG_DATA"] == str(tmp_path)
    assert told["HANSEG_THREADS"] == "1"


def test_keys_of_requests_that_died_with_the_last_service_are_free_again(tmp_path):
    chosen = settings(tmp_path)
    tables = open_tables(chosen)
    tables.keys.reserve("dead", "fingerprint")
    job_id = make_with_key(tables, "settled", "fingerprint")
    _put_database_right(chosen)
    assert isinstance(tables.keys.reserve("dead", "fingerprint"), KeyClaim)
    settled = tables.keys.reserve("settled", "fingerprint")
    assert settled == KeyState("fingerprint", job_id)
    tables.close()


def test_a_private_stack_hears_nothing_of_the_callers_service(tmp_path, monkeypatch):
    monkeypatch.setenv("HANSEG_HOSTS", "hospital.example")
    monkeypatch.setenv("HANSEG_FIRST_KEY", "/run/key")
    monkeypatch.setenv("HANSEG_THREADS", "1")
    own = private_settings(settings(tmp_path), tmp_path / "own", port=1)
    told = Stack(own)._environment(RedisServer.in_folder(tmp_path))
    assert not {"HANSEG_HOSTS", "HANSEG_FIRST_KEY"} & told.keys()
    assert told["HANSEG_THREADS"] == "1"
