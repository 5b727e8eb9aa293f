"""The manifest of a job's results, signed: what the packaging stage writes last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.documents import ResultFile
from hanseg_shared.errors import JobStateError
from hanseg_shared.jobs.record import Job, moment
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.result_files import MANIFEST, SIGNATURE
from hanseg_shared.signing.keys import PublicKey, signing_key
from hanseg_shared.signing.manifest import (
    Manifest,
    ManifestFile,
    ManifestInput,
    sign,
)
from hanseg_shared.versions import versions_of


def write_manifest(
    place: Workplace,
    folder: Path,
    job: Job,
    files: Sequence[ResultFile],
    *,
    finished_at: float,
) -> None:
    """Write the manifest of a job's results and its signature.

    Args:
        place: The packaging stage.
        folder: Where they go.
        job: What was done, the packaging included.
        files: All other files of the result, as they lie in the store.
        finished_at: When they were written, in seconds since 1970.

    Raises:
        OptionError: The key that the settings name cannot be used.
    """
    services = place.services
    key = signing_key(services.settings)
    services.tables.signing_keys.add(PublicKey.of(key).text)
    content = make_manifest(job, files, finished_at=finished_at).canonical()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_text(sign(content, key).model_dump_json() + "\n")


def make_manifest(
    job: Job, files: Sequence[ResultFile], *, finished_at: float
) -> Manifest:
    """Return what is signed of a job.

    Raises:
        JobStateError: The job has no model yet.
    """
    if job.model is None:
        raise JobStateError(f"job {job.id} has no model, and nothing to sign")
    return Manifest(
        job=job.id,
        finished_at=moment(finished_at),
        files=tuple(
            ManifestFile(name=file.name, sha256=file.sha256, bytes=file.bytes)
            for file in sorted(files, key=lambda file: file.name)
        ),
        inputs=tuple(
            ManifestInput(
                role=image.role,
                sha256=image.sha256,
                bytes=image.bytes,
                sent_sha256=image.sent_sha256,
            )
            for image in job.inputs
        ),
        options=job.options,
        model=job.model,
        registration_parameters_sha256=(
            job.registration.parameters_sha256 if job.registration else None
        ),
        template=job.dicom.template if job.dicom else None,
        template_sha256=_template_sha256(job) if job.dicom else None,
        versions=job.versions | versions_of("hanseg-shared", "hanseg-segmentation"),
    )


def _template_sha256(job: Job) -> str | None:
    """Return the SHA-256 of the template's document that was kept with the job."""
    found = (file.sha256 for file in job.intermediate if file.name == TEMPLATE_FILE)
    return next(found, None)
