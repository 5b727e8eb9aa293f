"""How S3 is reached and told to keep payloads, and what its refusals mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 5
"""How long S3 may take to accept a connection."""

READ_SECONDS = 15
"""How long S3 may be silent in the middle of a request."""

CONNECTIONS = 20
"""Connections that a process keeps open to S3."""

_MEANINGS = {
    "AccessDenied": "its key may not do this; see the policy in the guide",
    "ExpiredToken": "its token has expired",
    "AuthorizationHeaderMalformed": "its region is wrong (HANSEG_STORE_REGION)",
    "Forbidden": "its key is unknown or wrong, or may not do this",
    "403": "its key is unknown or wrong, or may not do this",
    "IllegalLocationConstraintException": "its region is wrong (HANSEG_STORE_REGION)",
    "InvalidAccessKeyId": "its key is unknown (HANSEG_STORE_KEY_ID)",
    "NoSuchBucket": "there is no such bucket (HANSEG_STORE_URI)",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "SignatureDoesNotMatch": "its secret is wrong (HANSEG_STORE_KEY_SECRET)",
}
"""What S3's error codes mean here."""

_WITHOUT_KEY = "there is no key for it (HANSEG_STORE_KEY_ID, HANSEG_STORE_KEY_SECRET)"


@dataclass(frozen=True, slots=True)
class S3Options:
    """What a site says of its S3.

    Attributes:
        endpoint: Its address; None is Amazon's.
        region: Its region; None leaves that to the environment.
        key_id: The name of the key; None leaves key and secret to the environment, to
            the machine's role for example.
        key_secret: The key's secret.
        authorities: File with the certificates of authorities that vouch for it.
        encryption: What it encrypts payloads with: ``AES256`` or ``aws:kms``; None
            leaves that to the bucket.
        encryption_key: The key's name, for ``aws:kms``.
    """

    endpoint: str | None = None
    region: str | None = None
    key_id: str | None = field(default=None, repr=False)
    key_secret: str | None = field(default=None, repr=False)
    authorities: Path | None = None
    encryption: str | None = None
    encryption_key: str | None = None

    @property
    def for_fsspec(self) -> dict[str, Any]:
        """The arguments of s3fs."""
        client: dict[str, Any] = {}
        if self.region is not None:
            client["region_name"] = self.region
        if self.authorities is not None:
            client["verify"] = str(self.authorities)
        return {
            "key": self.key_id,
            "secret": self.key_secret,
            "endpoint_url": self.endpoint,
            "client_kwargs": client,
            "config_kwargs": self._config,
            "use_listings_cache": False,
        }

    @property
    def _config(self) -> dict[str, Any]:
        """The arguments of botocore's `Config`.

        S3 compares each body with the SHA-256 that its signature holds, over TLS too.
        The checksums of 2025 are left out: few servers but Amazon's know them.
        """
        style = "virtual" if self.endpoint is None else "path"
        return {
            "signature_version": "s3v4",
            "s3": {"payload_signing_enabled": True, "addressing_style": style},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "max_pool_connections": CONNECTIONS,
            "retries": {"total_max_attempts": 1},
        }

    @property
    def stored_as(self) -> dict[str, str]:
        """What is said with each payload that is written."""
        said: dict[str, str] = {}
        if self.encryption is not None:
            said["ServerSideEncryption"] = self.encryption
        if self.encryption_key is not None:
            said["SSEKMSKeyId"] = self.encryption_key
        return said


def describe_refusal(error: BaseException) -> str | None:
    """Return why S3 refuses this service's requests; None if it does not."""
    if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError"}:
        return _WITHOUT_KEY
    if (meaning := _MEANINGS.get(_code(error))) is not None:
        return meaning
    return "it may not do this" if isinstance(error, PermissionError) else None


def is_lost_upload(error: BaseException) -> bool:
    """Whether an upload in parts was lost, by a restart of S3 for example."""
    return _code(error) == "NoSuchUpload"


def _code(error: BaseException) -> str:
    response = getattr(error.__cause__ or error, "response", None)
    found = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(found.get("Code", ""))
