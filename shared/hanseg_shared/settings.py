"""The settings of a running service: one typed object, read once at the entrance.

Every field is an environment variable with the prefix ``HANSEG_``, or a file of that
name in a secrets folder (``/run/secrets/hanseg_broker_url``).
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import OptionError

SECRETS_FOLDERS = (Path("/run/hanseg"), Path("/run/secrets"))
"""Where secrets are files: what the containers made among themselves, and what the site
gave to the container engine. The latter wins, and the environment wins over both."""


PREFIX = "HANSEG_"
"""How every variable of ours begins; one that nobody reads is a mistake."""

OF_COMMANDS = frozenset({"HANSEG_URL"})
"""What the command line reads besides the settings: the service to use."""

OF_COMPOSE = frozenset(
    {
        "HANSEG_API_EGRESS",
        "HANSEG_API_MEMORY",
        "HANSEG_BUILD_NETWORK",
        "HANSEG_GPU_COUNT",
        "HANSEG_PIP_CONF",
        "HANSEG_PIP_NO_INDEX",
        "HANSEG_PUBLISH",
        "HANSEG_PYTHON_IMAGE",
        "HANSEG_REDIS_HOST",
        "HANSEG_REDIS_IMAGE",
        "HANSEG_REGISTRATION_MEMORY",
        "HANSEG_REVISION",
        "HANSEG_SEGMENTATION_MEMORY",
        "HANSEG_TAG",
    }
)
"""What docker-compose.yml and the broker's container read; shells may have them."""

OF_DEVELOPERS = frozenset(
    {"HANSEG_FINE_MODEL", "HANSEG_PEER_PYTHON", "HANSEG_REAL_DATA"}
)
"""What tests and benchmarks read, besides everything that begins with `OF_TESTS`."""

OF_TESTS = "HANSEG_TEST_"

BAD_SETTINGS = 2
"""Exit status of a process of the service whose settings are at fault."""

DEFAULT_REGISTRATION_SECONDS = 300
"""A registration takes seconds; after this time something hangs."""


def default_data_folder() -> Path:
    """Return the per-user folder for jobs, following the XDG base directories."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hanseg"


class Settings(BaseSettings):
    """What the API and both workers must know; seconds and bytes throughout."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        secrets_dir=[folder for folder in SECRETS_FOLDERS if folder.is_dir()],
    )

    data: Path = Field(default_factory=default_data_folder)
    """Folder for the database, payloads and scratch files of this machine."""

    database_url: SecretStr | None = None
    """SQLAlchemy URL; SQLite in `data` by default, PostgreSQL for several hosts."""

    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis, which carries job ids and nothing else."""

    store_uri: str | None = None
    """fsspec URI of the payload store; a folder in `data` by default."""

    models: Path | None = None
    """Folder of further model packages, beside those that ship."""

    registration_parameters: Path | None = None
    """Folder of registration parameters to use instead of those that ship."""

    ants_python: Path | None = None
    """Interpreter that has antspyx, for the backend `ants`; by default the worker's."""

    registration_seconds: Annotated[int, Field(ge=1)] = DEFAULT_REGISTRATION_SECONDS
    """Longest time a registration may take: after it the MR is rejected and the organs
    come from the CT alone. It never takes more than 80 % of `stage_seconds`."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto takes a GPU if there is one."""

    inference: InferenceMode = InferenceMode.FAST
    """`exact` runs every tile in float32, as nnU-Net's own predictor would; `fast` runs
    only tiles that organs can lie in, with the fastest engine that agrees with it."""

    second_stage: bool = True
    """Whether a model's finer second stage is run, if it has one. Without it a case
    takes a fraction of the time, and small organs are as coarse as the first stage."""

    engine: Literal["auto", "eager", "winograd", "compile", "openvino"] = "auto"
    """What computes the network: PyTorch, PyTorch's compiler, or OpenVINO where it is
    installed; auto takes the fastest that is ready within seconds."""

    kernels: bool = True
    """Whether compiled kernels compute on the CPU, or plain PyTorch and NumPy."""

    threads: Annotated[int, Field(ge=0)] = 0
    """Threads a worker computes with; 0 takes what the machine has."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000

    stage_seconds: Annotated[int, Field(ge=10)] = 900
    """Longest time one stage of a job may take. Every other limit follows from it:
    the soft limit is 90 % of it, the broker's visibility timeout twice of it."""

    stage_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """Most memory that one stage of a job may hold, beyond which it is stopped; 0 takes
    70 % of what the machine or the container has."""

    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A worker that has not renewed its lease for so long has lost the job."""

    grace_seconds: Annotated[float, Field(ge=0)] = 20.0
    """How long a worker that is told to stop may go on with its stage."""

    reconcile_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How often lost leases and lost messages are looked for."""

    republish_seconds: Annotated[float, Field(gt=0)] = 20.0
    """A due job that nobody claimed for so long is sent to the queue again."""

    attempts: Annotated[int, Field(ge=1)] = 3
    """How often a stage is tried before the job has failed."""

    retention_hours: Annotated[float, Field(gt=0)] = 168.0
    """How long a finished job keeps its files."""

    max_upload_bytes: Annotated[int, Field(gt=0)] = 2 * 1024**3
    """Largest request body."""

    max_voxels: Annotated[int, Field(gt=0)] = 1024 * 1024 * 400
    """Largest image, checked in its header before anything is allocated."""

    check_seconds: Annotated[float, Field(gt=0)] = 90.0
    """Longest time a submission may wait for a look into its images, and the look may
    take; after it the submission is refused."""

    batch_check_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """The same for all cases of a batch together."""

    max_unfinished_jobs: Annotated[int, Field(gt=0)] = 500
    """Beyond so many unfinished jobs, new ones are refused with 503."""

    min_free_bytes: Annotated[int, Field(ge=0)] = 2 * 1024**3
    """Below so much free disk space, new jobs are refused with 503."""

    batch_root: Path | None = None
    """Folder whose sub-folders may be queued by name over HTTP; none by default."""

    def as_environment(self) -> dict[str, str]:
        """Return the settings that were given a value as environment variables."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"{PREFIX}{name.upper()}": _plain(value)
            for name, value in given.items()
            if value is not None
        }

    @property
    def database(self) -> str:
        """The database's URL, with its password if it has one."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        from sqlalchemy import URL

        file = str(self.data / "jobs.sqlite")  # which may need quoting, such as %
        return URL.create("sqlite", database=file).render_as_string()

    @property
    def store(self) -> str:
        """The payload store's URI."""
        return self.store_uri or f"file://{self.data / 'payloads'}"

    @property
    def scratch(self) -> Path:
        """Folder for files that live no longer than one attempt."""
        return self.data / "scratch"


def read_settings() -> Settings:
    """Return the settings of this process's environment.

    Raises:
        OptionError: A variable has a value that makes no sense, or there is no such
            setting.
    """
    require_known_variables(os.environ | dict.fromkeys(_secrets(), "a secret"))
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in fault["loc"]).upper()
        raise OptionError(f"HANSEG_{name}: {fault['msg']}") from None


def settings_of_process() -> Settings:
    """Return the settings, or end this process with one line that says what is wrong.

    For the processes of the service, which have no command line to report errors.
    """
    try:
        return read_settings()
    except OptionError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(BAD_SETTINGS)


def require_known_variables(environment: Mapping[str, str]) -> None:
    """Raise unless every variable of ours is one that something reads.

    Names are compared without regard to case, as `Settings` reads them.

    Raises:
        OptionError: One is not, or is a setting without a value; the message names
            it, and the nearest there is.
    """
    known, ours = known_variables(), setting_variables()
    for name in sorted(environment):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith(OF_TESTS):
            continue
        if upper not in known:
            raise OptionError(f"there is no setting {name}: {_remedy(upper, known)}")
        if upper in ours and not environment[name].strip():
            raise OptionError(f"{name} is empty; give it a value or remove it")


def setting_variables() -> frozenset[str]:
    """Return the variable of every setting."""
    return frozenset(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)


def known_variables() -> frozenset[str]:
    """Return every variable with our prefix that something reads, tests' apart."""
    return setting_variables() | OF_COMMANDS | OF_COMPOSE | OF_DEVELOPERS


def _remedy(name: str, known: frozenset[str]) -> str:
    rests = [each.removeprefix(PREFIX) for each in sorted(known)]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), rests, n=1)
    if near:
        return f"did you mean {PREFIX}{near[0]}?"
    return "remove it; docs/reference/settings.md lists the settings"


def _secrets() -> Iterator[str]:
    """Yield the names of ours among the files of the secrets folders."""
    for folder in SECRETS_FOLDERS:
        with contextlib.suppress(OSError):  # most machines have none
            for path in folder.iterdir():
                if path.name.upper().startswith(PREFIX):
                    yield path.name


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
