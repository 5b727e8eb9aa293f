"""Nothing depends on a store's lists being up to date; deletion repeats itself."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr

from hanseg_shared.errors import OptionError, ServiceUnavailableError, StoreRefusedError
from hanseg_shared.jobs.store import PayloadStore, open_store
from hanseg_shared.jobs.stores.s3 import S3Options
from hanseg_shared.settings import Settings, read_settings

SHA256 = hashlib.sha256(b"late").hexdigest()


class LateLists(MemoryFileSystem):  # type: ignore[misc]
    """A store whose lists know nothing of what was written."""

    protocol = "late"
    is_up_to_date = False

    def ls(self, path: str, detail: bool = True, **further: Any) -> list[Any]:
        if not type(self).is_up_to_date:
            return []
        return super().ls(path, detail=detail, **further)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> PayloadStore:
    fsspec.register_implementation("late", LateLists, clobber=True)
    monkeypatch.setattr(LateLists, "store", {})
    monkeypatch.setattr(LateLists, "pseudo_dirs", [""])
    monkeypatch.setattr(LateLists, "is_up_to_date", False)
    return PayloadStore("late://bucket")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"late")
    return path


def test_payloads_are_found_by_name(late, image, tmp_path):
    assert late.bind("ours")
    late.put("upload-1", image)
    late.adopt("upload-1", SHA256, new_owner="job-1")
    late.fetch("job-1", SHA256, tmp_path / "copy")

    assert late.exists("job-1", SHA256)
    assert (tmp_path / "copy").read_bytes() == b"late"
    late.require_mark()


def test_a_job_is_deleted_by_the_names_that_its_row_has(late, image):
    late.put("job-1", image)
    late.purge("job-1", [SHA256])

    assert not late.exists("job-1", SHA256)


def test_what_was_not_listed_yet_goes_at_a_later_purge(late, image, monkeypatch):
    late.put("job-1", image)
    late.purge_except("job-1", ())
    assert late.exists("job-1", SHA256)
    monkeypatch.setattr(LateLists, "is_up_to_date", True)
    late.purge_except("job-1", ())

    assert not late.exists("job-1", SHA256)


def test_of_two_databases_that_find_it_empty_one_has_the_store(late):
    class Rival(PayloadStore):
        """Another database's process, that writes in between."""

        def owners(self) -> list[str]:
            late.bind("first")
            return []

    rival = Rival("late://bucket")
    assert rival.bind("second")
    assert not late.bind("first")


class TestSettings:
    def test_credentials_in_the_address_are_refused(self, monkeypatch):
        monkeypatch.setenv("HANSEG_STORE_URI", "s3://key:hush@bucket/x")
        with pytest.raises(OptionError, match="HANSEG_STORE_KEY_ID") as told:
            read_settings()
        assert "hush" not in str(told.value)

    def test_settings_of_s3_are_for_s3(self, tmp_path):
        settings = Settings(data=tmp_path, store_region="eu-central-1")
        with pytest.raises(OptionError, match=r"HANSEG_STORE_REGION is for .*=s3:"):
            open_store(settings)

    def test_secrets_are_in_no_text(self, tmp_path):
        settings = Settings(
            data=tmp_path,
            store_uri="s3://bucket/x",
            store_key_id=SecretStr("who"),
            store_key_secret=SecretStr("hush"),
        )
        assert "hush" not in repr(settings)
        assert "hush" not in repr(open_store(settings))
        assert open_store(settings).name == "bucket/x"

    def test_amazons_own_needs_no_endpoint(self):
        found = S3Options().for_fsspec

        assert found["endpoint_url"] is None
        assert found["config_kwargs"]["s3"]["addressing_style"] == "virtual"


def test_a_refusal_is_a_kind_of_unavailability():
    assert issubclass(StoreRefusedError, ServiceUnavailableError)
