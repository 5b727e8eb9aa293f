"""`hanseg segment` and `hanseg batch`: cases through a service, from the shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import click
from pydantic import ValidationError

from hanseg_shared.documents import Backend, JobOptions, TransformKind
from hanseg_shared.errors import JobError, OptionError
from hanseg_shared.terminal import json_option, print_event

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose how a case is done."""
    for option in (
        click.option(
            "--backend",
            type=click.Choice([backend.value for backend in Backend]),
            default=Backend.ELASTIX.value,
            show_default=True,
            help="Library that registers the MR.",
        ),
        click.option(
            "--registration",
            type=click.Choice([kind.value for kind in TransformKind]),
            default=TransformKind.RIGID.value,
            show_default=True,
            help="Motion that the registration may find.",
        ),
        click.option(
            "--model", default="default", show_default=True, help="Model to use."
        ),
        click.option("--url", help="Service to use.  [default: HANSEG_URL, or none]"),
        json_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("ct", type=EXISTING)
@click.argument("mr", type=EXISTING, required=False)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@job_options
def segment(
    ct: Path,
    mr: Path | None,
    out: Path,
    url: str | None,
    model: str,
    registration: str,
    backend: str,
    as_json: bool,
) -> None:
    """Contour one patient's CT, with the MR if there is one.

    Uses a running service, or starts one for the time of this command.
    """
    from hanseg_shared.client.client import JobRequest
    from hanseg_shared.client.console import make_reporter
    from hanseg_shared.client.inputs import check_headers
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.client.segment import segment_case
    from hanseg_shared.client.session import open_client
    from hanseg_shared.client.tables import print_organs

    options = _options(model, registration, backend)
    check_headers(ct, mr)
    require_writable(out)
    with make_reporter(ct.name, as_json=as_json) as reporter:
        with open_client(url, announce=reporter.say) as client:
            job = segment_case(client, JobRequest(ct, mr, options), out, reporter)
        reporter.say(f"results: {out}")
    if as_json:
        print_event("result", out=str(out), job=job.model_dump(mode="json"))
    else:
        print_organs(job)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@job_options
def batch(
    folder: Path,
    out: Path,
    url: str | None,
    model: str,
    registration: str,
    backend: str,
    as_json: bool,
) -> None:
    """Contour every case of a folder; started again, it goes on where it was.

    The folder has HaN-Seg's layout, or one sub-folder a case. Where no service runs,
    one is started for this command; it keeps its jobs and the patients' images in
    OUT/.service until every case has succeeded.
    """
    from hanseg_shared.client.batch import BatchRun, NothingLeft, finished_cases
    from hanseg_shared.client.batch_console import make_batch_reporter, print_outcomes
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.client.session import open_client
    from hanseg_shared.io.cases import find_cases

    require_writable(out)
    found = find_cases(folder)
    service = out / ".service"
    options = _options(model, registration, backend)
    with make_batch_reporter(len(found.cases), as_json=as_json) as reporter:
        for each in found.passed_over:
            reporter.pass_over(each)
        done = finished_cases(found.cases, options, out)
        if len(done) == len(found.cases):
            left = NothingLeft.of(found, done, out)
            reporter.show(left)
            outcomes = list(left.outcomes.values())
        else:
            with open_client(url, announce=reporter.say, data=service) as client:
                outcomes = BatchRun(
                    client,
                    found.cases,
                    options,
                    out,
                    reporter.show,
                    passed_over=found.passed_over,
                    finished=done,
                ).run()
    print_outcomes(outcomes, out, as_json=as_json)
    unfinished = sum(not outcome.succeeded for outcome in outcomes)
    if unfinished:
        raise JobError(f"{unfinished} of {len(outcomes)} cases have no results")
    shutil.rmtree(service, ignore_errors=True)  # everything it knew is in the results


def _options(model: str, registration: str, backend: str) -> JobOptions:
    from hanseg_shared.available import require_available

    require_available(TransformKind(registration), Backend(backend))
    try:
        return JobOptions(
            model=model,
            registration=TransformKind(registration),
            backend=Backend(backend),
        )
    except ValidationError as error:  # click has looked at the other two
        raise OptionError(
            f"no model can be called {model!r}; `hanseg models` lists those there are"
        ) from error
