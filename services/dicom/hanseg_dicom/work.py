"""What becomes of a case: sent, followed, fetched, stored, sent on.

Each step's intention or outcome is in the ledger before the next begins. A step that is
done twice, because the bridge was killed in between, changes nothing: the service makes
one job of an idempotency key, Orthanc keeps one instance of a UID.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from hanseg_dicom.archive import write_archive
from hanseg_dicom.errors import (
    NotInOrthancError,
    OrthancRefusedError,
    OrthancUnavailableError,
)
from hanseg_dicom.ledger import Ledger
from hanseg_dicom.orthanc import Orthanc
from hanseg_dicom.plan import OF_A_USED_MR
from hanseg_dicom.records import Case, CaseState, Delivery, DeliveryState
from hanseg_dicom.settings import BridgeSettings
from hanseg_dicom.uids import series_uid_of
from hanseg_shared.client.answers import error_of
from hanseg_shared.client.client import Client
from hanseg_shared.client.request import JobRequest
from hanseg_shared.documents import DicomOutput, JobDocument, JobState
from hanseg_shared.errors import (
    HansegError,
    JobNotFoundError,
    JobStateError,
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.result_files import (
    LABELMAP,
    MR_SERIES,
    REG,
    REVIEW_PAGE,
    REVIEWED,
    RTSTRUCT,
    SEG,
)

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5.0
"""After a first failure; twice as long after each further one, up to the longest."""

LONGEST_PAUSE_SECONDS = 600.0

REVIEW_SECONDS = 30.0
"""How often it is asked whether a review was signed; people take hours."""

RETRIES = 2
"""How often the service is asked to do a job again that failed by its own fault."""

CASES = "cases"
"""Sub-folder of files that are on their way."""

FILES = {
    DicomOutput.RTSTRUCT: RTSTRUCT,
    DicomOutput.SEG: SEG,
    DicomOutput.LABELMAP: LABELMAP,
    DicomOutput.REG: REG,
    DicomOutput.MR: f"{MR_SERIES}/",
    DicomOutput.REPORT: REVIEW_PAGE,
}
"""What each output is called among the results; a name that ends in / is a folder."""


def pause_seconds(attempts: int) -> float:
    """Return how long to wait after so many failures in a row."""
    doublings = min(attempts, 16)
    return float(min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS))


class Work:
    """Takes cases from Orthanc to the service and back.

    Args:
        orthanc: Where images are and results belong.
        client: The contouring service.
        ledger: Where everything is remembered.
        settings: What is wanted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        orthanc: Orthanc,
        client: Client,
        ledger: Ledger,
        settings: BridgeSettings,
        clock: Callable[[], float],
    ) -> None:
        self._orthanc = orthanc
        self._client = client
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._steps: dict[CaseState, Callable[[Case], None]] = {
            CaseState.FOUND: self._submit,
            CaseState.SUBMITTING: self._submit,
            CaseState.SUBMITTED: self._follow,
            CaseState.FETCHED: self._store,
            CaseState.STORED: self._send_on,
        }

    def advance(self, key: str) -> None:
        """Do a case's steps until one has to wait, or the case has ended.

        Raises:
            OrthancUnavailableError: Orthanc does not answer; the case stays as it was.
        """
        while True:
            case = self._ledger.case(key)
            step = self._steps.get(case.state)
            if step is None or case.due_at > self._clock():
                return
            try:
                step(case)
            except OrthancUnavailableError:
                raise
            except (ServiceUnavailableError, StoreError) as error:
                self._fail_for_now(case, error)
            except HansegError as error:
                self._fail(case, error.message)
            except OSError as error:
                what = f"the data folder {self._settings.data} cannot be used"
                why = StoreError(f"{what}: {error.strerror or error}")
                self._fail_for_now(case, why)

    # sent

    def _submit(self, case: Case) -> None:
        if not self._client.is_ready():  # before Orthanc is asked for hundreds of files
            raise ServiceUnavailableError(f"no service is ready at {self._client.url}")
        folder = self._folder(case)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            for name, instances in case.plan.parts.items():
                write_archive(self._orthanc, instances, folder / f"{name}.zip")
        except NotInOrthancError:
            self._give_up_lost(case)
            return
        parts = {name: folder / f"{name}.zip" for name in case.plan.parts}
        request = JobRequest(
            parts["ct"],
            parts.get("mr"),
            case.options,
            case=case.name,
            reg=parts.get("reg"),
        )
        self._ledger.submitting(case.key, self._clock())
        try:
            job = self._client.submit(request, idempotency_key=case.idempotency_key)
        except JobStateError as error:  # the first attempt still holds the key
            raise ServiceUnavailableError(error.message) from error
        self._ledger.submitted(case.key, job.id, self._clock(), retries=case.retries)
        shutil.rmtree(folder, ignore_errors=True)
        logger.info("%s: job %s", case.name, job.id)

    def _give_up_lost(self, case: Case) -> None:
        """Leave a case whose images are gone, unless it has a job already."""
        jobs: list[JobDocument] = []
        if case.state is CaseState.SUBMITTING:
            jobs, _ = self._client.jobs(limit=1, filters={"case": case.name})
        if jobs:
            job = jobs[0].id
            self._ledger.submitted(case.key, job, self._clock(), retries=case.retries)
            return
        reason = "its images are no longer in Orthanc"
        self._end(case, CaseState.SUPERSEDED, reason)
        self._ledger.note_again(case.study, now=self._clock())

    # followed and fetched

    def _follow(self, case: Case) -> None:
        try:
            job = self._client.job(str(case.job))
        except JobNotFoundError:
            self._send_again(case)
            return
        if not job.state.is_final:
            due_at = self._clock() + self._settings.poll_seconds
            self._ledger.postpone(case.key, due_at, failed=False, reason="")
        elif job.state is JobState.SUCCEEDED:
            self._fetch(case, job)
        else:
            self._retry(case, job)

    def _send_again(self, case: Case) -> None:
        """Send a case again whose job is unknown: the service has another database."""
        if case.retries >= RETRIES:
            self._fail(case, f"the service does not know job {case.job} any more")
            return
        due_at = self._clock() + FIRST_PAUSE_SECONDS
        self._ledger.lost(case.key, due_at, retries=case.retries + 1)
        logger.warning("%s: the service does not know job %s", case.name, case.job)

    def _retry(self, case: Case, job: JobDocument) -> None:
        """Have a failed job done again where it is the service's own fault."""
        reason = error_of(job.error).message if job.error else f"it is {job.state}"
        its_fault = job.state is JobState.FAILED and _is_servers(job)
        if not its_fault or case.retries >= RETRIES:
            self._fail(case, f"job {job.id} {job.state}: {reason}")
            return
        again = self._client.retry(job.id)
        self._ledger.submitted(
            case.key, again.id, self._clock(), retries=case.retries + 1
        )
        logger.warning(
            "%s: job %s failed, job %s does it again: %s",
            *(case.name, job.id, again.id, reason),
        )

    def _fetch(self, case: Case, job: JobDocument) -> None:
        folder = self._folder(case)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        wanted = {output: FILES[output] for output in case.options.outputs or ()}
        listed = self._client.results(job.id)
        found = [file for file in listed if file.name.startswith(f"{REVIEWED}/")]
        is_signed = bool(found)
        if not is_signed and any(file.withheld for file in listed):
            self._wait_for_review(case, job)
            return
        found = found or list(listed)
        for output, name in wanted.items():
            has_it = any(_is_wanted(file.name, name) for file in found)
            if output not in OF_A_USED_MR and not has_it and not is_signed:
                self._fail(case, f"job {job.id} has no {name}")
                return
        paths = [
            self._client.download_file(job.id, file, folder)
            for file in found
            if any(_is_wanted(file.name, name) for name in wanted.values())
        ]
        own = {series_uid_of(path) for path in paths}
        files = sorted(str(path.relative_to(folder)) for path in paths)
        self._ledger.fetched(case.key, files, own, self._clock())

    def _wait_for_review(self, case: Case, job: JobDocument) -> None:
        """Look again later; where the MR was rejected, at the job of the CT alone."""
        said = self._client.review(job.id)
        instead = said.registration and said.registration.ct_only_job
        if instead:
            now = self._clock()
            self._ledger.submitted(case.key, instead, now, retries=case.retries)
            logger.info("%s: job %s instead, without the MR", case.name, instead)
            return
        due_at = self._clock() + max(self._settings.poll_seconds, REVIEW_SECONDS)
        reason = f"job {job.id} waits for a signed review"
        self._ledger.postpone(case.key, due_at, failed=False, reason=reason)

    # stored and sent on

    def _store(self, case: Case) -> None:
        paths = [self._folder(case) / name for name in case.files]
        if not all(path.is_file() for path in paths):  # the folder was emptied
            self._ledger.move(case.key, CaseState.SUBMITTED, self._clock())
            return
        instances = [self._orthanc.store(path) for path in paths]
        self._ledger.stored(
            case.key, instances, self._settings.destinations, self._clock()
        )
        shutil.rmtree(self._folder(case), ignore_errors=True)
        logger.info(
            "%s: %d results of job %s are in Orthanc",
            *(case.name, len(instances), case.job),
        )

    def _send_on(self, case: Case) -> None:
        now = self._clock()
        due = [
            each
            for each in self._ledger.deliveries(case.key)
            if each.state is DeliveryState.DUE
        ]
        for delivery in due:
            if delivery.due_at <= now:
                self._deliver(case, delivery)
        left = self._ledger.deliveries(case.key)
        waiting = [e.due_at for e in left if e.state is DeliveryState.DUE]
        failed = [e for e in left if e.state is DeliveryState.FAILED]
        if waiting:
            self._ledger.postpone(case.key, min(waiting), failed=False, reason="")
        elif failed:
            told = "; ".join(f"{each.destination}: {each.reason}" for each in failed)
            self._fail(case, f"the results are in Orthanc, but not sent on: {told}")
        else:
            self._end(case, CaseState.DONE, "")

    def _deliver(self, case: Case, delivery: Delivery) -> None:
        name = delivery.destination
        try:
            self._orthanc.send(name, list(case.instances))
        except NotInOrthancError:
            reason = f"Orthanc knows no modality {name}, or has the results no longer"
            state, due_at = DeliveryState.FAILED, 0.0
        except OrthancRefusedError as error:
            reason = error.message
            is_last = delivery.attempts + 1 >= self._settings.attempts
            state = DeliveryState.FAILED if is_last else DeliveryState.DUE
            due_at = self._clock() + pause_seconds(delivery.attempts)
        else:
            reason, state, due_at = "", DeliveryState.SENT, 0.0
        self._ledger.delivered(delivery, state, due_at=due_at, reason=reason)
        if reason:
            logger.warning("%s: not sent to %s: %s", case.name, name, reason)
        else:
            logger.info("%s: sent to %s", case.name, name)

    # ended

    def _fail_for_now(self, case: Case, error: HansegError) -> None:
        """Do a step that failed again later, a bounded number of times."""
        if case.attempts + 1 >= self._settings.attempts:
            self._fail(case, f"given up after {case.attempts + 1} times: {error}")
            return
        pause = pause_seconds(case.attempts)
        due_at = self._clock() + pause
        self._ledger.postpone(case.key, due_at, failed=True, reason=error.message)
        logger.warning("%s: %s; again in %.0f s", case.name, error.message, pause)

    def _fail(self, case: Case, reason: str) -> None:
        self._end(case, CaseState.FAILED, reason)
        logger.error("%s: failed (job %s): %s", case.name, case.job or "none", reason)

    def _end(self, case: Case, state: CaseState, reason: str) -> None:
        self._ledger.move(case.key, state, self._clock(), reason=reason)
        shutil.rmtree(self._folder(case), ignore_errors=True)

    def _folder(self, case: Case) -> Path:
        return self._settings.data / CASES / case.key


def _is_servers(job: JobDocument) -> bool:
    """Whether the service, not the images, is to blame for a job's failure."""
    return job.error is not None and job.error.status >= 500


def _is_wanted(file: str, name: str) -> bool:
    """Whether a result's file is, or is in, what an output is called."""
    file = file.removeprefix(f"{REVIEWED}/")
    return file.startswith(name) if name.endswith("/") else file == name
