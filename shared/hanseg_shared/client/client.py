"""The REST API as Python calls; every failure becomes one of the product's errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from hanseg_shared.client.address import address, is_this_machine
from hanseg_shared.client.answers import parse_answer, raise_problem, translate_errors
from hanseg_shared.client.inputs import open_part
from hanseg_shared.client.results_folder import move_into, writing
from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import (
    JobDocument,
    JobOptions,
    ListedFile,
    Priority,
    ResultFile,
)
from hanseg_shared.errors import (
    ServiceUnavailableError,
    StoreError,
)
from hanseg_shared.result_files import REVIEWED
from hanseg_shared.review.documents import (
    Correction,
    CorrectionList,
    ReviewDocument,
)

if TYPE_CHECKING:
    from hanseg_shared.signing.sheet import SignedSheet

TIMEOUT = httpx.Timeout(10.0, read=120.0, write=120.0)
"""Reading waits longest: the service checks the images before it answers."""

LARGEST_PAGE = 200
"""Most jobs that the service lists at a time."""

_FILES = TypeAdapter(tuple[ListedFile, ...])


class _JobPage(BaseModel):
    """What is needed of a page of jobs."""

    jobs: list[JobDocument]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is sent to have one case contoured.

    Attributes:
        ct: The planning CT: an image file, a DICOM file, or a zip archive or folder of
            DICOM files, which may hold the MR's series as well. A folder is packed.
        mr: The T1 MR, likewise.
        options: What is to be done.
        case: The caller's name for it.
        reg: A DICOM registration of `mr` to `ct`, to use instead of the service's own.
        ct_series: Series Instance UID of the CT to take, where there are several.
        mr_series: The same of the MR.
        template: A template to use that the service does not know.
        is_urgent: Whether it is to be done before routine cases; the key needs the
            scope ``urgent``.
    """

    ct: Path
    mr: Path | None = None
    options: JobOptions = field(default_factory=JobOptions)
    case: str | None = None
    reg: Path | None = None
    ct_series: str | None = None
    mr_series: str | None = None
    template: Template | None = None
    is_urgent: bool = False

    @property
    def parts(self) -> dict[str, Path]:
        """The files by the names under which they are sent."""
        parts = {"ct": self.ct, "mr": self.mr, "reg": self.reg}
        return {name: path for name, path in parts.items() if path is not None}

    @property
    def body(self) -> dict[str, Any]:
        """What is sent beside the files."""
        template = self.template and self.template.model_dump(mode="json")
        body = {
            "options": self.options.model_dump(mode="json"),
            "case": self.case,
            "ct_series": self.ct_series,
            "mr_series": self.mr_series,
            "template_document": template,
            "priority": Priority.URGENT.value if self.is_urgent else None,
        }
        return {name: value for name, value in body.items() if value is not None}


class Client:
    """A connection to one service.

    Args:
        url: The service's address, such as ``http://127.0.0.1:8000``; see `address`.
        transport: Replaces the network, in tests.
        lasting: Whether the service outlives this command: its jobs can be fetched
            later then.
        key: What opens the service; None sends none.

    Raises:
        OptionError: `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        lasting: bool = True,
        key: str | None = None,
    ) -> None:
        self.url = address(url)
        self.lasting = lasting
        # sent with what needs it only, so that a stranger at the address who is asked
        # whether it is the service does not get it
        self._key = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not is_this_machine(self.url),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the contouring service answers there and can take a job.

        Any other program that listens there is not ready: it gets no patient's images.
        """
        try:
            answer = self._http.get("/readyz", timeout=3.0)
            told = answer.json()
        except (httpx.HTTPError, ValueError):
            return False
        return (
            answer.is_success and isinstance(told, dict) and told.get("ready") is True
        )

    def require_service(self) -> None:
        """Return if the contouring service answers, whether or not it takes jobs now.

        Raises:
            ServiceUnavailableError: It does not.
        """
        try:
            told = self._http.get("/livez", timeout=3.0).json()
        except (httpx.HTTPError, ValueError):
            told = None
        if not isinstance(told, dict) or told.get("status") != "alive":
            raise ServiceUnavailableError(
                f"no contouring service answers at {self.url}; start one with `hanseg "
                "serve` (with --data for the jobs of that folder), or name another "
                "with --url"
            )

    def submit(
        self, request: JobRequest, *, idempotency_key: str | None = None
    ) -> JobDocument:
        """Send a case; with a key, sending it again makes no second job.

        Raises:
            InputError: The service refuses the images or the options.
            ServiceUnavailableError: It does not answer, or takes no job now.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        with contextlib.ExitStack() as opened:
            files = {
                part: (path.name, opened.enter_context(open_part(path)))
                for part, path in request.parts.items()
            }
            answer = self._send(
                "POST",
                "/v1/jobs",
                data={"request": json.dumps(request.body)},
                files=files,
                headers=headers,
            )
        return parse_answer(JobDocument, answer.content)

    def job(self, job_id: str, *, wait_seconds: int = 0) -> JobDocument:
        """Return a job, after at most `wait_seconds` if it is not finished."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
        return parse_answer(JobDocument, answer.content)

    def jobs(
        self, *, limit: int, filters: Mapping[str, str | list[str]] | None = None
    ) -> tuple[list[JobDocument], bool]:
        """Return the newest jobs, and whether there are more.

        Args:
            limit: How many at most.
            filters: Query parameters of ``GET /v1/jobs``, such as ``case``.
        """
        found: list[JobDocument] = []
        pages = {"limit": str(min(limit, LARGEST_PAGE)), **(filters or {})}
        answer = self._send("GET", "/v1/jobs", params=pages)
        while True:
            page = parse_answer(_JobPage, answer.content)
            found += page.jobs
            if page.next is None or len(found) >= limit:
                return found[:limit], page.next is not None or len(found) > limit
            answer = self._send("GET", str(answer.url.join(page.next)))

    def follow(self, job_id: str) -> Iterator[JobDocument]:
        """Yield the job at each change, until it is finished."""
        with (
            translate_errors(),
            self._http.stream(
                "GET",
                f"/v1/jobs/{job_id}/events",
                timeout=httpx.Timeout(10.0, read=60.0),
                headers=self._key,
            ) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise_problem(answer)
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield parse_answer(JobDocument, line[len("data:") :])

    def cancel(self, job_id: str) -> JobDocument:
        """Cancel a job and return it; its worker may still have to hear of it.

        Raises:
            JobStateError: It has ended already.
        """
        answer = self._send("POST", f"/v1/jobs/{job_id}/cancel")
        return parse_answer(JobDocument, answer.content)

    def retry(self, job_id: str) -> JobDocument:
        """Queue a failed or cancelled job again; returns the new job.

        Raises:
            JobStateError: It is neither, or its images are gone.
        """
        answer = self._send("POST", f"/v1/jobs/{job_id}/retry")
        return parse_answer(JobDocument, answer.content)

    def delete(self, job_id: str) -> None:
        """Delete a job's files at once."""
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def templates(self) -> list[dict[str, Any]]:
        """Return the templates that the service knows, each with its newest version."""
        listed = self._send("GET", "/v1/templates").json()
        return list(listed["templates"])

    def template(self, name: str) -> Template:
        """Return a template, ``name`` or ``name@version``.

        Raises:
            JobNotFoundError: There is none.
        """
        name, _, version = name.partition("@")
        path = f"/v1/templates/{quote(name, safe='')}"
        if version:
            path += f"/versions/{quote(version, safe='')}"
        return parse_answer(Template, self._send("GET", path).content)

    def save_template(self, template: Template) -> Template:
        """Save a template as a new version, and return it with its version.

        Raises:
            InputError: It cannot be used.
            JobStateError: It ships with the service and cannot be changed.
        """
        answer = self._send(
            "PUT",
            f"/v1/templates/{quote(template.name, safe='')}",
            json=template.model_dump(mode="json"),
        )
        return parse_answer(Template, answer.content)

    def signing_keys(self) -> list[str]:
        """Return the public keys that the service signs results with, in base64."""
        listed = self._send("GET", "/v1/signing-keys").json()
        return [str(each["key"]) for each in listed["keys"]]

    def register_sheet(self, signed: SignedSheet) -> None:
        """Have the service keep the sheet of a commissioning; needs scope `admin`."""
        self._send("POST", "/v1/commissioning", json=signed.model_dump(mode="json"))

    def send_sheet_file(self, signed: SignedSheet, name: str, content: bytes) -> None:
        """Have the service keep a file that a registered sheet names, as it was signed.

        Args:
            signed: The sheet.
            name: What the sheet calls the file.
            content: The whole file.
        """
        sheet = hashlib.sha256(signed.sheet.canonical()).hexdigest()
        self._send(
            "PUT",
            f"/v1/commissioning/{sheet}/files/{quote(name, safe='')}",
            content=content,
        )

    def results(self, job_id: str) -> tuple[ListedFile, ...]:
        """Return the list of a finished job's files, those withheld among them."""
        answer = self._send("GET", f"/v1/jobs/{job_id}/results")
        listed = [
            {k: v for k, v in file.items() if k in ListedFile.model_fields}
            for file in answer.json()["files"]
        ]
        return _FILES.validate_python(listed)

    def review(self, job_id: str) -> ReviewDocument:
        """Return what was said so far of a job's results."""
        answer = self._send("GET", f"/v1/jobs/{job_id}/review")
        return ReviewDocument.model_validate_json(answer.content)

    def send_correction(
        self, job_id: str, file: Path, *, organ: str | None = None
    ) -> ReviewDocument:
        """Send corrected contours, which the service compares with its own.

        Args:
            job_id: Whose contours were corrected.
            file: An RTSTRUCT, a DICOM segmentation or a label map.
            organ: Whose the one mask of the file is; None of contours that have names.

        Raises:
            InputError: The service refuses the file.
            JobStateError: The results are gone, or their review is signed.
        """
        answer = self._send(
            "POST",
            f"/v1/jobs/{job_id}/review/corrections",
            params={} if organ is None else {"organ": organ},
            content=file.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        return parse_answer(ReviewDocument, answer.content)

    def corrections(
        self, *, limit: int, model: str | None = None
    ) -> tuple[Correction, ...]:
        """Return the newest corrections in numbers, the newest first.

        Args:
            limit: How many at most.
            model: Of which model alone, as name and version.
        """
        asked = {"limit": str(limit)} | ({} if model is None else {"model": model})
        answer = self._send("GET", "/v1/statistics/corrections", params=asked)
        return parse_answer(CorrectionList, answer.content).corrections

    def download(self, job_id: str, folder: Path) -> None:
        """Fetch all results into a folder, each checked against its hash.

        What is withheld, or handed on of a signed review, is left out. The folder
        appears, or an earlier run's results in it are replaced, only when all are
        there.

        Raises:
            ServiceUnavailableError: The service broke off, or the disk is full.
            StoreError: A file's bytes do not match its hash, or cannot be written.
        """
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix=f".{folder.name}-", dir=folder.parent
            ) as partial:
                for file in self.results(job_id):
                    if file.withheld or file.name.startswith(f"{REVIEWED}/"):
                        continue
                    self.download_file(job_id, file, Path(partial))
                move_into(Path(partial), folder)

    def download_file(self, job_id: str, file: ResultFile, folder: Path) -> Path:
        """Fetch one result into a folder, checked against its hash; returns its path.

        Raises:
            ServiceUnavailableError: The service broke off.
            StoreError: The bytes do not match the hash.
        """
        target = _inside(folder, file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with (
            translate_errors(),
            self._http.stream(
                "GET",
                f"/v1/jobs/{job_id}/results/{quote(file.name)}",
                headers=self._key,  # another host, such as a store, does not get it
                follow_redirects=True,
            ) as answer,
            target.open("wb") as sink,
        ):
            if answer.is_error:
                answer.read()
                raise_problem(answer)
            for chunk in answer.iter_bytes():
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise StoreError(f"{file.name} was damaged on its way; fetch it again")
        return target

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        headers = {**arguments.pop("headers", {}), **self._key}
        with translate_errors():
            answer = self._http.request(method, path, headers=headers, **arguments)
        if answer.is_error:
            raise_problem(answer)
        return answer


def _inside(folder: Path, name: str) -> Path:
    """Return a path below a folder, whatever a service calls its files."""
    target = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise StoreError(f"the service names a result {name!r}, which is no file name")
    return target
