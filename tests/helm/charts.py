"""The chart rendered by Helm itself, and what is found in what it renders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import helm_python
import yaml

from tests.compose.containers import PROJECT

CHART = PROJECT / "deploy" / "helm"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The manifests of a release called hanseg in the namespace clinic."""

    manifests: tuple[Manifest, ...]

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [each for each in self.manifests if each["kind"] in kinds]

    def find(self, kind: str, name: str) -> Manifest:
        found = {m["metadata"]["name"]: m for m in self.of_kind(kind)}
        return found[name]

    def workloads(self) -> list[Manifest]:
        return self.of_kind("Deployment", "Job")

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Yield the names of workloads and the specs of their pods."""
        for each in self.workloads():
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        for name, pod in self.pods():
            for container in pod["containers"]:
                yield name, container


def render(values: dict[str, Any] | None = None) -> Rendered:
    """Render the chart; what Helm refuses is raised as its own error."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values or {}, name="hanseg", namespace="clinic")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return Rendered(tuple(found))


def variables(container: Manifest) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", ())}
