"""`hanseg register`: registration alone, on this machine, without a service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanseg_shared.documents import Backend, RegistrationReport, TransformKind

if TYPE_CHECKING:
    from hanseg_registration.dicom_pair import ImageFiles
    from hanseg_registration.engines.interface import Engine

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("ct", type=EXISTING)
@click.argument("mr", type=EXISTING)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option(
    "--registration",
    type=click.Choice([kind.value for kind in TransformKind]),
    default=TransformKind.RIGID.value,
    show_default=True,
    help="Motion that the registration may find.",
)
@click.option(
    "--backend",
    type=click.Choice([backend.value for backend in Backend]),
    default=Backend.ELASTIX.value,
    show_default=True,
    help="Library that registers the MR.",
)
@click.option(
    "--parameters",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with parameter files (rigid.txt, …) that replace the built-in.",
)
@click.option(
    "--given",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A registration to judge and use instead of a search: an ITK transform of "
    "the CT's points to the MR's, or a DICOM registration.",
)
@click.option(
    "--dicom",
    "as_dicom",
    is_flag=True,
    help="Write the registration and the registered MR as DICOM too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line a step.")
def register(
    ct: Path,
    mr: Path,
    out: Path,
    registration: str,
    backend: str,
    parameters: Path | None,
    given: Path | None,
    as_dicom: bool,
    as_json: bool,
) -> None:
    """Bring a T1 MR onto a planning CT and say whether it can be trusted.

    CT and MR are image files, or folders or zip archives of DICOM; name an archive of
    both twice. Writes registered_mr.nii.gz, field_of_view.nii.gz, transform.tfm,
    registration.json and two pictures to the folder, all of them or none. A verdict of
    `rejected` is a result, not an error: the files are then for review.
    """
    from hanseg_registration.dicom_pair import open_images, require_case
    from hanseg_registration.engines.backends import make_engine
    from hanseg_shared.settings import read_settings

    settings = read_settings()
    engine = make_engine(
        Backend(backend), parameters=parameters, ants_python=settings.ants_python
    )
    kind, seconds = TransformKind(registration), float(settings.registration_seconds)
    with _folder(out), open_images(ct, mr, given, out) as images:
        if as_dicom:
            require_case(images, ct)
        with _progress(ct.name, as_json=as_json) as progress:
            report = _register(images, out, kind, engine, seconds, progress)
        left_out = _write_dicom(images, out, report) if as_dicom else []
    if not as_json:
        for remark in (*report.remarks, *left_out):
            click.echo(f"remark: {remark}")
    click.echo(_last_line(report, out, left_out, as_json=as_json))


def _register(
    images: ImageFiles,
    out: Path,
    kind: TransformKind,
    engine: Engine,
    deadline_s: float,
    progress: Callable[[float], None],
) -> RegistrationReport:
    from hanseg_registration.child import register_files
    from hanseg_shared.io import check_case

    check = check_case(images.ct, images.mr)
    return register_files(
        images.ct,
        images.mr,
        out,
        kind=kind,
        given=images.given,
        engine=engine,
        deadline_s=deadline_s,
        remarks=(*images.remarks, *check.remarks),
        progress=progress,
    )


def _write_dicom(
    images: ImageFiles, out: Path, report: RegistrationReport
) -> list[str]:
    """Write the results as DICOM; return what was left out and why."""
    from hanseg_registration.dicom_pair import write_dicom
    from hanseg_shared.result_files import TRANSFORM

    case = images.make_case(out / TRANSFORM, datetime.now(UTC))
    return [] if case is None else write_dicom(out, report, case)


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make a folder for the time of the work, and keep it only if that succeeds."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # somebody else has written into it
                out.rmdir()
        raise


@contextmanager
def _progress(label: str, *, as_json: bool) -> Iterator[Callable[[float], None]]:
    """Show the share that is done: JSON lines, or a bar on the error stream."""
    if as_json:
        yield lambda done: click.echo(
            json.dumps({"event": "progress", "progress": round(done, 3)})
        )
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn(f"registering {label}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("registering", total=1.0)
        yield lambda done: bar.update(task, completed=done)


def _last_line(
    report: RegistrationReport, out: Path, left_out: list[str], *, as_json: bool
) -> str:
    if as_json:
        event = {"event": "registered", "out": str(out), "left_out": left_out}
        return json.dumps(event | report.model_dump(mode="json"))
    return f"{report.sentence} ({report.seconds:.1f} s; see {out})"
