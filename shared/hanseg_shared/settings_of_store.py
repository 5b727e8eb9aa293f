"""The settings of a payload store that several hosts share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

CACHE_BYTES = 8 * 1024**3
"""Room for the images and results of some forty cases."""

_CREDENTIALS = re.compile(r"[a-z0-9+]+://[^/]*@")


class StoreSettings(BaseModel):
    """Where payloads are, how S3 is reached, and what this machine keeps of them."""

    store_uri: str | None = None
    """fsspec URI of the payload store; a folder in `data` by default."""

    store_endpoint: str | None = None
    """Address of the S3 service; Amazon's by default."""

    store_region: str | None = None
    """Region of the S3 service."""

    store_key_id: SecretStr | None = None
    """Name of the key for S3; by default what AWS's own variables, files or the
    machine's role say."""

    store_key_secret: SecretStr | None = None
    """The secret of that key: as the secret ``hanseg_store_key_secret``, best."""

    store_authorities: Path | None = None
    """File with the certificates of authorities that vouch for the S3 service."""

    store_encryption: Literal["AES256", "aws:kms"] | None = None
    """What S3 is asked to encrypt payloads with; by default what the bucket says."""

    store_encryption_key: str | None = None
    """Name of the key for `aws:kms`; the bucket's by default."""

    store_cache_bytes: Annotated[int, Field(ge=0)] = CACHE_BYTES
    """How much of what a remote store has is kept on this machine as well."""

    store_redirect_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """For how long an address of S3's is good, at which an owner of a job fetches a
    large result directly; 0 has everything go through the API."""

    @field_validator("store_uri")
    @classmethod
    def _has_no_credentials(cls, value: str | None) -> str | None:
        if value is not None and _CREDENTIALS.match(value):
            raise ValueError(
                "an address holds no credentials; give HANSEG_STORE_KEY_ID and "
                "HANSEG_STORE_KEY_SECRET, best as secrets"
            )
        return value
