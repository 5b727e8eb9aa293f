"""`hanseg register`: registration alone, on this machine, without a service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from hanseg_shared.documents import Backend, RegistrationReport, TransformKind

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
@click.option("--json", "as_json", is_flag=True, help="One JSON line a step.")
def register(
    ct: Path,
    mr: Path,
    out: Path,
    registration: str,
    backend: str,
    parameters: Path | None,
    as_json: bool,
) -> None:
    """Bring a T1 MR onto a planning CT and say whether it can be trusted.

    Writes registered_mr.nii.gz, field_of_view.nii.gz, transform.tfm, registration.json
    and two pictures to the folder, all of them or none. A verdict of `rejected` is a
    result, not an error: the files are then for review.
    """
    from hanseg_registration.child import register_files
    from hanseg_registration.engines.backends import make_engine
    from hanseg_shared.io import check_case
    from hanseg_shared.settings import read_settings

    settings = read_settings()
    engine = make_engine(
        Backend(backend), parameters=parameters, ants_python=settings.ants_python
    )
    check = check_case(ct, mr)
    with _folder(out), _progress(ct.name, as_json=as_json) as progress:
        report = register_files(
            ct,
            mr,
            out,
            kind=TransformKind(registration),
            engine=engine,
            deadline_s=float(settings.registration_seconds),
            remarks=check.remarks,
            progress=progress,
        )
    if not as_json:
        for remark in report.remarks:
            click.echo(f"remark: {remark}")
    click.echo(_last_line(report, out, as_json=as_json))


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


def _last_line(report: RegistrationReport, out: Path, *, as_json: bool) -> str:
    if as_json:
        event = {"event": "registered", "out": str(out)}
        return json.dumps(event | report.model_dump(mode="json"))
    return f"{report.sentence} ({report.seconds:.1f} s; see {out})"
