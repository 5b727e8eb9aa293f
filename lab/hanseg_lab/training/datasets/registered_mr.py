"""MRs on their CTs' grids, brought there by the product's own registration.

Registration is another distribution, which this one never imports: it is asked as the
command `hanseg register`, or the results of `hanseg batch` are taken. A result is kept
in a folder and made once. A rejected MR is none: the case trains as CT alone.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import ValidationError

from hanseg_lab.training.datasets.dataset import DatasetCase, Finding
from hanseg_lab.training.recipe import RegistrationRecipe
from hanseg_shared.cli import COMMANDS
from hanseg_shared.documents import (
    Backend,
    JobDocument,
    MrVerdict,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import InputError, RegistrationError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.read import read_mask, read_mr
from hanseg_shared.result_files import FIELD_OF_VIEW, RECORD, REGISTERED_MR, REPORT
from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)

COMMAND = (
    sys.executable,
    "-c",
    "from hanseg_shared.cli import main; main()",
    "register",
)
"""The command `hanseg register`, in a process of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredMr:
    """An MR on the CT's grid.

    Attributes:
        mr: In its own units.
        field_of_view: Where it has data, boolean, on the same grid.
    """

    mr: Volume
    field_of_view: Volume


@dataclass(frozen=True, slots=True)
class RegistrationPlan:
    """How MRs are registered.

    Attributes:
        kind: The motion that may be found.
        backend: The library that works.
        results: Folder of results of `hanseg batch`, a sub-folder a case; None
            registers here.
    """

    kind: TransformKind = TransformKind.RIGID
    backend: Backend = Backend.ELASTIX
    results: Path | None = None

    @classmethod
    def of(
        cls, recipe: RegistrationRecipe | None, *, results: Path | None
    ) -> RegistrationPlan:
        """Return the plan of a recipe; one without an MR has nothing to register."""
        chosen = recipe or RegistrationRecipe()
        return cls(chosen.kind, chosen.backend, results)


@dataclass(frozen=True, slots=True)
class RegisteredFolder:
    """What became of a case's MR.

    Attributes:
        folder: Where the registered MR is; None if the case trains as CT alone.
        finding: Why it does, if it has an MR.
    """

    folder: Path | None = None
    finding: Finding | None = None


def register_mr(
    case: DatasetCase,
    cache: Path,
    *,
    plan: RegistrationPlan,
    run: Callable[[Sequence[str]], None] | None = None,
) -> RegisteredFolder:
    """Return the folder of a case's registered MR; what is not there is made.

    Args:
        case: The case.
        cache: Folder for results of registrations that are made here.
        plan: How.
        run: Runs a command; the default starts it as a process.

    Raises:
        InputError: Registration is not installed, or the results that were named
            are not of this case.
        RegistrationError: It failed.
    """
    if case.mr is None:
        return RegisteredFolder()
    if plan.results is not None:
        folder = _named_result(case, plan.results)
    else:
        folder = cache / f"{case.declaration.name}_{case.name}_{_stamp(case, plan)}"
        if not (folder / REPORT).exists():
            (run or _run)(_command(case, folder, plan))
    report = _report(folder / REPORT)
    if report.verdict is MrVerdict.USED:
        return RegisteredFolder(folder)
    why = f"its MR is {report.verdict} ({report.reason}); it trains as CT alone"
    return RegisteredFolder(None, Finding(case.name, why, refuses=False))


def read_registered_mr(folder: Path) -> RegisteredMr:
    """Return the MR that a registration left in a folder.

    Raises:
        InputError: A file cannot be used.
    """
    return RegisteredMr(
        read_mr(folder / REGISTERED_MR), read_mask(folder / FIELD_OF_VIEW)
    )


def _named_result(case: DatasetCase, results: Path) -> Path:
    """Return a case's folder of results, once it is known to be of these images."""
    folder = results / case.name
    if not (folder / REPORT).exists():
        raise InputError(
            f"{folder / REPORT} is missing; run hanseg batch over the data again"
        )
    if (folder / RECORD).exists():
        _require_same_images(case, folder / RECORD)
    return folder


def _require_same_images(case: DatasetCase, record: Path) -> None:
    try:
        job = JobDocument.model_validate_json(record.read_bytes())
    except ValidationError:
        raise InputError(f"{record} is damaged or of another version") from None
    images = [path for path in (case.ct, case.mr) if path is not None]
    if [each.sha256 for each in job.inputs] != [file_sha256(p) for p in images]:
        raise InputError(
            f"{record} is of other images than {case.name}'s; run hanseg batch over "
            "the data again"
        )


def _command(case: DatasetCase, folder: Path, plan: RegistrationPlan) -> list[str]:
    options = ["--registration", plan.kind.value, "--backend", plan.backend.value]
    return [*COMMAND, str(case.ct), str(case.mr), "--out", str(folder), *options]


def _run(command: Sequence[str]) -> None:
    if not entry_points(group=COMMANDS, name="register"):
        raise InputError(
            "registration is not installed here, so no MR can be used; run hanseg "
            "batch over the data where it is, and name its results by --registered"
        )
    logger.info("registering %s", command[len(COMMAND) + 1])
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason is given"]
        raise RegistrationError(
            f"{command[len(COMMAND) + 1]} could not be registered: {lines[-1]}"
        )


def _report(path: Path) -> RegistrationReport:
    try:
        return RegistrationReport.model_validate_json(path.read_bytes())
    except ValidationError:
        raise InputError(f"{path} is damaged or of another version") from None


def _stamp(case: DatasetCase, plan: RegistrationPlan) -> str:
    """Return a short hash that changes with the images and with the plan."""
    parts = [plan.kind.value, plan.backend.value]
    for path in (case.ct, case.mr):
        assert path is not None
        status = path.stat()
        parts.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
