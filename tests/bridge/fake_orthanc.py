"""An Orthanc in memory, behind the part of its REST API that the bridge uses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import httpx
import pydicom
from pydicom.dataset import Dataset

MAIN_TAGS = (
    *("SeriesInstanceUID", "Modality", "SeriesDescription", "ProtocolName"),
    *("SeriesDate", "SeriesTime", "Manufacturer"),
)


@dataclass
class Stored:
    """An instance that it has."""

    content: bytes
    tags: Dataset
    series: str
    study: str


@dataclass
class FakeOrthanc:
    """Answers as Orthanc 1.10 does; a series is stable when `settle` says so."""

    instances: dict[str, Stored] = field(default_factory=dict)
    unstable: set[str] = field(default_factory=set)
    changes: list[dict[str, object]] = field(default_factory=list)
    updates: dict[str, str] = field(default_factory=dict)
    modalities: dict[str, list[str]] = field(default_factory=dict)
    refusing: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    away: bool = False
    asked: list[str] = field(default_factory=list)
    password: str | None = None
    page: int = 7
    _seq: int = 0
    _now: int = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    # what happens to it

    def receive(self, *files: bytes, stable: bool = True) -> None:
        """Take instances, as from a scanner."""
        series = {self._take(file) for file in files}
        if stable:
            self.settle(*series)

    def settle(self, *series: str) -> None:
        """Find series, or all, stable, and tell it."""
        for each in sorted(series or tuple(self.unstable)):
            self.unstable.discard(each)
            self._tell("StableSeries", each)

    def restart(self) -> None:
        """Start again: what was not stable is now, and nothing ever tells it."""
        self.unstable.clear()

    def lose_changes(self) -> None:
        """Have another list of changes, as after its database was made anew."""
        self.changes.clear()
        self._seq = 0

    def delete(self, *instances: str) -> None:
        for each in instances:
            del self.instances[each]

    def of_modality(self, modality: str) -> list[str]:
        return [
            i for i, each in self.instances.items() if each.tags.Modality == modality
        ]

    # what it answers

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        if self.password is not None and "Authorization" not in request.headers:
            return httpx.Response(401)
        self.asked.append(request.url.path)
        parts = request.url.path.strip("/").split("/")
        found = self._routes().get((request.method, parts[0], *parts[2:]))
        assert found is not None, request.url
        if any(each in request.url.path for each in self.damaged):
            return httpx.Response(500, json={"Message": "The file is damaged"})
        try:
            return found(request, parts[1] if len(parts) > 1 else "")
        except KeyError:
            return httpx.Response(404, json={"Message": "Unknown resource"})

    def _routes(self) -> dict[tuple[str, ...], Callable[..., httpx.Response]]:
        return {
            ("GET", "changes"): self._changes,
            ("GET", "studies"): self._studies,
            ("GET", "studies", "series"): self._series_of,
            ("GET", "series"): self._one_series,
            ("GET", "series", "instances"): self._instances_of,
            ("GET", "instances", "file"): self._file,
            ("GET", "instances", "simplified-tags"): self._tags,
            ("POST", "instances"): self._store,
            ("GET", "modalities"): self._modalities,
            ("POST", "modalities", "store"): self._send,
        }

    def _changes(self, request: httpx.Request, _: str) -> httpx.Response:
        asked = request.url.params
        if "last" in asked:
            return httpx.Response(200, json={"Changes": [], "Last": self._seq})
        since, limit = int(asked["since"]), min(int(asked["limit"]), self.page)
        found = [each for each in self.changes if int(str(each["Seq"])) > since]
        page = found[:limit]
        last = page[-1]["Seq"] if page else self._seq
        done = len(found) <= limit
        return httpx.Response(200, json={"Changes": page, "Last": last, "Done": done})

    def _studies(self, request: httpx.Request, study: str) -> httpx.Response:
        if study:
            return httpx.Response(200, json=self._study(study))
        found = sorted({each.study for each in self.instances.values()})
        page = found[int(request.url.params["since"]) :]
        return httpx.Response(200, json=[self._study(each) for each in page[:2]])

    def _study(self, study: str) -> dict[str, object]:
        if study not in {each.study for each in self.instances.values()}:
            raise KeyError(study)
        return {"ID": study, "LastUpdate": self.updates[study]}

    def _series_of(self, _: httpx.Request, study: str) -> httpx.Response:
        self._study(study)
        found = {e.series: e for e in self.instances.values() if e.study == study}
        return httpx.Response(
            200,
            json=[
                {
                    "ID": series,
                    "IsStable": series not in self.unstable,
                    "MainDicomTags": _tags_of(each.tags, MAIN_TAGS),
                }
                for series, each in found.items()
            ],
        )

    def _one_series(self, _: httpx.Request, series: str) -> httpx.Response:
        studies = {each.series: each.study for each in self.instances.values()}
        return httpx.Response(200, json={"ParentStudy": studies[series]})

    def _instances_of(self, _: httpx.Request, series: str) -> httpx.Response:
        found = {i: e for i, e in self.instances.items() if e.series == series}
        if not found:
            raise KeyError(series)
        return httpx.Response(
            200,
            json=[
                {
                    "ID": instance,
                    "MainDicomTags": _tags_of(
                        each.tags, ("SOPInstanceUID", "NumberOfFrames")
                    ),
                }
                for instance, each in found.items()
            ],
        )

    def _file(self, _: httpx.Request, instance: str) -> httpx.Response:
        return httpx.Response(200, content=self.instances[instance].content)

    def _tags(self, _: httpx.Request, instance: str) -> httpx.Response:
        tags = self.instances[instance].tags
        told: dict[str, object] = _tags_of(
            tags, ("FrameOfReferenceUID", "ContentDate", "ContentTime")
        )
        if "RegistrationSequence" in tags:
            told["RegistrationSequence"] = [
                {
                    **_tags_of(item, ("FrameOfReferenceUID",)),
                    "ReferencedImageSequence": [
                        _tags_of(image, ("ReferencedSOPInstanceUID",))
                        for image in item.get("ReferencedImageSequence", ())
                    ],
                }
                for item in tags.RegistrationSequence
            ]
        return httpx.Response(200, json=told)

    def _store(self, request: httpx.Request, _: str) -> httpx.Response:
        self._take(request.read())
        tags = pydicom.dcmread(BytesIO(request.read()))
        return httpx.Response(200, json={"ID": _id(tags.SOPInstanceUID)})

    def _modalities(self, request: httpx.Request, _: str) -> httpx.Response:
        return httpx.Response(200, json=sorted(self.modalities))

    def _send(self, request: httpx.Request, name: str) -> httpx.Response:
        received = self.modalities[name]
        if name in self.refusing:
            return httpx.Response(
                500, json={"Message": "Error in the network protocol"}
            )
        received += [
            i for i in json.loads(request.read())["Resources"] if i in self.instances
        ]
        return httpx.Response(200, json={})

    def _take(self, content: bytes) -> str:
        tags = pydicom.dcmread(BytesIO(content))
        instance = _id(tags.SOPInstanceUID)
        series, study = _id(tags.SeriesInstanceUID), _id(tags.StudyInstanceUID)
        is_new_series = series not in {e.series for e in self.instances.values()}
        if instance not in self.instances:
            self._tell("NewInstance", instance)
        self.instances[instance] = Stored(content, tags, series, study)
        if is_new_series:
            self._tell("NewSeries", series)
        self.unstable.add(series)
        self._now += 1
        self.updates[study] = f"20260101T{self._now:06d}"
        return series

    def _tell(self, kind: str, resource: str) -> None:
        self._seq += 1
        self._now += 1
        self.changes.append(
            {
                "Seq": self._seq,
                "ChangeType": kind,
                "ID": resource,
                "Date": f"20260101T{self._now:06d}",
            }
        )


def _id(uid: str) -> str:
    """Return what Orthanc calls a thing: a hash."""
    digest = hashlib.sha1(uid.encode(), usedforsecurity=False).hexdigest()
    return "-".join(re.findall(".{8}", digest))


def _tags_of(tags: Dataset, names: tuple[str, ...]) -> dict[str, object]:
    return {name: str(tags[name].value) for name in names if name in tags}
