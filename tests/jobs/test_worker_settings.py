"""Settings come from the environment, have safe defaults, and keep their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from hanseg_shared.jobs.pulse import ALIVE_SECONDS
from hanseg_shared.jobs.services import open_services
from hanseg_shared.jobs.worker_child import HEARTBEAT_SECONDS
from hanseg_shared.settings import Settings, default_data_folder


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HANSEG_{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("STAGE_SECONDS", "60", lambda s: s.stage_seconds == 60),
        ("DEVICE", "cuda", lambda s: s.device == "cuda"),
        ("DATA", "/srv/x", lambda s: s.data == Path("/srv/x")),
        ("STORE_URI", "s3://b/x", lambda s: s.store == "s3://b/x"),
        (
            "DATABASE_URL",
            "postgresql://a:b@c/d",
            lambda s: s.database == "postgresql://a:b@c/d",
        ),
    ],
)
def test_every_setting_is_an_environment_variable(monkeypatch, name, value, read):
    monkeypatch.setenv(f"HANSEG_{name}", value)

    assert read(Settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STAGE_SECONDS", "9"),
        ("LEASE_SECONDS", "0"),
        ("ATTEMPTS", "0"),
        ("PORT", "65536"),
        ("DEVICE", "tpu"),
        ("MAX_VOXELS", "many"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"HANSEG_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_passwords_are_not_shown():
    settings = Settings(
        broker_url=SecretStr("redis://:hush@h/0"),
        database_url=SecretStr("postgresql://u:hush@h/d"),
    )

    assert "hush" not in repr(settings)
    assert "hush" not in settings.model_dump_json()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_all_is_kept_in_one_folder_of_the_user_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = Settings()

    assert default_data_folder() == tmp_path / "hanseg"
    assert settings.database == f"sqlite:///{tmp_path}/hanseg/jobs.sqlite"
    assert settings.store == f"file://{tmp_path}/hanseg/payloads"
    assert settings.scratch == tmp_path / "hanseg" / "scratch"


def test_the_service_is_not_open_to_the_network_by_default():
    assert Settings().host == "127.0.0.1"
    assert Settings().batch_root is None


def test_a_lease_outlives_some_missed_renewals_and_is_looked_for_in_time():
    settings = Settings()

    assert settings.lease_seconds >= 3 * settings.reconcile_seconds
    assert settings.stage_seconds > settings.lease_seconds
    assert ALIVE_SECONDS >= 3 * HEARTBEAT_SECONDS


@pytest.mark.parametrize("folder", ["plain", "with space", "ümläut", "50%25", "a#b?c"])
def test_services_open_in_any_folder(tmp_path, folder):
    settings = Settings(data=tmp_path / folder)
    services = open_services(settings, "a-test")
    image = tmp_path / "image"
    image.write_bytes(b"x")
    services.store.put("job", image)
    services.tables.database.ping()
    services.tables.batches.create(None)
    services.tables.close()

    assert (tmp_path / folder / "jobs.sqlite").is_file()
    assert len(list((tmp_path / folder / "payloads" / "job").iterdir())) == 1
