"""The key that signs results: made once, kept for its owner only; and public keys.

A private key is a PEM file (PKCS 8) in the data folder, unless the settings bring one.
What a command makes without a service is signed with the user's own.
A public key is written as one line, base64 of its 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.privacy import open_private
from hanseg_shared.settings import Settings
from hanseg_shared.user_key import KEY_FILE, key_id, users_key_file

PEM = "-----BEGIN"
"""How a key begins that is given itself, and not as a path."""

LARGEST_KEY_BYTES = 64 << 10
"""More than any file of keys has."""

_MAKE = "make one with: openssl genpkey -algorithm ed25519"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as one line of base64."""

    text: str

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> PublicKey:
        """Return the public half of a private key."""
        return cls._of_public(key.public_key())

    @classmethod
    def _of_public(cls, key: Ed25519PublicKey) -> PublicKey:
        return cls(base64.b64encode(key.public_bytes_raw()).decode())

    @property
    def id(self) -> str:
        """What people compare: the first 16 digits of the SHA-256 of its bytes."""
        return key_id(self.text)

    def unwrap(self) -> Ed25519PublicKey:
        """Return the key as `cryptography` knows it.

        Raises:
            ValueError: The text is no key.
        """
        try:
            raw = base64.b64decode(self.text, validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from error
        return Ed25519PublicKey.from_public_bytes(raw)


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """Return the key that signs results.

    That of the data folder, or the user's own, is made where there is none yet.

    Raises:
        OptionError: The key that the settings or the data folder have is none.
        OSError: The data folder cannot be written.
    """
    given = settings.signing_key
    if given is None:
        return _key_of_folder(settings.data)
    text = given.get_secret_value()
    if text.startswith(PEM):
        return _parse_private(text.encode(), what="HANSEG_SIGNING_KEY")
    if Path(text) == users_key_file():
        return _key_of_folder(Path(text).parent)
    try:
        content = Path(text).read_bytes()
    except OSError as error:
        raise OptionError(
            f"HANSEG_SIGNING_KEY: {text} cannot be read: {error.strerror}; {_MAKE}"
        ) from error
    return _parse_private(content, what=f"HANSEG_SIGNING_KEY: {text}")


def own_keys(settings: Settings) -> tuple[PublicKey, ...]:
    """Return the public keys of what commands sign with here; nothing is made.

    They are the one that the settings bring, and this user's own.
    """
    found = [] if settings.signing_key is None else [signing_key(settings)]
    if users_key_file().is_file():
        found.append(_key_of_folder(users_key_file().parent))
    return tuple(PublicKey.of(each) for each in found)


def _key_of_folder(data: Path) -> Ed25519PrivateKey:
    """Return the folder's key; of several that make one, one wins and all take it."""
    path = data / KEY_FILE
    if not path.exists():
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = data / f"{KEY_FILE}.{uuid.uuid4().hex}"
        try:
            with open(partial, "xb", opener=open_private) as file:
                file.write(_pem(Ed25519PrivateKey.generate()))
                file.flush()
                os.fsync(file.fileno())
            _link_unless_there(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return _parse_private(path.read_bytes(), what=str(path))


def _link_unless_there(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError:
        return  # another process was faster: its key is whole, and is everyone's


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _parse_private(content: bytes, *, what: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OptionError(f"{what} holds no private key; {_MAKE}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise OptionError(f"{what} holds a key that is not ed25519; {_MAKE}")
    return key


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return the public keys of a file: PEM, or a line of base64 for each.

    Raises:
        InputError: It holds none, or a line that is none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_KEY_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if PEM in text:
        return (_parse_public_pem(text.encode(), path),)
    lines = [line.strip() for line in text.splitlines()]
    keys = [PublicKey(line) for line in lines if line and not line.startswith("#")]
    try:
        for key in keys:
            key.unwrap()
    except ValueError:
        raise InputError(f"{path} has a line that is no public key") from None
    if not keys:
        raise InputError(f"{path} holds no public key")
    return tuple(keys)


def _parse_public_pem(content: bytes, path: Path) -> PublicKey:
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} holds no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} holds a key that is not ed25519")
    return PublicKey._of_public(key)
