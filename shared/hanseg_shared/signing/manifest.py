"""The manifest of a result: its files by SHA-256, and all that they were made of.

It is written as canonical JSON (members sorted, no blanks, UTF-8), whose bytes are
signed with ed25519 (RFC 8032). The signature stands beside it, in a file of its own, so
that any tool that knows ed25519 can check the one against the other.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, ValidationError

from hanseg_shared.document import Document
from hanseg_shared.documents import JobOptions, ModelSummary
from hanseg_shared.errors import InputError
from hanseg_shared.faults import first_fault
from hanseg_shared.signing.keys import PublicKey

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

LARGEST_BYTES = 4 << 20
"""A manifest of a thousand files has a fortieth of it; more is refused unread."""


def _require_inside(name: str) -> str:
    parts = PurePosixPath(name).parts
    if name != "/".join(parts) or not parts or ".." in parts or parts[0] == "/":
        raise ValueError(f"{name!r} is no name of a file inside the folder")
    if "\\" in name or not name.isprintable():
        raise ValueError(f"{name!r} has a character that no result's name has")
    return name


FileName = Annotated[str, AfterValidator(_require_inside)]


class ManifestFile(Document):
    """A file of the result."""

    name: FileName
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class ManifestInput(Document):
    """An image that the result was made of.

    Attributes:
        sha256: Of what the service kept.
        sent_sha256: Of what was sent, where that is not what is kept.
    """

    role: str
    sha256: Sha256
    bytes: int
    sent_sha256: Sha256 | None = None


class Manifest(Document):
    """What is signed.

    Attributes:
        format: Version of this layout.
        job: The job's id.
        finished_at: When its results were written, UTC.
        files: Every file of the result but the manifest and its signature.
        inputs: The images.
        options: What was asked for.
        model: Name, version and SHA-256 of the model's weights.
        registration_parameters_sha256: Of the parameter files that the registration
            had; None where none was computed.
        template: The structure set's, as ``name@version``; None without DICOM.
        template_sha256: Of the template's document.
        versions: Of the distributions and libraries that computed.
    """

    format: Literal[1] = 1
    job: str
    finished_at: datetime
    files: tuple[ManifestFile, ...]
    inputs: tuple[ManifestInput, ...]
    options: JobOptions
    model: ModelSummary
    registration_parameters_sha256: Sha256 | None = None
    template: str | None = None
    template_sha256: Sha256 | None = None
    versions: dict[str, str]

    def canonical(self) -> bytes:
        """Return the bytes that are written and signed."""
        members = self.model_dump(mode="json")
        text = json.dumps(
            members, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return text.encode()


class Signature(Document):
    """A signature of a manifest's bytes, and the public key it was made with."""

    algorithm: Literal["ed25519"] = "ed25519"
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]

    def is_of(self, content: bytes, key: PublicKey) -> bool:
        """Whether the key's owner signed the content."""
        try:
            given = base64.b64decode(self.signature, validate=True)
            key.unwrap().verify(given, content)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def sign(content: bytes, key: Ed25519PrivateKey) -> Signature:
    """Return the signature of a manifest's bytes."""
    return Signature(
        key=PublicKey.of(key).text,
        signature=base64.b64encode(key.sign(content)).decode(),
    )


def parse_manifest(content: bytes) -> Manifest:
    """Return the manifest that a file holds.

    Raises:
        InputError: It is none.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"manifest.json is no manifest: {first_fault(error)}"
        ) from None


def parse_signature(content: bytes) -> Signature:
    """Return the signature that a file holds.

    Raises:
        InputError: It is none.
    """
    try:
        return Signature.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"manifest.sig is no signature: {first_fault(error)}"
        ) from None
