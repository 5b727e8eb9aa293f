"""Installs what an environment needs, every file compared with its SHA-256.

``install.py ENVIRONMENT... [--python PYTHON] [--site FOLDER]`` has pip install the
packages that `lock.txt` lists for the environments, and what a site's own lock file
accepts besides. pip solves nothing and takes nothing else. Wheels in the site's folder,
and in those of pip's configuration, are taken before an index's. torch comes first: its
build decides whether NVIDIA's packages are needed. Needs Python alone, and pip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from deploy.lock import OF_THE_SITE, ROOT, Locked, choose, hash_of, read_lock, wheels_of

ASKS_FOR_GPU = """
from importlib.metadata import requires
lines = [line for line in requires("torch") or () if "extra ==" not in line]
print(any(line.startswith(("nvidia-", "cuda-", "triton")) for line in lines))
"""
"""Tells of the torch that is installed whether its build is one for GPUs."""


@dataclass(frozen=True, slots=True)
class Pip:
    """pip, and the folders of wheels that it takes from before it asks an index."""

    command: tuple[str, ...]
    folders: tuple[Path, ...]

    def install(self, packages: Mapping[str, Locked]) -> None:
        """Install packages and nothing else, each file by its hash."""
        packages = prefer_wheels(packages, self.folders)
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "requirements.txt"
            listed.write_text("".join(each.print(n) for n, each in packages.items()))
            links = [f"--find-links={each}" for each in self.folders]
            rules = ["--no-deps", "--require-hashes", "--only-binary=:all:", *links]
            asked = ["install", "--quiet", *rules, "--requirement", str(listed)]
            subprocess.run([*self.command, *asked], check=True)


def prefer_wheels(
    packages: Mapping[str, Locked], folders: Iterable[Path]
) -> dict[str, Locked]:
    """Return packages, those of which folders have a locked wheel with its hash alone.

    pip would prefer a file of the index, whose hash it knows beforehand.
    """
    here: dict[str, set[str]] = {}
    for folder in folders:
        for path, name in wheels_of(folder):
            locked = packages.get(name)
            if locked is None:
                continue
            if (sha256 := hash_of(path)) in locked.hashes and _fits(path):
                here.setdefault(name, set()).add(sha256)
    return {
        name: replace(each, hashes=frozenset(here.get(name, each.hashes)))
        for name, each in packages.items()
    }


def _fits(wheel: Path) -> bool:
    """Whether a wheel is for this version of Python."""
    pythons, abi = wheel.stem.split("-")[-3:-1]
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return abi == "abi3" or bool({own, "py3"} & set(pythons.split(".")))


def folders_of_pip(site: Path) -> tuple[Path, ...]:
    """Return the site's folder of wheels, and those that pip's configuration names."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    named = [*os.environ.get("PIP_FIND_LINKS", "").split(), *told.split()]
    folders = dict.fromkeys([site, *map(Path, named)])
    return tuple(each for each in folders if each.is_dir())


def install(environments: list[str], *, pip: Pip, python: str, site: Path) -> None:
    """Install environments, torch first."""
    chosen = choose(read_lock(site), environments)
    builds = {name for name in chosen if OF_THE_SITE.match(name)}
    if "torch" in builds:
        pip.install({"torch": chosen["torch"]})
        asked = subprocess.run(
            [python, "-c", ASKS_FOR_GPU], check=True, capture_output=True, text=True
        )
        if asked.stdout.strip() == "True":
            pip.install({name: chosen[name] for name in builds})
    pip.install({name: chosen[name] for name in chosen if name not in builds})


def main() -> None:
    """Install what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("environments", nargs="+", metavar="ENVIRONMENT")
    parser.add_argument("--python", help="of the environment; this one by default")
    parser.add_argument("--site", type=Path, default=ROOT / "wheelhouse")
    given = parser.parse_args()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if given.python:
        pip += ["--python", given.python]
    try:
        install(
            given.environments,
            pip=Pip(tuple(pip), folders_of_pip(given.site)),
            python=given.python or sys.executable,
            site=given.site,
        )
    except (subprocess.CalledProcessError, ValueError) as error:
        sys.exit(f"install.py: {error}")


if __name__ == "__main__":
    main()
