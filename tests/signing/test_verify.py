"""A folder of results is what the service signed, or it is said what is not."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hanseg_shared import cli
from hanseg_shared.client import Client, session
from hanseg_shared.documents import JobOptions, ModelSummary
from hanseg_shared.errors import InputError, ServiceUnavailableError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import (
    PublicKey,
    own_keys,
    signing_key,
)
from hanseg_shared.signing.manifest import Manifest, ManifestFile, sign
from hanseg_shared.signing.verify import Finding, verify_folder
from hanseg_shared.user_key import users_key_file

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TRUSTED = (PublicKey.of(KEY),)
CONTENT = {"job.json": b"{}", "masks/Brainstem.nii.gz": b"mask", "preview.png": b""}


def manifest_of(folder: Path) -> Manifest:
    return Manifest(
        job="a" * 32,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        files=tuple(
            ManifestFile(
                name=name,
                sha256=file_sha256(folder / name),
                bytes=len(content),
            )
            for name, content in CONTENT.items()
        ),
        inputs=(),
        options=JobOptions(),
        model=ModelSummary(name="default", version="1", sha256="b" * 64),
        versions={"python": "3.11"},
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "results"
    for name, content in CONTENT.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    content = manifest_of(made).canonical()
    (made / "manifest.json").write_bytes(content)
    (made / "manifest.sig").write_text(sign(content, KEY).model_dump_json())
    return made


def findings(folder: Path) -> tuple[Finding, ...]:
    return verify_folder(folder, TRUSTED).findings


def test_what_was_signed_has_no_findings(folder):
    assert findings(folder) == ()


def test_a_changed_byte_is_found(folder):
    (folder / "masks" / "Brainstem.nii.gz").write_bytes(b"musk")
    assert findings(folder) == (Finding("changed", "masks/Brainstem.nii.gz"),)


def test_a_file_that_grew_is_changed(folder):
    (folder / "preview.png").write_bytes(b"x")
    assert findings(folder) == (Finding("changed", "preview.png"),)


def test_missing_and_added_files_are_found(folder):
    (folder / "job.json").unlink()
    (folder / "masks" / "Eye_L.nii.gz").write_bytes(b"planted")
    (folder / "more").symlink_to(folder / "masks")
    assert findings(folder) == (
        Finding("missing", "job.json"),
        Finding("added", "masks/Eye_L.nii.gz"),
        Finding("added", "more"),
    )


def test_a_folder_in_a_file_s_place_is_no_file(folder):
    (folder / "job.json").unlink()
    (folder / "job.json").mkdir()
    assert findings(folder) == (Finding("missing", "job.json"),)


def test_a_manifest_that_was_changed_with_its_file_is_not_what_was_signed(folder):
    (folder / "job.json").write_bytes(b"[]")
    text = (folder / "manifest.json").read_text()
    was = next(f.sha256 for f in manifest_of(folder).files if f.name == "job.json")
    old = json.loads(text)["files"][0]["sha256"]
    (folder / "manifest.json").write_text(text.replace(old, was))
    assert findings(folder) == (Finding("altered manifest", "manifest.json"),)


def test_a_manifest_signed_anew_by_another_is_of_another_key(folder):
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_text(sign(content, OTHER).model_dump_json())
    assert findings(folder) == (Finding("another key", PublicKey.of(OTHER).text),)


def test_a_key_that_only_claims_to_be_trusted_is_found_out(folder):
    forged = sign((folder / "manifest.json").read_bytes(), OTHER).model_copy(
        update={"key": TRUSTED[0].text}
    )
    (folder / "manifest.sig").write_text(forged.model_dump_json())
    assert findings(folder) == (Finding("altered manifest", "manifest.json"),)


def test_the_written_bytes_are_canonical(folder):
    content = (folder / "manifest.json").read_bytes()
    again = json.dumps(
        json.loads(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert content == again.encode()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a\\b", "", "a\nb"])
def test_a_manifest_names_only_files_inside(folder, name):
    content = json.loads((folder / "manifest.json").read_bytes())
    content["files"][0]["name"] = name
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"files\.0\.name"):
        findings(folder)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_results_that_were_not_signed_are_no_input(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match="before results were signed"):
        findings(folder)


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hanseg", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def pem_of(key: Ed25519PrivateKey) -> bytes:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(params=["pem", "line"])
def key_file(request, tmp_path) -> Path:
    path = tmp_path / "key"
    line = f"# the service's\n{TRUSTED[0].text}\n".encode()
    path.write_bytes(pem_of(KEY) if request.param == "pem" else line)
    return path


def test_the_command_says_that_all_is_well(run, folder, key_file):
    status, out, _ = run(folder, "--key", key_file)
    assert status == 0
    assert f"3 files of job {'a' * 32}, key {TRUSTED[0].id}" in out


def test_the_command_ends_with_3_and_names_each_finding(run, folder, key_file):
    (folder / "preview.png").unlink()
    status, out, error = run(folder, "--key", key_file, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 3
    assert (told[0]["kind"], told[0]["what"]) == ("missing", "preview.png")
    assert told[-1]["status"] == 3
    assert error == ""


def test_what_is_no_key_is_bad_input(run, folder, tmp_path):
    path = tmp_path / "key"
    path.write_text("nothing of the kind")
    status, _, error = run(folder, "--key", path)
    assert (status, "no public key" in error) == (2, True)


def test_a_folder_without_a_manifest_is_bad_input(run, tmp_path, key_file):
    assert run(tmp_path, "--key", key_file)[0] == 2


def test_without_a_key_the_service_is_asked(run, folder, monkeypatch):
    keys = {"keys": [{"key": PublicKey.of(OTHER).text}, {"key": TRUSTED[0].text}]}
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=keys)

    @contextmanager
    def running(url):
        with Client(url, transport=httpx.MockTransport(answer)) as client:
            yield client

    monkeypatch.setattr(session, "open_running", running)
    assert run(folder, "--url", "http://service")[0] == 0
    assert asked == ["/v1/signing-keys"]


def users_key() -> Ed25519PrivateKey:
    """Return the user's own key, made where there is none."""
    return signing_key(Settings(signing_key=str(users_key_file())))  # type: ignore[arg-type]


class TestOwnKey:
    """Results of a command that started the service for itself."""

    @pytest.fixture
    def signed(self, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
        own = users_key()
        content = (folder / "manifest.json").read_bytes()
        (folder / "manifest.sig").write_text(sign(content, own).model_dump_json())
        return folder

    @pytest.fixture
    def asked(self, monkeypatch):
        found: list[str | None] = []

        @contextmanager
        def nobody(url):
            found.append(url)
            raise ServiceUnavailableError("no service answers")
            yield

        monkeypatch.setattr(session, "open_running", nobody)
        return found

    def test_is_found_where_no_service_runs(self, run, signed, asked):
        status, out, _ = run(signed)
        assert status == 0
        assert own_keys(Settings())[0].id in out

    def test_does_not_count_where_a_service_is_named(
        self, run, signed, asked, monkeypatch
    ):
        assert run(signed, "--url", "http://x.test")[0] == 4
        monkeypatch.setenv("HANSEG_URL", "http://x.test")
        assert run(signed)[0] == 4

    def test_of_another_user_does_not_count(self, run, signed, asked, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(signed.parent / "other"))
        users_key()
        status, out, err = run(signed)
        assert status == 3
        assert "another key" in out + err

    def test_is_not_made_by_looking(self, run, folder, asked, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
        assert run(folder)[0] == 4
        assert not (tmp_path / "home").exists()


def test_openssl_s_form_of_the_signature_is_raw_ed25519(folder):
    signature = json.loads((folder / "manifest.sig").read_text())["signature"]
    content = (folder / "manifest.json").read_bytes()
    KEY.public_key().verify(base64.b64decode(signature), content)


def test_the_command_needs_no_image_library(folder, tmp_path):
    (tmp_path / "key").write_text(TRUSTED[0].text)
    code = (
        "import sys; from hanseg_shared import cli\n"
        f"sys.argv = ['hanseg', 'verify', {str(folder)!r}, '--key', "
        f"{str(tmp_path / 'key')!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'SimpleITK', 'torch', 'sqlalchemy', 'httpx', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
