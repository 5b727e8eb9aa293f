"""The settings of the bridge: one typed object, read once at the entrance.

Every field but `url`, `key`, `key_file` and `log` is an environment variable with the
prefix ``HANSEG_BRIDGE_``, or a file of that name in a secrets folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hanseg_shared.client.key import clean_key, read_key
from hanseg_shared.documents import DicomOutput, JobOptions
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import sentence_of
from hanseg_shared.logs import LogForm
from hanseg_shared.settings import (
    SECRETS_FOLDERS,
    default_data_folder,
    require_known_settings,
)

PREFIX = "HANSEG_BRIDGE_"

LEAST_SLICES = 20
"""A localiser has one to about ten slices; a head in slices of 5 mm has 40."""


def _default_folder() -> Path:
    """Return the per-user folder for what the bridge keeps."""
    return default_data_folder() / "bridge"


class BridgeSettings(BaseSettings):
    """What the bridge must know; seconds throughout."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        secrets_dir=[folder for folder in SECRETS_FOLDERS if folder.is_dir()],
    )

    url: str = Field(default="http://127.0.0.1:8000", validation_alias="HANSEG_URL")
    """The contouring service."""

    log: LogForm = Field(default="text", validation_alias="HANSEG_LOG")
    """How the bridge logs: text for a person, or one JSON object a line."""

    key: SecretStr | None = Field(default=None, validation_alias="HANSEG_KEY")
    """What opens the service; none where it asks for none."""

    key_file: Path | None = Field(default=None, validation_alias="HANSEG_KEY_FILE")
    """File with that key, which only the bridge's user can read."""

    orthanc_url: str = "http://127.0.0.1:8042"
    """Orthanc's REST API."""

    orthanc_user: str = "hanseg"
    """The user whom Orthanc knows the bridge as."""

    orthanc_password: SecretStr | None = None
    """That user's password; none where Orthanc asks for none."""

    data: Path = Field(default_factory=_default_folder)
    """Folder for what the bridge remembers, and for files that are on their way."""

    poll_seconds: Annotated[float, Field(gt=0)] = 3.0
    """How often Orthanc is asked for changes, and the service for its jobs."""

    mr_wait_seconds: Annotated[float, Field(ge=0)] = 600.0
    """How long a complete CT waits for its MR; then it is contoured alone."""

    minimal_slices: Annotated[int, Field(ge=1)] = LEAST_SLICES
    """A series with fewer slices is neither a planning CT nor its MR."""

    ct_description: str = ""
    """Pattern that the planning CT's description matches, in whatever case; empty takes
    any."""

    mr_description: str = "t1"
    """Pattern that the MR's description, or the name of its protocol, matches."""

    outputs: Annotated[tuple[DicomOutput, ...], NoDecode, Field(min_length=1)] = (
        DicomOutput.RTSTRUCT,
        DicomOutput.REG,
    )
    """What is written for each case and stored in Orthanc; separated by commas."""

    template: str = "default"
    """The template of the structure set, ``name`` or ``name@version``."""

    destinations: Annotated[tuple[str, ...], NoDecode] = ()
    """Names, as Orthanc's configuration has them, of the modalities that results are
    sent on to; separated by commas."""

    attempts: Annotated[int, Field(ge=1)] = 150
    """How often a case is offered to a service that does not answer, or a result to a
    destination; with the pauses between them this is about a day."""

    backlog: bool = False
    """Whether what is in Orthanc when the bridge first starts is contoured too."""

    @field_validator("outputs", "destinations", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's own
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("ct_description", "mr_description")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    @field_validator("template")
    @classmethod
    def _can_be_a_template(cls, value: str) -> str:
        return JobOptions(template=value).template

    @property
    def secret_key(self) -> str | None:
        """The key in clear.

        Raises:
            OptionError: Its file cannot be used.
        """
        if self.key is not None:
            return clean_key(self.key.get_secret_value(), "HANSEG_KEY")
        return None if self.key_file is None else read_key(self.key_file)

    @property
    def password(self) -> str | None:
        """The password in clear."""
        secret = self.orthanc_password
        return None if secret is None else secret.get_secret_value()


def read_bridge_settings() -> BridgeSettings:
    """Return the settings of this process's environment.

    Raises:
        OptionError: A variable has a value that makes no sense, or there is no such
            setting.
    """
    require_known_settings(os.environ)
    try:
        return BridgeSettings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]).upper()
        if not name.startswith("HANSEG_"):
            name = f"{PREFIX}{name}"
        raise OptionError(f"{name}: {sentence_of(fault)}") from None
