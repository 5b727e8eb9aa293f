"""The key that signs: made once, its owner's alone, or the site's."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from hanseg_shared.errors import OptionError
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import PublicKey, signing_key
from hanseg_shared.user_key import KEY_FILE

SITE = Ed25519PrivateKey.from_private_bytes(bytes(32))


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(settings: Settings) -> str:
    return PublicKey.of(signing_key(settings)).text


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path):
    settings = Settings(data=tmp_path / "data")
    first = public(settings)
    assert public(settings) == first
    path = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [KEY_FILE]


def test_workers_that_start_together_get_one_key(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _: False)  # all find none, and make one
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(public, [Settings(data=tmp_path)] * 16))
    assert len(keys) == 1
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_a_site_s_key_is_a_file_or_the_secret_itself(tmp_path):
    path = tmp_path / "site.pem"
    path.write_text(pem(SITE))
    for given in (str(path), pem(SITE)):
        settings = Settings(data=tmp_path, signing_key=given)  # type: ignore[arg-type]
        assert public(settings) == PublicKey.of(SITE).text
    assert not (tmp_path / KEY_FILE).exists()


def test_the_key_is_in_no_text_of_the_settings(tmp_path):
    settings = Settings(data=tmp_path, signing_key=pem(SITE))  # type: ignore[arg-type]
    assert "PRIVATE" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("no key", "no private key"),
        ("", "no private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "not ed25519"),
    ],
)
def test_what_is_no_such_key_is_refused_with_the_remedy(tmp_path, content, why):
    path = tmp_path / "site.pem"
    path.write_text(content)
    settings = Settings(data=tmp_path, signing_key=str(path))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=f"{why}; make one with: openssl"):
        signing_key(settings)


def test_a_file_that_is_not_there_is_named(tmp_path):
    settings = Settings(data=tmp_path, signing_key="/none.pem")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"/none\.pem cannot be read"):
        signing_key(settings)
