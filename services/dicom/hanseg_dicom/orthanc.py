"""Orthanc's REST API, as far as the bridge needs it.

Resources are named by Orthanc's own identifiers. Tags come as JSON; nothing here reads
DICOM.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from hanseg_dicom.errors import (
    NotInOrthancError,
    OrthancAccessError,
    OrthancFaultError,
    OrthancRefusedError,
    OrthancUnavailableError,
)
from hanseg_shared.client.address import address, is_this_machine

TIMEOUT = httpx.Timeout(10.0, read=60.0, write=60.0)

SEND_SECONDS = 600.0
"""Longest time until a destination has taken a case's results."""

IDLE_SECONDS = 0.5
"""Orthanc closes connections that are idle for a second."""

_OF_A_PROXY = frozenset({502, 503, 504})
"""How a proxy answers when there is nothing behind it."""

PAGE = 1000
"""Changes, or studies, that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of Orthanc's list of changes.

    Attributes:
        seq: Its number; numbers grow.
        kind: Such as ``StableSeries``.
        resource: What changed.
        date: When, by Orthanc's clock.
    """

    seq: int
    kind: str
    resource: str
    date: str

    @property
    def mark(self) -> str:
        """What tells it from a change of the same number in another database."""
        return f"{self.kind} {self.resource} {self.date}"


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes.

    Attributes:
        last: The number to go on from.
        done: Whether there are no more.
    """

    changes: tuple[Change, ...]
    last: int
    done: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM instance.

    Attributes:
        sop_uid: SOP Instance UID (0008,0018).
        frames: How many slices it has.
    """

    id: str
    sop_uid: str
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a study, without its instances.

    Attributes:
        uid: Series Instance UID (0020,000E).
        stable: Whether nothing arrived for Orthanc's `StableAge`.
        tags: Its main tags, by keyword.
    """

    id: str
    stable: bool
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self.tags.get("SeriesInstanceUID", "")

    @property
    def modality(self) -> str:
        """Modality (0008,0060)."""
        return self.tags.get("Modality", "")


@dataclass(frozen=True, slots=True)
class Study:
    """A study, and when something of it last arrived, by Orthanc's clock."""

    id: str
    last_update: str


class Orthanc:
    """A connection to one Orthanc.

    Args:
        url: Its address.
        user: Whom it knows the bridge as.
        password: None where it asks for none.
        transport: Replaces the network, in tests.

    Every method raises `OrthancUnavailableError` where Orthanc does not answer,
    `OrthancFaultError` where it fails, `NotInOrthancError` where it lacks what is asked
    for, `OrthancRefusedError` where it refuses, and `OrthancAccessError` where it
    refuses the password.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = address(url)
        self._http = httpx.Client(
            base_url=self.url,
            auth=None if password is None else (user, password),
            timeout=TIMEOUT,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
            transport=transport,
            trust_env=not is_this_machine(self.url),
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def last_change(self) -> int:
        """Return the number of the newest change."""
        return int(self._get("/changes", last="")["Last"])

    def changes(self, since: int) -> Changes:
        """Return the changes with higher numbers than `since`, at most `PAGE`."""
        told = self._get("/changes", since=str(max(since, 0)), limit=str(PAGE))
        found = tuple(
            Change(each["Seq"], each["ChangeType"], each["ID"], each["Date"])
            for each in told["Changes"]
        )
        return Changes(found, int(told["Last"]), bool(told["Done"]))

    def studies(self) -> Iterator[Study]:
        """Yield every study."""
        start = 0
        while page := self._get(
            "/studies", expand="", since=str(start), limit=str(PAGE)
        ):
            for each in page:
                yield Study(each["ID"], each.get("LastUpdate", ""))
            start += len(page)

    def study(self, study: str) -> Study:
        """Return a study."""
        return Study(study, self._get(f"/studies/{study}").get("LastUpdate", ""))

    def series_of(self, study: str) -> list[Series]:
        """Return the series of a study."""
        return [
            Series(each["ID"], bool(each["IsStable"]), dict(each["MainDicomTags"]))
            for each in self._get(f"/studies/{study}/series")
        ]

    def study_of(self, series: str) -> str:
        """Return the study that a series belongs to."""
        return str(self._get(f"/series/{series}")["ParentStudy"])

    def instances_of(self, series: str) -> list[Instance]:
        """Return the instances of a series, sorted by SOP Instance UID."""
        found = [
            Instance(
                each["ID"],
                each["MainDicomTags"]["SOPInstanceUID"],
                _frames(each["MainDicomTags"]),
            )
            for each in self._get(f"/series/{series}/instances")
        ]
        return sorted(found, key=lambda each: each.sop_uid)

    def tags(self, instance: str) -> dict[str, Any]:
        """Return the tags of an instance by keyword."""
        return dict(self._get(f"/instances/{instance}/simplified-tags"))

    def copy_file(self, instance: str, sink: IO[bytes]) -> None:
        """Write an instance's DICOM file to a stream."""
        path = f"/instances/{instance}/file"
        with _translate_errors(), self._http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
                _raise(answer)
            for chunk in answer.iter_bytes():
                sink.write(chunk)

    def store(self, path: Path) -> str:
        """Store a DICOM file, whether or not it is there; returns its identifier."""
        with _translate_errors():
            answer = self._http.post("/instances", content=path.read_bytes())
        if answer.is_error:
            _raise(answer)
        return str(answer.json()["ID"])

    def modalities(self) -> list[str]:
        """Return the names of the modalities that Orthanc can send to."""
        return list(self._get("/modalities"))

    def send(self, modality: str, instances: list[str]) -> None:
        """Send instances to a modality, and return when it has them."""
        with _translate_errors():
            try:
                answer = self._http.post(
                    f"/modalities/{modality}/store",
                    json={"Resources": instances, "Synchronous": True},
                    timeout=httpx.Timeout(10.0, read=SEND_SECONDS),
                )
            except httpx.ReadTimeout:
                raise OrthancRefusedError(
                    f"{modality} did not take them within {SEND_SECONDS:.0f} s"
                ) from None
        if answer.is_server_error:  # Orthanc's answer when the peer does not take them
            raise OrthancRefusedError(f"{modality} did not take them{_reason(answer)}")
        if answer.is_error:
            _raise(answer)

    def _get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        with _translate_errors():
            answer = self._http.get(path, params=parameters)
            if answer.is_error:
                _raise(answer)
            return answer.json()


def _frames(tags: dict[str, str]) -> int:
    """Return how many slices an instance has, by Number of Frames (0028,0008)."""
    told = tags.get("NumberOfFrames", "1").strip()
    return int(told) if told.isdigit() else 1


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise OrthancUnavailableError(
            f"Orthanc does not answer: {str(error) or type(error).__name__}"
        ) from error
    except ValueError as error:
        raise OrthancUnavailableError(
            "what answers for Orthanc is no JSON; is it Orthanc?"
        ) from error


def _raise(answer: httpx.Response) -> None:
    path = _road(answer)
    if answer.status_code in {401, 403}:
        raise OrthancAccessError(
            "Orthanc refuses the bridge's user or password; see "
            "HANSEG_BRIDGE_ORTHANC_USER and HANSEG_BRIDGE_ORTHANC_PASSWORD"
        )
    if answer.status_code == 404:
        raise NotInOrthancError(f"Orthanc has no {path}")
    told = f"Orthanc answered {answer.status_code} to {path}{_reason(answer)}"
    if answer.status_code in _OF_A_PROXY:
        raise OrthancUnavailableError(told)
    raise (
        OrthancFaultError(told) if answer.is_server_error else OrthancRefusedError(told)
    )


def _road(answer: httpx.Response) -> str:
    """Return what was asked for without its identifier, which a log need not have."""
    first, *rest = answer.request.url.path.strip("/").split("/")
    return "/".join(["", first, *("..." for _ in rest[:1]), *rest[1:]])


def _reason(answer: httpx.Response) -> str:
    """Return Orthanc's own words for an error, which name no patient."""
    try:
        told = answer.json()
    except ValueError:
        return ""
    message = told.get("Message", "") if isinstance(told, dict) else ""
    return f": {message}" if message else ""
