"""`hanseg segment` and `hanseg batch`: cases through a service, from the shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from hanseg_shared.client.key import key_option
from hanseg_shared.dicom.template import DEFAULT_TEMPLATE, Template
from hanseg_shared.documents import Backend, DicomOutput, JobOptions, TransformKind
from hanseg_shared.errors import JobError, OptionError
from hanseg_shared.terminal import json_option, print_event

if TYPE_CHECKING:
    from hanseg_shared.client.request import JobRequest

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

ALL_OUTPUTS = (
    DicomOutput.RTSTRUCT,
    DicomOutput.SEG,
    DicomOutput.REG,
    DicomOutput.MR,
    DicomOutput.REPORT,
)
"""What ``--dicom`` asks for."""


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
        click.option(
            "--template",
            help="Template of the structure set: a name, or a JSON file.  "
            "[default: default]",
        ),
        click.option(
            "--dicom",
            is_flag=True,
            help="Write all DICOM objects: structure set, segmentation, registration, "
            "registered MR, report.",
        ),
        click.option("--url", help="Service to use.  [default: HANSEG_URL, or none]"),
        key_option,
        json_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("ct", type=EXISTING)
@click.argument("mr", type=EXISTING, required=False)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option("--reg", type=EXISTING, help="DICOM registration of MR to CT to use.")
@click.option("--ct-series", metavar="UID", help="Series Instance UID of the CT.")
@click.option("--mr-series", metavar="UID", help="Series Instance UID of the MR.")
@click.option(
    "--urgent",
    is_flag=True,
    help="Have it done before routine cases; the key needs the scope urgent.",
)
@job_options
def segment(
    ct: Path,
    mr: Path | None,
    out: Path,
    reg: Path | None,
    ct_series: str | None,
    mr_series: str | None,
    urgent: bool,
    url: str | None,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - click's own
) -> None:
    """Contour one patient's CT, with the MR if there is one.

    CT and MR are image files, or folders or zip archives of DICOM; a folder of DICOM
    may hold both. Uses a running service, or starts one for the time of this command.
    """
    from hanseg_shared.client.console import make_reporter
    from hanseg_shared.client.inputs import check_headers
    from hanseg_shared.client.request import JobRequest
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.client.segment import segment_case
    from hanseg_shared.client.session import open_client
    from hanseg_shared.client.tables import print_organs

    options, template = read_choice(**chosen)
    request = JobRequest(
        ct,
        mr,
        options,
        reg=reg,
        ct_series=ct_series,
        mr_series=mr_series,
        template=template,
        is_urgent=urgent,
    )
    check_headers(ct, mr)
    _require_dicom(request, dicom=chosen["dicom"], template=chosen["template"])
    require_writable(out)
    with make_reporter(ct.name, as_json=as_json) as reporter:
        with open_client(url, announce=reporter.say) as client:
            job = segment_case(client, request, out, reporter)
        for output, why in job.dicom.left_out.items() if job.dicom else ():
            reporter.say(f"{output} was not written: {why}")
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
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - click's own
) -> None:
    """Contour every case of a folder; started again, it goes on where it was.

    The folder has HaN-Seg's layout, or one sub-folder a case, of image files or of
    DICOM. Where no service runs,
    one is started for this command; it keeps its jobs and the patients' images in
    OUT/.service until every case has succeeded.
    """
    from hanseg_shared.client.batch import BatchRun, NothingLeft, finished_cases
    from hanseg_shared.client.batch_console import make_batch_reporter, print_outcomes
    from hanseg_shared.client.inputs import require_dicom
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.client.session import open_client
    from hanseg_shared.io.cases import find_cases

    require_writable(out)
    options, needs_dicom = read_choice_for_many(**chosen)
    found = find_cases(folder)
    if needs_dicom:
        for case in found.cases:
            require_dicom(case.ct, because=needs_dicom)
    service = out / ".service"
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


def _require_dicom(request: JobRequest, *, dicom: bool, template: str | None) -> None:
    """Raise unless the CT is DICOM, where something asks for it.

    Raises:
        OptionError: It is not, or the registration is not.
    """
    from hanseg_shared.client.inputs import require_dicom

    asked = {
        "--dicom": dicom,
        "--template": template,
        "--reg": request.reg,
        "--ct-series": request.ct_series,
        "--mr-series": request.mr_series,
    }
    for name in (name for name, value in asked.items() if value):
        require_dicom(request.ct, because=name)
    if request.reg is not None:
        require_dicom(request.reg, because="--reg")


def read_choice(
    *,
    model: str,
    registration: str,
    backend: str,
    template: str | None,
    dicom: bool,
) -> tuple[JobOptions, Template | None]:
    """Return the options of a job, and the template if it is a file.

    Raises:
        OptionError: One has no such value.
    """
    from hanseg_shared.available import require_available

    require_available(TransformKind(registration), Backend(backend))
    document = None
    if template is not None and names_file(template):
        document = read_template(Path(template))
    try:
        options = JobOptions(
            model=model,
            registration=TransformKind(registration),
            backend=Backend(backend),
            outputs=ALL_OUTPUTS if dicom else None,
            template=DEFAULT_TEMPLATE if template is None or document else template,
        )
    except ValidationError as error:  # click has looked at the others
        name = error.errors()[0]["loc"][0]
        value = model if name == "model" else template
        raise OptionError(
            f"no {name} can be called {value!r}; `hanseg {name}s` lists those there are"
        ) from error
    return options, document


def read_choice_for_many(
    **chosen: Any,  # noqa: ANN401 - as of `read_choice`
) -> tuple[JobOptions, str]:
    """Return the options of many jobs, and which of them needs DICOM, if one does.

    Raises:
        OptionError: One has no such value, or the template is a file.
    """
    options, template = read_choice(**chosen)
    if template is not None:
        raise OptionError(
            "--template of many cases is a name; save the file with `hanseg templates "
            "put`"
        )
    if options.outputs:
        return options, "--dicom"
    return options, "" if options.template == DEFAULT_TEMPLATE else "--template"


def names_file(template: str) -> bool:
    """Whether what was given as a template is a file, not a name."""
    return template.endswith(".json") or "/" in template or Path(template).is_file()


def read_template(path: Path) -> Template:
    """Return the template of a JSON file.

    Raises:
        OptionError: It cannot be read, or is no template that can be used.
    """
    from hanseg_shared.dicom.templates import parse_template

    try:
        return parse_template(path.read_bytes())
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
