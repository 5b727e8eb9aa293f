"""Prints what distributions need from elsewhere, one requirement a line.

The images install these in a layer of their own, which stays as it is while only the
project's code changes. Usage: ``requirements.py shared[jobs,s3] services/x[worker]``,
each argument being the folder of a ``pyproject.toml`` and its extras. A requirement of
another distribution of the project, such as ``hanseg-shared[jobs]``, stands for what
that one needs.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

FOLDERS = {
    "hanseg-shared": "shared",
    "hanseg-registration": "services/registration",
    "hanseg-segmentation": "services/segmentation",
    "hanseg-dicom": "services/dicom",
    "hanseg-lab": "lab",
    "hanseg-challenge": "deploy/grand-challenge",
}
"""Where the project's own distributions are, which no package index has."""


def requirements(argument: str) -> list[str]:
    """Return the requirements of a folder such as ``shared[postgres,s3]``.

    Raises:
        KeyError: A distribution has no extra of that name.
        FileNotFoundError: A folder has no ``pyproject.toml``.
    """
    return list(dict.fromkeys(_requirements_of(*parse(argument))))


def _requirements_of(folder: str, extras: list[str]) -> Iterator[str]:
    """Yield what a distribution and its extras need, following our own ones."""
    project = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]
    found = list(project.get("dependencies", []))
    for extra in extras:
        found += project["optional-dependencies"][extra]
    for requirement in found:
        name, own_extras = parse(re.split(r"[<>=!~; ]", requirement)[0])
        if name in FOLDERS:
            yield from _requirements_of(FOLDERS[name], own_extras)
        else:
            yield requirement


def parse(argument: str) -> tuple[str, list[str]]:
    """Split ``name[extra,extra]`` into the name, or folder, and its extras.

    Raises:
        ValueError: The argument has another form.
    """
    match = re.fullmatch(r"([^\[\]]+)(?:\[([\w,-]+)\])?", argument)
    if match is None:
        raise ValueError(f"expected name or name[a,b], got {argument!r}")
    return match[1], match[2].split(",") if match[2] else []


def main() -> None:
    """Print the requirements of every argument, each once, sorted."""
    found = {name for argument in sys.argv[1:] for name in requirements(argument)}
    sys.stdout.write("".join(f"{name}\n" for name in sorted(found)))


if __name__ == "__main__":
    main()
