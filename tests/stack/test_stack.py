"""What the stack refuses before it starts anything, told in one line."""

from __future__ import annotations

import socket

import pytest

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.redis_server import RedisServer, free_port
from hanseg_shared.stack.stack import _lock_folder


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
