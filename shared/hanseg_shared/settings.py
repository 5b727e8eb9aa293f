"""The settings of a running service: one typed object, read once at the entrance.

Every field is an environment variable with the prefix ``HANSEG_``, or a file of that
name in a secrets folder (``/run/secrets/hanseg_broker_url``).
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hanseg_shared.binding import is_loopback
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import OptionError
from hanseg_shared.faults import sentence_of
from hanseg_shared.logs import LogForm
from hanseg_shared.settings_of_database import DatabaseSettings
from hanseg_shared.settings_of_store import StoreSettings
from hanseg_shared.settings_of_webhooks import WebhookSettings

SECRETS_FOLDERS = (Path("/run/hanseg"), Path("/run/secrets"))
"""Where secrets are files: what the containers made among themselves, and what the site
gave to the container engine. The latter wins, and the environment wins over both."""


PREFIX = "HANSEG_"
"""How every variable of ours begins; one that nobody reads is a mistake."""

OF_COMMANDS = frozenset({"HANSEG_KEY", "HANSEG_KEY_FILE", "HANSEG_URL"})
"""What the command line reads besides the settings: the service to use, and a key."""

OF_BRIDGE = frozenset(
    f"HANSEG_BRIDGE_{name}"
    for name in (
        "ATTEMPTS",
        "BACKLOG",
        "CT_DESCRIPTION",
        "DATA",
        "DESTINATIONS",
        "MINIMAL_SLICES",
        "MR_DESCRIPTION",
        "MR_WAIT_SECONDS",
        "ORTHANC_PASSWORD",
        "ORTHANC_URL",
        "ORTHANC_USER",
        "OUTPUTS",
        "POLL_SECONDS",
        "TEMPLATE",
    )
)
"""The settings of the bridge to Orthanc; a test compares them with its own list."""

OF_COMPOSE = frozenset(
    {
        "HANSEG_API_EGRESS",
        "HANSEG_API_MEMORY",
        "HANSEG_BRIDGE_MEMORY",
        "HANSEG_BUILD_NETWORK",
        "HANSEG_DEBIAN_IMAGE",
        "HANSEG_DICOM_PUBLISH",
        "HANSEG_GPU_COUNT",
        "HANSEG_ORTHANC_AET",
        "HANSEG_ORTHANC_EGRESS",
        "HANSEG_ORTHANC_MEMORY",
        "HANSEG_ORTHANC_PUBLISH",
        "HANSEG_NPMRC",
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
        "HANSEG_TLS_FOLDER",
        "HANSEG_TLS_NAMES",
        "HANSEG_TLS_PORT",
        "HANSEG_TLS_PUBLISH",
        "HANSEG_TLS_REDIRECT_PUBLISH",
        "HANSEG_WEBHOOK_EGRESS",
    }
)
"""What docker-compose.yml and the broker's container read; shells may have them."""

OF_CHALLENGE = frozenset(
    f"HANSEG_CHALLENGE_{name}"
    for name in ("CT_ALONE", "MODEL", "REGISTRATION", "SECONDS")
)
"""What the challenge's container reads besides; a test compares them with its own."""

OF_DEVELOPERS = frozenset(
    {"HANSEG_FINE_MODEL", "HANSEG_PEER_PYTHON", "HANSEG_REAL_DATA"}
)
"""What tests and benchmarks read, besides everything that begins with `OF_TESTS`."""

OF_TESTS = "HANSEG_TEST_"

BAD_SETTINGS = 2
"""Exit status of a process of the service whose settings are at fault."""

ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    | {"ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures that a public key verifies: no secret is shared with the provider."""

_ROOT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")

DEFAULT_REGISTRATION_SECONDS = 300
"""A registration takes seconds; after this time something hangs."""


def default_data_folder() -> Path:
    """Return the per-user folder for jobs, following the XDG base directories."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hanseg"


class Settings(DatabaseSettings, StoreSettings, WebhookSettings, BaseSettings):
    """What the API and both workers must know; seconds and bytes throughout."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        secrets_dir=[folder for folder in SECRETS_FOLDERS if folder.is_dir()],
    )

    data: Path = Field(default_factory=default_data_folder)
    """Folder for the database, payloads and scratch files of this machine."""

    signing_key: SecretStr | None = None
    """The private key (ed25519) that signs results: a PEM file, or the PEM itself, as
    the secret ``hanseg_signing_key`` is; by default one that is made in `data`."""

    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis, or RabbitMQ (``amqp://``), which carry job ids and nothing else."""

    broker_ca: Path | None = None
    """Certificates to trust when the broker is reached over TLS (``rediss://``,
    ``amqps://``): a PEM file; by default those of the system."""

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

    access: Literal["auto", "local", "keys"] = "auto"
    """Who may use the API: `keys` asks everybody for a key; `local` lets the one person
    on this machine in without, and is refused on any other address. auto is `local` on
    a loopback address and `keys` on any other."""

    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names under which the service is published, separated by commas; requests to
    other names are refused. Addresses in numbers, localhost and the machine's own name
    need not be listed; `*` allows any."""

    proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or names of reverse proxies whose `X-Forwarded-For` is believed,
    separated by commas."""

    root_path: str | None = None
    """The path below which a reverse proxy publishes the service, such as
    ``/contouring``, whether the proxy takes it off or not; none by default."""

    key_requests_per_second: Annotated[float, Field(gt=0)] = 100.0
    """How many requests a caller with a key may send, for long; ten times as many in
    one burst."""

    key_bytes_per_hour: Annotated[int, Field(gt=0)] = 200 * 1024**3
    """How much a caller with a key may send."""

    first_key: Path | None = None
    """File that the API writes a key with every scope to when it starts and there is no
    key yet. For containers; elsewhere `hanseg keys create` makes the first."""

    key_for_bridge: Path | None = None
    """File that the API writes a key for the bridge to, unless it is there."""

    oidc_issuer: str | None = None
    """Address of the site's identity provider, whose tokens are taken beside keys."""

    oidc_audience: str | None = None
    """The name by which the identity provider knows this service (`aud`)."""

    oidc_jwks_url: str | None = None
    """Where the provider's keys are; by default what its own configuration says."""

    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = ("RS256", "ES256")
    """How tokens may be signed, separated by commas."""

    oidc_owner_claim: str = "sub"
    """The claim that says who somebody is."""

    oidc_scope_claim: str = "scope"
    """The claim that holds the scopes, as a list or separated by blanks."""

    oidc_scope_prefix: str = ""
    """What the names of scopes begin with there, such as `hanseg:`."""

    oidc_leeway_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0
    """By how much the provider's clock may differ."""

    stage_seconds: Annotated[int, Field(ge=10)] = 900
    """Longest time one stage of a job may take; it is told to end after 90 % of it."""

    stage_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """Most memory that one stage of a job may hold, beyond which it is stopped; 0 takes
    70 % of what the machine or the container has."""

    lease_seconds: Annotated[float, Field(gt=0)] = 10.0
    """A worker that has not renewed its lease for so long has lost the job; one that is
    seen to be dead loses it at once."""

    grace_seconds: Annotated[float, Field(ge=0)] = 20.0
    """How long a worker that is told to stop may go on with its stage."""

    reconcile_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often lost leases and lost messages are looked for."""

    republish_seconds: Annotated[float, Field(gt=0)] = 10.0
    """A due job that nobody claimed for so long is sent to the queue again."""

    attempts: Annotated[int, Field(ge=1)] = 3
    """How often a stage is tried before the job has failed."""

    retention_hours: Annotated[float, Field(gt=0)] = 168.0
    """How long a finished job keeps its results; then its names and findings go too."""

    input_hours: Annotated[float, Field(gt=0)] = 72.0
    """How long a finished job keeps the images that were sent, for a retry; never
    longer than its results."""

    record_days: Annotated[float, Field(gt=0)] = 365.0
    """How long it is known that there was a job; never shorter than its results."""

    require_review: bool = False
    """Whether DICOM objects leave the service only once somebody has signed a review of
    them: then those in `reviewed/` do."""

    max_upload_bytes: Annotated[int, Field(gt=0)] = 2 * 1024**3
    """Largest request body."""

    max_voxels: Annotated[int, Field(gt=0)] = 1024 * 1024 * 400
    """Largest image, checked in its header before anything is allocated."""

    check_seconds: Annotated[float, Field(gt=0)] = 90.0
    """Longest time a submission may wait for a look into its images, and the look may
    take; after it the submission is refused."""

    batch_check_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """The same for all cases of a batch together."""

    max_connections: Annotated[int, Field(gt=0)] = 1000
    """Most connections at a time; beyond them, those that ask for nothing are ended."""

    max_streams: Annotated[int, Field(gt=0)] = 100
    """Most event streams, and requests that wait for a job, at a time."""

    max_streams_a_caller: Annotated[int, Field(gt=0)] = 20
    """How many of these one caller may have."""

    max_unfinished_jobs: Annotated[int, Field(gt=0)] = 500
    """Beyond so many unfinished jobs, new ones are refused with 503."""

    max_unfinished_jobs_a_caller: Annotated[int, Field(gt=0)] = 250
    """How many of these one caller with a key may have: beyond, 429. Whoever needs no
    key has the queue alone."""

    max_running_jobs_a_caller: Annotated[int, Field(ge=0)] = 0
    """How many stages of one owner's jobs may be at work at a time, on all workers
    together; 0 for any number. A key may say otherwise for its owner."""

    model_passes: Annotated[int, Field(ge=0)] = 4
    """How often a job may be passed over by workers that have another model loaded and
    jobs for it; 0 loads a model whenever its job's turn comes."""

    max_announced_uploads_a_caller: Annotated[int, Field(gt=0)] = 50
    """How many uploads one caller may announce before their content comes."""

    min_free_bytes: Annotated[int, Field(ge=0)] = 2 * 1024**3
    """Below so much free disk space, new jobs are refused with 507."""

    log: LogForm = "text"
    """How every process logs: text for a person, or one JSON object a line."""

    traces_url: SecretStr | None = None
    """Collector of OpenTelemetry that spans are sent to by OTLP over HTTP, such as
    ``http://collector:4318``; none are made by default. Needs the extra `traces`."""

    batch_root: Path | None = None
    """Folder whose sub-folders may be queued by name over HTTP; none by default."""

    @field_validator("traces_url")
    @classmethod
    def _is_web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("http://", "https://")
        ):
            raise ValueError("give an address that begins with http:// or https://")
        return value

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        path = (value or "").rstrip("/")
        if path and not _ROOT_PATH.fullmatch(path):
            raise ValueError(
                "give a path such as /contouring: a slash, then letters, digits, "
                f"'-', '_', '.' and '~', not {value!r}"
            )
        return path or None

    @field_validator("hosts", "proxies", "oidc_algorithms", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's own
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("oidc_algorithms")
    @classmethod
    def _is_asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if each not in ASYMMETRIC:
                allowed = ", ".join(sorted(ASYMMETRIC))
                raise ValueError(f"{each!r} is none of {allowed}")
        return value

    @property
    def needs_key(self) -> bool:
        """Whether everybody is asked for a key."""
        if self.access == "auto":
            return not is_loopback(self.host)
        return self.access == "keys"

    def as_environment(self) -> dict[str, str]:
        """Return the settings that were given a value as environment variables.

        One that was given none on purpose, or an empty list, has no variable: an empty
        variable is refused as a mistake.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"{PREFIX}{name.upper()}": _plain(value)
            for name, value in given.items()
            if value is not None and value != ()
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
    require_known_settings(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in fault["loc"]).upper()
        raise OptionError(f"HANSEG_{name}: {sentence_of(fault)}") from None


def settings_of_process() -> Settings:
    """Return the settings, or end this process with one line that says what is wrong.

    For the processes of the service, which have no command line to report errors.
    """
    try:
        return read_settings()
    except OptionError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(BAD_SETTINGS)


def require_known_settings(environment: Mapping[str, str]) -> None:
    """Raise unless every variable and every secret of ours is one that is read.

    Raises:
        OptionError: See `require_known_variables`.
    """
    require_known_variables({**environment, **dict.fromkeys(_secrets(), "a secret")})


def require_known_variables(environment: Mapping[str, str]) -> None:
    """Raise unless every variable of ours is one that something reads.

    Names are compared without regard to case, as `Settings` reads them.

    Raises:
        OptionError: One is not, or is a setting without a value; the message names
            it, and the nearest there is.
    """
    known, ours = known_variables(), setting_variables() | OF_BRIDGE
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
    ours = setting_variables() | OF_BRIDGE | OF_CHALLENGE | OF_COMMANDS
    return ours | OF_COMPOSE | OF_DEVELOPERS


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
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
