"""The key of commands: where it is found, to what it is sent, and never shown."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner

from hanseg_shared.access import ApiKey
from hanseg_shared.client.client import Client
from hanseg_shared.client.key import find_key, own_key_file
from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.jobs.keys_cli import keys


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HANSEG_KEY", raising=False)
    monkeypatch.delenv("HANSEG_KEY_FILE", raising=False)


def write(path, text: str, mode: int = 0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_is_found_where_it_is_said_to_be(tmp_path, monkeypatch):
    assert find_key() is None
    write(own_key_file(), "own\n")
    assert find_key() == "own"
    monkeypatch.setenv("HANSEG_KEY_FILE", str(write(tmp_path / "named", "named")))
    assert find_key() == "named"
    monkeypatch.setenv("HANSEG_KEY", " given ")
    assert find_key() == "given"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_may_read_is_refused(mode):
    write(own_key_file(), "secret", mode)
    with pytest.raises(OptionError, match="chmod 600") as refused:
        find_key()
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("text", ["", "two words", "é", "a\nb"])
def test_what_is_no_key_is_refused_and_not_repeated(text):
    write(own_key_file(), text)
    with pytest.raises(OptionError, match="holds no key") as refused:
        find_key()
    assert not text.strip() or text not in refused.value.message


def test_a_key_is_sent_with_what_needs_it_only():
    seen = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.url.path] = request.headers.get("authorization")
        return httpx.Response(200, json={"ready": True, "templates": []})

    transport = httpx.MockTransport(answer)
    with Client("http://service", transport=transport, key="k", retry=None) as client:
        assert client.is_ready()
        client.templates()
    assert seen == {"/readyz": None, "/v1/templates": "Bearer k"}


def test_a_service_that_lets_nobody_in_is_told_of(home):
    body = {"type": "t", "title": "A key", "status": 401, "detail": "a key is needed"}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=body))
    with (
        Client("http://service", transport=transport, retry=None) as client,
        pytest.raises(ServiceUnavailableError, match="a key is needed"),
    ):
        client.templates()


def run(*arguments: str, data):
    ran = CliRunner().invoke(keys, [*arguments, "--data", str(data)])
    assert ran.exit_code == 0, ran.output
    return ran


def test_a_key_is_made_listed_and_revoked_by_commands(tmp_path):
    data = tmp_path / "data"
    made = ApiKey.parse(run("create", "--owner", "anna", data=data).stdout.strip())
    assert made is not None
    listed = run("list", "--json", data=data).output
    assert made.id in listed
    assert made.secret not in listed
    run("revoke", made.id, data=data)
    assert '"revoked"' in run("list", "--json", data=data).output


def test_a_key_may_be_written_to_a_file_of_ones_own(tmp_path):
    target = tmp_path / "key"
    shown = run("create", "--owner", "it", "--file", str(target), data=tmp_path / "d")
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_text().strip() not in shown.output
