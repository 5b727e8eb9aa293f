"""What a job is made of: images that can be used, and the files that go with them.

DICOM is converted in a process of its own; what is kept of it are volumes without
anything of the patient, where their slices came from, and, in a file of its own, whose
they are. What was received is not kept.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

from pydantic import BaseModel

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.dicom_case import DicomCaseFiles
from hanseg_segmentation.api.http.exchange import current_exchange
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.intake.checking import check_images, translate_check
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.received import EarlierJob, Submission
from hanseg_segmentation.api.intake.templates import choose_template
from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.documents import InputSummary, JobOptions, Priority
from hanseg_shared.errors import ImageContentError, OptionError
from hanseg_shared.io.case_check import CaseCheck, Role
from hanseg_shared.io.dicom.conversion import Conversion
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE
from hanseg_shared.io.formats import is_dicom_input
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import hash_file
from hanseg_shared.log_filter import keep_out_of_log
from hanseg_shared.traces import part_of, step, submission_id, trace_id_of

_LISTEN_SECONDS = 0.1
"""How soon something that waits for its turn hears that it was halted."""

DICOM = "dicom"
"""The format of an input that was sent as DICOM."""


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """A case that can be contoured.

    Attributes:
        job_id: What the job made of it will be called.
        options: What the caller chose.
        name: The caller's name for it.
        images: What is stored, by role.
        inputs: What the job says of them.
        remarks: What a person should know of them.
        attachments: Further files to store, by name.
        follows: The job whose case it is without the MR.
        priority: How soon it is wanted.
    """

    job_id: str
    options: JobOptions
    name: str | None
    images: Mapping[str, Image]
    inputs: tuple[InputSummary, ...]
    remarks: tuple[str, ...]
    attachments: Mapping[str, Image] = field(default_factory=dict)
    follows: str | None = None
    priority: Priority = Priority.ROUTINE


def prepare(
    context: Context, submission: Submission, folder: Path, halt: Halt
) -> PreparedCase:
    """Return a case whose images were looked at, converted if they are DICOM.

    Args:
        context: What the application works with.
        submission: The case as it was received.
        folder: Where files may lie until they are stored.
        halt: Ends the work.

    Raises:
        ImageError: An image cannot be used.
        OptionError: An option does not go with the images.
    """
    keep_out_of_log(submission.case)
    job_id, exchange = uuid.uuid4().hex, current_exchange()
    if exchange is not None:
        exchange.jobs.append(job_id)
    is_sent_as_dicom = is_dicom(submission.ct.path)
    with as_intake(context.services, job_id), step("prepare", dicom=is_sent_as_dicom):
        if submission.earlier is not None:
            case = _prepare_again(
                context, submission, submission.earlier, halt, job_id=job_id
            )
        elif not is_sent_as_dicom:
            case = _prepare_images(context, submission, halt, job_id=job_id)
        else:
            case = _prepare_dicom(context, submission, folder, halt, job_id=job_id)
        return replace(case, priority=submission.priority)


@contextmanager
def as_intake(services: Services, job_id: str) -> Iterator[None]:
    """Have the steps of the body be parts of the submission that makes a job."""
    with part_of(services.tracer, trace_id_of(job_id), submission_id(job_id)):
        yield


def is_dicom(path: Path) -> bool:
    """Whether what was received is to be read as DICOM."""
    return path.is_dir() or is_dicom_input(path)


def _prepare_images(
    context: Context, submission: Submission, halt: Halt, *, job_id: str
) -> PreparedCase:
    if asked := submission.asks_for_dicom:
        raise OptionError(
            f"{asked} needs a planning CT that was sent as DICOM, and this one is an "
            "image file; send the CT's DICOM series, or leave it out"
        )
    mr = submission.mr
    if mr is not None and is_dicom(mr.path):
        raise ImageContentError(
            "mr is DICOM and ct is an image file; send both as DICOM, or both as "
            "image files"
        )
    images = _by_role(submission.ct, mr)
    known = (submission.ct.payload.sha256, mr.payload.sha256 if mr else None)
    check = _check(context, submission, images, halt, known)
    return PreparedCase(
        job_id,
        submission.options,
        submission.case,
        images,
        check.inputs,
        check.remarks,
    )


def _prepare_dicom(
    context: Context, submission: Submission, folder: Path, halt: Halt, *, job_id: str
) -> PreparedCase:
    template = choose_template(context.services.tables, submission)
    made = Path(mkdtemp(prefix="dicom-", dir=folder))
    done = _convert(context, submission, made, halt)
    mr = _image(made / done.mr, "mr") if done.mr else submission.mr
    images = _by_role(_image(made / done.ct, "ct"), mr)
    check = _check(context, submission, images, halt)
    sent = {"ct": submission.ct, "mr": submission.mr or submission.ct}
    inputs = tuple(
        each if images[each.role] is submission.mr else _as_dicom(each, sent[each.role])
        for each in check.inputs
    )
    return PreparedCase(
        job_id,
        submission.options,
        submission.case,
        images,
        inputs,
        (*check.remarks, *done.remarks),
        {
            SOURCE_FILE: _image(made / done.source),
            IDENTITY_FILE: _image(made / done.identity),
            TEMPLATE_FILE: _write(made / TEMPLATE_FILE, template),
        },
    )


def _convert(
    context: Context, submission: Submission, folder: Path, halt: Halt
) -> Conversion:
    mr, reg = submission.mr, submission.reg
    files = DicomCaseFiles(
        submission.ct.path,
        mr.path if mr else None,
        reg.path if reg else None,
        submission.choice,
    )
    limits = context.limits(submission.options.model)
    with (
        step("convert"),
        take_turn(context.converting, halt),
        translate_check(halt, files.ct, files.mr, files.reg),
        translate_disk_faults(),
    ):
        return context.convert_case(files, folder, limits, halt)


@contextmanager
def take_turn(turns: threading.Semaphore, halt: Halt) -> Iterator[None]:
    """Have a turn for as long as the body runs, unless the halt says stop first."""
    halt.check()
    while not turns.acquire(timeout=_LISTEN_SECONDS):
        halt.check()
    try:
        yield
    finally:
        turns.release()


def _prepare_again(
    context: Context,
    submission: Submission,
    earlier: EarlierJob,
    halt: Halt,
    *,
    job_id: str,
) -> PreparedCase:
    images = _by_role(submission.ct, submission.mr)
    known = {each.role: each for each in earlier.inputs}
    hashes = (images["ct"].payload.sha256, _hash_or_none(images.get("mr")))
    check = _check(context, submission, images, halt, hashes)
    inputs = tuple(
        each.model_copy(
            update={
                "format": known[each.role].format,
                "sent_sha256": known[each.role].sent_sha256,
            }
        )
        for each in check.inputs
    )
    return PreparedCase(
        job_id,
        submission.options,
        submission.case,
        images,
        inputs,
        tuple(dict.fromkeys((*check.remarks, *earlier.remarks))),
        earlier.attachments,
        earlier.follows,
    )


def _check(
    context: Context,
    submission: Submission,
    images: Mapping[str, Image],
    halt: Halt,
    sha256: tuple[str, str | None] | None = None,
) -> CaseCheck:
    mr = images.get("mr")
    with step("check"):
        return check_images(
            context,
            images["ct"].path,
            mr.path if mr else None,
            halt,
            limits=context.limits(submission.options.model),
            sha256=sha256,
        )


def _by_role(ct: Image, mr: Image | None) -> dict[str, Image]:
    return {Role.CT.value: ct} | ({Role.MR.value: mr} if mr else {})


def _as_dicom(summary: InputSummary, sent: Image) -> InputSummary:
    told = {"format": DICOM, "sent_sha256": sent.payload.sha256}
    return summary.model_copy(update=told)


def _image(path: Path, name: str | None = None) -> Image:
    """Return a file of our own, under the name that messages give it."""
    if name is not None:
        path = path.rename(path.with_name(name))
    return Image(path, hash_file(path))


def _write(path: Path, document: BaseModel) -> Image:
    with translate_disk_faults():
        path.touch(mode=0o600)
        path.write_text(document.model_dump_json(), encoding="utf-8")
    return _image(path)


def _hash_or_none(image: Image | None) -> str | None:
    return image.payload.sha256 if image else None
