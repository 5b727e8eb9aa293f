"""MRs on their CTs' grids, registered by the service's own registration.

Either an MR is registered here, in a child process as `hanseg register` does, or the
results of `hanseg batch` are used. Each result is kept in a folder and computed once.
A case whose MR is rejected is used for training with its CT alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hanseg_lab.training.datasets.dataset import DatasetCase, Finding
from hanseg_lab.training.recipe import RegistrationRecipe
from hanseg_registration.child import register_files
from hanseg_registration.engines.backends import make_engine
from hanseg_shared.documents import (
    Backend,
    JobDocument,
    MrVerdict,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import HansegError, InputError, RegistrationError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.check import check_case
from hanseg_shared.io.read import read_mask, read_mr
from hanseg_shared.result_files import FIELD_OF_VIEW, RECORD, REGISTERED_MR, REPORT
from hanseg_shared.settings import read_settings
from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)


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
        backend: The library that registers.
        results: Folder with the results of `hanseg batch`, one sub-folder for each
            case; with None the MRs are registered here.
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
    """Where a case's registered MR is, or why there is none.

    Attributes:
        folder: Folder of the registered MR; None if the case is used without MR.
        finding: Why it is used without MR, if it has one.
    """

    folder: Path | None = None
    finding: Finding | None = None


Register = Callable[[Path, Path, Path, RegistrationPlan], object]
"""Registers an MR to a CT and writes the results: the CT, the MR, the folder, how."""


def run_registration(ct: Path, mr: Path, out: Path, plan: RegistrationPlan) -> None:
    """Register an MR in a child process that can be killed; write the results to `out`.

    Raises:
        HansegError: An image cannot be used, or the registration failed.
    """
    settings = read_settings()
    engine = make_engine(plan.backend, ants_python=settings.ants_python)
    check = check_case(ct, mr)
    out.mkdir(parents=True, exist_ok=True)
    register_files(
        ct,
        mr,
        out,
        kind=plan.kind,
        engine=engine,
        deadline_s=float(settings.registration_seconds),
        remarks=check.remarks,
    )


def register_mr(
    case: DatasetCase,
    cache: Path,
    *,
    plan: RegistrationPlan,
    register: Register = run_registration,
) -> RegisteredFolder:
    """Return the folder of a case's registered MR; register it if there is none yet.

    Args:
        case: The case.
        cache: Folder for results of registrations that are computed here.
        plan: How the MR is registered.
        register: Computes a registration.

    Raises:
        InputError: The given results are not of this case.
        RegistrationError: The registration failed.
    """
    if case.mr is None:
        return RegisteredFolder()
    if plan.results is not None:
        folder = _find_result(case, plan.results)
    else:
        folder = cache / f"{case.declaration.name}_{case.name}_{_stamp(case, plan)}"
        if not (folder / REPORT).exists():
            _register(case.ct, case.mr, folder, plan, register)
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


def _find_result(case: DatasetCase, results: Path) -> Path:
    """Return a case's folder of results, after a check that it is of these images."""
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


def _register(
    ct: Path, mr: Path, folder: Path, plan: RegistrationPlan, register: Register
) -> None:
    logger.info("registering %s", ct)
    try:
        register(ct, mr, folder, plan)
    except HansegError as error:
        raise RegistrationError(
            f"{ct} could not be registered: {error.message}"
        ) from error


def _report(path: Path) -> RegistrationReport:
    try:
        return RegistrationReport.model_validate_json(path.read_bytes())
    except ValidationError:
        raise InputError(f"{path} is damaged or of another version") from None


def _stamp(case: DatasetCase, plan: RegistrationPlan) -> str:
    """Return a short hash of the images' files and of the plan."""
    parts = [plan.kind.value, plan.backend.value]
    for path in (case.ct, case.mr):
        assert path is not None
        status = path.stat()
        parts.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
