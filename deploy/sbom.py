"""Writes what each image holds: a CycloneDX document an image, and its licences.

Usage: ``sbom.py FOLDER``, in an environment that has all distributions. What an image
holds follows from its requirements and those of what they bring, as the installed
metadata state them; no other package of the environment is listed. torch and what its
builds for GPUs bring are those of this environment. Of the page it lists what its
scripts are made of, from its lock file; the tools that build it stay outside.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).parents[1]))
from deploy.lock import ENVIRONMENTS
from deploy.requirements import requirements

IMAGES = {
    "hanseg-api": ENVIRONMENTS["api"],
    "hanseg-registration": ENVIRONMENTS["registration"],
    "hanseg-segmentation": ENVIRONMENTS["worker"],
    "hanseg-dicom": ENVIRONMENTS["bridge"],
    "hanseg-challenge": ENVIRONMENTS["challenge"],
}
"""The images of the project and what each is built of."""

PAGES = {"hanseg-api": Path(__file__).parents[1] / "services/segmentation/web"}
"""The images that hold a page, and where its sources are."""

COPYLEFT = re.compile(r"\b(?:A?GPL|GNU (?:Affero )?General Public)", re.IGNORECASE)
"""Licences that what ships must not have; the Lesser GPL lets itself be linked."""


def find_packages(arguments: Iterable[str]) -> dict[str, Distribution]:
    """Return all that an image holds by canonical name, what it brings included.

    Raises:
        PackageNotFoundError: Something that it asks for is not installed here.
    """
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    due = [Requirement(line) for each in arguments for line in requirements(each)]
    while due:
        wanted = due.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in asked:
                asked.add((name, extra))
                found[name] = distribution(name)
                due += _needs(found[name], extra)
    return dict(sorted(found.items()))


def _needs(package: Distribution, extra: str) -> Iterator[Requirement]:
    for line in package.requires or ():
        need = Requirement(line)
        plain = need.marker is None or need.marker.evaluate({"extra": ""})
        if plain != bool(extra) and (
            need.marker is None or need.marker.evaluate({"extra": extra})
        ):
            yield need


@dataclass(frozen=True, slots=True)
class PagePackage:
    """A package of npm that is built into the page.

    Attributes:
        needs: The names of the packages that it needs.
        sha512: Of its archive, in hexadecimal digits.
    """

    name: str
    version: str
    licence: str
    sha512: str
    needs: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Its package URL."""
        return f"pkg:npm/{self.name.replace('@', '%40')}@{self.version}"

    def component(self) -> dict[str, Any]:
        """Return it as a component of CycloneDX."""
        return {
            "bom-ref": self.reference,
            "type": "library",
            "name": self.name,
            "version": self.version,
            "purl": self.reference,
            "licenses": [_licence_choice(self.licence)],
            "hashes": [{"alg": "SHA-512", "content": self.sha512}],
        }


def _licence_choice(licence: str) -> dict[str, Any]:
    """Return a licence as CycloneDX has it: one of SPDX, or an expression."""
    if " " in licence:
        return {"expression": licence}
    return {"license": {"id": licence}}


def find_page_packages(sources: Path) -> list[PagePackage]:
    """Return what ships of a page by its lock file: no tool that only builds it.

    What is optional there are programs for one kind of machine: no part of scripts.
    """
    lock = json.loads((sources / "package-lock.json").read_text("utf-8"))
    return [
        PagePackage(
            name=path.rpartition("node_modules/")[2],
            version=each["version"],
            licence=each.get("license", "not stated"),
            sha512=base64.b64decode(each["integrity"].partition("-")[2]).hex(),
            needs=tuple(each.get("dependencies", ())),
        )
        for path, each in sorted(lock["packages"].items())
        if path and not (each.get("dev") or each.get("optional"))
    ]


def licence_of(package: Distribution) -> str:
    """Return a package's licence as its metadata state it, in one line."""
    metadata = package.metadata
    classified = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::") and each != "License :: OSI Approved"
    ]
    stated = (metadata["License-Expression"] or "").strip()
    text = (metadata["License"] or "").strip().partition("\n")[0][:80]
    return stated or "; ".join(classified) or text or "not stated"


def is_copyleft(licence: str) -> bool:
    """Whether a licence would bind what ships; one of several to choose from does not.

    An SPDX exception, such as the runtime library's of GCC, is none of ours to judge:
    it counts as a choice.
    """
    choices = re.split(r"\bOR\b", licence)
    return all(COPYLEFT.search(each) and " WITH " not in each for each in choices)


def write_sboms(folder: Path) -> None:
    """Write an image's document and list of licences for every image."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = _describe_environment()
    for image, arguments in IMAGES.items():
        packages = find_packages(arguments)
        page = find_page_packages(PAGES[image]) if image in PAGES else []
        document = _with_page(_choose(whole, image, set(packages)), page)
        content = json.dumps(document, indent=2)
        (folder / f"{image}.cdx.json").write_text(content + "\n")
        lines = [
            f"{name}\t{each.version}\t{licence_of(each)}\n"
            for name, each in packages.items()
        ]
        lines += [f"npm:{e.name}\t{e.version}\t{e.licence}\n" for e in page]
        (folder / f"{image}.licences.tsv").write_text("".join(lines))
        sys.stdout.write(f"{image}: {len(lines)} packages\n")


def _describe_environment() -> dict[str, Any]:
    tool = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--output-reproducible",
    ]
    printed = subprocess.run(
        [*tool, "--output-format", "JSON", sys.executable],
        check=True,
        capture_output=True,
    )
    document: dict[str, Any] = json.loads(printed.stdout)
    return document


def _choose(whole: dict[str, Any], image: str, names: set[str]) -> dict[str, Any]:
    """Return the document of an image: only the components that it holds."""
    components = [
        each
        for each in whole.get("components", ())
        if canonicalize_name(each["name"]) in names
    ]
    kept = {each["bom-ref"] for each in components}
    dependencies = [
        each | {"dependsOn": [to for to in each.get("dependsOn", ()) if to in kept]}
        for each in whole.get("dependencies", ())
        if each["ref"] in kept
    ]
    described = {"type": "container", "name": image, "bom-ref": image}
    root = {"ref": image, "dependsOn": sorted(kept)}
    return whole | {
        "metadata": whole.get("metadata", {}) | {"component": described},
        "components": components,
        "dependencies": [root, *dependencies],
    }


def _with_page(document: dict[str, Any], page: Sequence[PagePackage]) -> dict[str, Any]:
    """Return an image's document with the packages of its page."""
    places = {each.name: each.reference for each in page}
    root, *others = document["dependencies"]
    needed = [
        {
            "ref": each.reference,
            "dependsOn": [places[n] for n in each.needs if n in places],
        }
        for each in page
    ]
    held = [*root["dependsOn"], *places.values()]
    return document | {
        "components": [*document["components"], *(each.component() for each in page)],
        "dependencies": [root | {"dependsOn": held}, *others, *needed],
    }


def main() -> None:
    """Write the documents to the folder that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: sbom.py FOLDER")
    try:
        write_sboms(Path(sys.argv[1]))
    except PackageNotFoundError as error:
        sys.exit(f"{error} is not installed here; run make setup first")


if __name__ == "__main__":
    main()
