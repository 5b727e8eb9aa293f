"""`hanseg demo` and `hanseg demo-dicom`: two real patients through the service."""

from __future__ import annotations

from pathlib import Path

import click

from hanseg_shared.terminal import json_option


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the results.",
)
@json_option
def demo(out: Path, as_json: bool) -> None:
    """Contour two real patients, with and without MR, through the whole service.

    The public images are fetched by pip and kept for the next time.
    """
    from hanseg_lab.demo.demo import run_demo

    run_demo(out, as_json=as_json)


@click.command("demo-dicom")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-dicom-output"),
    show_default=True,
    help="Folder for copies of the results.",
)
@json_option
def demo_dicom(out: Path, as_json: bool) -> None:
    """Send two real patients to an Orthanc by DICOM, and find contours in it.

    Starts Debian's Orthanc, the service and the bridge for the time of this command.
    The public images are fetched by pip and kept for the next time.
    """
    from hanseg_lab.demo.dicom_demo import run_dicom_demo

    run_dicom_demo(out, as_json=as_json)
