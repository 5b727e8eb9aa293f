"""Prints what distributions need from elsewhere, one requirement a line.

The images install these in a layer of their own, which stays as it is while only the
project's code changes. Usage: ``requirements.py shared[postgres] services/x[worker]``,
each argument being the folder of a ``pyproject.toml`` and its extras.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

OWN = "hanseg-"
"""What the names of the project's own distributions begin with."""


def requirements(argument: str) -> list[str]:
    """Return the requirements of a folder such as ``shared[postgres]``.

    Raises:
        KeyError: The distribution has no extra of that name.
        FileNotFoundError: The folder has no ``pyproject.toml``.
    """
    folder, extras = parse(argument)
    project = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]
    found = list(project.get("dependencies", []))
    for extra in extras:
        found += project["optional-dependencies"][extra]
    return [name for name in found if not name.startswith(OWN)]


def parse(argument: str) -> tuple[str, list[str]]:
    """Split ``folder[extra,extra]`` into the folder and its extras.

    Raises:
        ValueError: The argument has another form.
    """
    match = re.fullmatch(r"([^\[\]]+)(?:\[([\w,-]+)\])?", argument)
    if match is None:
        raise ValueError(f"a folder with extras is folder[a,b], got {argument!r}")
    return match[1], match[2].split(",") if match[2] else []


def main() -> None:
    """Print the requirements of every argument, each once, sorted."""
    found = {name for argument in sys.argv[1:] for name in requirements(argument)}
    sys.stdout.write("".join(f"{name}\n" for name in sorted(found)))


if __name__ == "__main__":
    main()
