"""Kinds of hosts: their workers, and what stages take there, measured or estimated."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hanseg_lab.capacity.simulation import Pool
from hanseg_lab.capacity.workload import StageTime, StageTimes
from hanseg_shared.documents import JobState
from hanseg_shared.errors import OptionError

FILE = Path(__file__).with_name("host_kinds.toml")
"""The kinds that are known, with the basis of their figures."""

Seconds = Annotated[float, Field(ge=0.0)]
Workers = Annotated[int, Field(ge=1, le=64)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Stage(_Strict):
    mean: Seconds
    spread: Seconds

    def time(self) -> StageTime:
        return StageTime(self.mean, self.spread)


class _Kind(_Strict):
    is_measured: bool
    basis: str
    registration: Workers
    segmentation: Workers
    register_: Annotated[_Stage, Field(alias="register")]
    segment: _Stage
    package: _Stage


class _Kinds(_Strict):
    claim_seconds: Seconds
    between_seconds: Seconds
    kinds: dict[str, _Kind]


@dataclass(frozen=True, slots=True)
class HostKind:
    """A kind of host.

    Attributes:
        name: What `hanseg capacity --kind` calls it.
        is_measured: Whether the stages were; else they are estimated.
        basis: How its figures came about, in a sentence.
        registration: Registration workers a host.
        segmentation: Segmentation workers a host.
        times: What stages take while all of the host's workers are at work.
        claim_seconds: See `Pool`.
        between_seconds: See `Pool`.
    """

    name: str
    is_measured: bool
    basis: str
    registration: int
    segmentation: int
    times: StageTimes
    claim_seconds: float
    between_seconds: float

    def pool(self, hosts: int) -> Pool:
        """Return the workers of so many hosts."""
        return Pool(
            registration=hosts * self.registration,
            segmentation=hosts * self.segmentation,
            claim_seconds=self.claim_seconds,
            between_seconds=self.between_seconds,
        )

    @property
    def bound_a_day(self) -> float:
        """Cases a day of one host whose busier kind of worker never waits."""
        slower = max(
            self.times.registration_seconds / self.registration,
            self.times.segmentation_seconds / self.segmentation,
        )
        return 86400.0 / slower

    def with_measured(self, path: Path) -> HostKind:
        """Return it with the stages of a file that ``make bench-service`` wrote.

        Raises:
            OptionError: The file has no run of the default model.
        """
        try:
            stages = json.loads(path.read_text())["default"]["rate"]["stages"]
            found = {each["name"]: _Stage.model_validate(_of(each)) for each in stages}
            times = StageTimes(
                found[JobState.REGISTERING].time(),
                found[JobState.SEGMENTING].time(),
                found[JobState.PACKAGING].time(),
            )
        except (ValueError, LookupError, TypeError) as error:
            raise OptionError(
                f"{path} holds no run of the default model; make one with: "
                "make bench-service"
            ) from error
        return replace(self, times=times, is_measured=True, basis=f"stages of {path}")


def _of(row: dict[str, float]) -> dict[str, float]:
    return {"mean": row["mean"], "spread": row["spread"]}


def read_kinds(path: Path = FILE) -> dict[str, HostKind]:
    """Return the kinds of hosts of a TOML file, by name.

    Raises:
        OptionError: The file is not as it should be; the message says where.
    """
    try:
        document = _Kinds.model_validate(tomllib.loads(path.read_text()))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path}: {error}") from error
    return {
        name: HostKind(
            name,
            kind.is_measured,
            kind.basis,
            kind.registration,
            kind.segmentation,
            StageTimes(kind.register_.time(), kind.segment.time(), kind.package.time()),
            document.claim_seconds,
            document.between_seconds,
        )
        for name, kind in document.kinds.items()
    }
