"""The registration stage of a job: unpack, register, pack."""

from __future__ import annotations

import logging

import numpy as np

from hanseg_registration.child import register_files
from hanseg_registration.engines.ants import ANTSPYX_VERSION
from hanseg_registration.engines.backends import make_engine, parameters_sha256
from hanseg_registration.geometry.motions import Motion
from hanseg_registration.registration import absent_report, rejected_report
from hanseg_shared.documents import Backend, RegistrationReport
from hanseg_shared.errors import ProcessLostError, RegistrationError
from hanseg_shared.io.dicom.source import SOURCE_FILE, DicomSource
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.memory_limits import stage_limit
from hanseg_shared.result_files import REPORT
from hanseg_shared.settings import Settings
from hanseg_shared.versions import versions_of

logger = logging.getLogger(__name__)

DEADLINE_SHARE = 0.8
"""Share of the stage's time limit that a registration may take at most."""


def register_stage(place: Workplace) -> StageResult:
    """Register the job's MR to its CT; a job without MR gets the verdict `absent`.

    A registration that cannot be computed or takes too long is a verdict, `rejected`,
    and does not fail the job: the organs then come from the CT alone, and the result
    says so. One whose process was killed is tried again first.

    Raises:
        ProcessLostError: It was killed or had too little memory; attempts are left.
        StoreError: The disk is full.
    """
    out = place.folder / "registration"
    out.mkdir()
    report = _register(place).model_copy(
        update={
            "remarks": place.job.remarks,
            "parameters_sha256": _parameters_sha256(place),
        }
    )
    (out / REPORT).write_text(report.model_dump_json(indent=2))
    return StageResult(
        registration=report,
        intermediate=place.publish_files(out),
        versions=_versions(report.backend),
    )


def _parameters_sha256(place: Workplace) -> str | None:
    """Return the SHA-256 of the parameters a registration had; None without an MR."""
    if place.job.input("mr") is None:
        return None
    own = place.services.settings.registration_parameters
    return parameters_sha256(place.job.options.backend, own)


def _versions(backend: Backend | None) -> dict[str, str]:
    """Return the versions that computed; antspyx is always `ANTSPYX_VERSION`."""
    own = versions_of("hanseg-registration", "SimpleITK-SimpleElastix")
    return own | ({"antspyx": ANTSPYX_VERSION} if backend is Backend.ANTS else {})


def _register(place: Workplace) -> RegistrationReport:
    ct, mr = place.fetch_input("ct"), place.fetch_input("mr")
    if ct is None or mr is None:
        return absent_report()
    options, settings = place.job.options, place.services.settings
    engine = make_engine(
        options.backend,
        parameters=settings.registration_parameters,
        ants_python=settings.ants_python,
    )
    try:
        return register_files(
            ct,
            mr,
            place.folder / "registration",
            kind=options.registration,
            given=find_sent_registration(place),
            engine=engine,
            deadline_s=deadline_s(settings),
            memory_bytes=stage_limit(settings.stage_memory_bytes),
            check=place.lease.check,
            progress=place.lease.progress,
        )
    except RegistrationError as error:
        logger.warning("job %s: %s", place.job.id, error)
        return rejected_report(error.message)
    except ProcessLostError as error:
        if not place.is_last_attempt:
            raise
        logger.error("job %s: %s; the MR is left out", place.job.id, error)  # noqa: TRY400
        return rejected_report(
            f"the registration could not be run, {place.job.attempts} times tried: at "
            f"last {error.message}; nothing is known of the MR, send the case again"
        )


def find_sent_registration(place: Workplace) -> Motion | None:
    """Return the registration that was sent along as DICOM, if one was."""
    file = place.fetch_intermediate(SOURCE_FILE)
    if file is None:
        return None
    sent = DicomSource.model_validate_json(file.read_bytes()).registration
    return None if sent is None else np.array(sent.mr_from_ct)


def deadline_s(settings: Settings) -> float:
    """Return the seconds after which a registration is stopped."""
    longest = DEADLINE_SHARE * settings.stage_seconds
    return min(float(settings.registration_seconds), longest)
