"""`hanseg jobs`: look at a service's jobs, fetch, cancel and retry them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hanseg_shared.client.key import key_option
from hanseg_shared.documents import JobState
from hanseg_shared.errors import OptionError
from hanseg_shared.terminal import json_option, print_event, tell

if TYPE_CHECKING:
    from hanseg_shared.client.client import Client
    from hanseg_shared.documents import JobDocument
    from hanseg_shared.review.documents import ReviewDocument

FOLDER = click.Path(file_okay=False, path_type=Path)


Command = TypeVar("Command", bound=Callable[..., Any])


def id_argument(kind: str, *, metavar: str) -> Callable[[Command], Command]:
    """Return an argument for an id, which goes into a path: ``job_id`` for a job.

    Args:
        kind: Of what; `hanseg KINDs list` shows the ids.
        metavar: What the help calls it.
    """

    def check(_: click.Context, __: click.Parameter, told: str) -> str:
        if not re.fullmatch("[0-9a-f]{32}", told):
            raise OptionError(
                f"{told!r} is no {kind}'s id, which is 32 hexadecimal digits; "
                f"`hanseg {kind}s list` shows them"
            )
        return told

    return click.argument(f"{kind}_id", metavar=metavar, callback=check)


_JOB = id_argument("job", metavar="JOB")


def of_a_service(command: Command) -> Command:
    """Add the options of every command that asks a service."""
    url = click.option("--url", help="Service to ask.  [default: HANSEG_URL, or here]")
    return json_option(key_option(url(command)))


@contextmanager
def running_service(url: str | None) -> Iterator[Client]:
    """Connect to a service that runs, for the time of a block.

    Raises:
        ServiceUnavailableError: None answers.
    """
    from hanseg_shared.client.session import open_running

    with open_running(url) as client:
        yield client


@click.group()
def jobs() -> None:
    """Look at the jobs of a running service, fetch, cancel and retry them.

    The jobs in a data folder are those of the service that runs on it: start
    `hanseg serve --data DIR` to look at them.
    """


@jobs.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in JobState]),
    help="Only jobs in this state; may be given several times.",
)
@click.option("--case", help="Only jobs of the case of this name.")
@click.option("--batch", help="Only jobs of the batch of this id.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Most jobs to list, newest first.",
)
@of_a_service
def list_jobs(
    states: tuple[str, ...],
    case: str | None,
    batch: str | None,
    limit: int,
    url: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    from hanseg_shared.client.tables import print_jobs

    wanted = {"case": case, "batch": batch, "state": list(states) or None}
    filters = {name: value for name, value in wanted.items() if value is not None}
    with running_service(url) as client:
        found, more = client.jobs(limit=limit, filters=filters)
    if as_json:
        for job in found:
            print_event("job", job=job.model_dump(mode="json"))
        print_event("listed", jobs=len(found), more=more)
        return
    print_jobs(found)
    if more:
        click.echo(f"the {limit} newest are shown; --limit shows more", err=True)


@jobs.command()
@_JOB
@of_a_service
def show(job_id: str, url: str | None, as_json: bool) -> None:
    """Show the job JOB: its state, its organs, and why it failed if it did."""
    from hanseg_shared.client.tables import print_job

    with running_service(url) as client:
        job = client.job(job_id)
    if as_json:
        print_event("job", job=job.model_dump(mode="json"))
    else:
        print_job(job)


@jobs.command()
@_JOB
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@of_a_service
def fetch(job_id: str, out: Path, url: str | None, as_json: bool) -> None:
    """Fetch the results of the finished job JOB."""
    from hanseg_shared.client.results_folder import require_writable

    require_writable(out)
    with running_service(url) as client:
        client.download(job_id, out)
    tell("fetched", f"results: {out}", as_json=as_json, job=job_id, out=str(out))


@jobs.command()
@_JOB
@of_a_service
def cancel(job_id: str, url: str | None, as_json: bool) -> None:
    """Cancel the unfinished job JOB."""
    with running_service(url) as client:
        job = client.cancel(job_id)
    told = "is cancelled" if job.state.is_final else "is being cancelled"
    _tell_job("cancelled", f"job {job.id} {told}", job, as_json=as_json)


@jobs.command()
@_JOB
@of_a_service
def retry(job_id: str, url: str | None, as_json: bool) -> None:
    """Queue the failed or cancelled job JOB again, as a new job.

    The service still has its images. Asked again, it answers the same new job.
    """
    with running_service(url) as client:
        job = client.retry(job_id)
    line = f"job {job.id} ({job.state}) is job {job_id} once more"
    _tell_job("retried", line, job, as_json=as_json)


@jobs.command()
@_JOB
@click.option("--out", type=FOLDER, help="Folder for what a signature hands on.")
@of_a_service
def review(job_id: str, out: Path | None, url: str | None, as_json: bool) -> None:
    """Show what was said of the results of the job JOB, and fetch what was signed."""
    from hanseg_shared.result_files import REVIEWED

    with running_service(url) as client:
        said = client.review(job_id)
        if out is not None:
            if not said.files:
                raise OptionError(
                    f"the review of job {job_id} is {said.state} and hands nothing on"
                )
            for file in client.results(job_id):
                if file.name.startswith(f"{REVIEWED}/"):
                    client.download_file(job_id, file, out)
    for line in _describe(said) if not as_json else ():
        click.echo(line)
    if as_json:
        print_event("review", review=said.model_dump(mode="json"))


def _describe(said: ReviewDocument) -> Iterator[str]:
    signed = f" by {said.signature.name}" if said.signature else ""
    yield f"version {said.version}: {said.state}{signed}"
    for organ in said.organs:
        yield f"{organ.organ}: {organ.verdict}"
    if said.registration is not None:
        yield f"registration: {said.registration.verdict}"
    if said.unjudged:
        yield f"not judged: {', '.join(said.unjudged)}"


def _tell_job(event: str, line: str, job: JobDocument, *, as_json: bool) -> None:
    tell(event, line, as_json=as_json, job=job.model_dump(mode="json"))
