"""`hanseg watch`: contours whatever is put into a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from hanseg_shared.client.cli import FOLDER, job_options, read_choice_for_many
from hanseg_shared.errors import JobError, OptionError
from hanseg_shared.terminal import print_event, tell

SETTLE_SECONDS = 30.0
POLL_SECONDS = 5.0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option(
    "--processed", type=FOLDER, help="Folder to move images to that are done."
)
@click.option(
    "--failed",
    type=FOLDER,
    help="Folder to move images to that have no results, with the reason beside them.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=SETTLE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="A case has arrived when nothing of it has changed for so long.",
)
@click.option(
    "--marker",
    is_flag=True,
    help="A case has arrived when there is a file NAME.done, and not before.",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0.1),
    default=POLL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option("--once", is_flag=True, help="End when what is there is done.")
@job_options
def watch(
    folder: Path,
    out: Path,
    processed: Path | None,
    failed: Path | None,
    settle: float,
    marker: bool,
    poll: float,
    once: bool,
    url: str | None,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - click's own
) -> None:
    """Contour each case that is put into FOLDER, once, until told to stop.

    A case is a sub-folder of DICOM or image files, a zip archive of DICOM, or image
    files side by side such as anna_ct.nii.gz and anna_t1.nii.gz. Its results are in
    OUT/NAME. Started again, it goes on where it was. Where no service runs, one is
    started, which keeps its jobs in OUT/.service.
    """
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.client.session import open_client
    from hanseg_shared.client.watch.arrivals import Arrivals
    from hanseg_shared.client.watch.journal import CaseState, Journal
    from hanseg_shared.client.watch.loop import keep_watching, stopped_by_signals
    from hanseg_shared.client.watch.run import Places, WatchRun

    for option, place in (("out", out), ("processed", processed), ("failed", failed)):
        if place is not None:
            _require_outside(place, folder, option)
            require_writable(place)
    options, needs_dicom = read_choice_for_many(**chosen)

    def report(event: str, sentence: str, **members: object) -> None:
        tell(event, sentence, as_json=as_json, **members)

    def say_stopping() -> None:
        report("stopping", "stopping; what is under way is fetched at the next start")

    def announce(line: str) -> None:
        report("message", line)

    with (
        stopped_by_signals(say_stopping) as stopping,
        Journal(out) as journal,
        open_client(url, announce=announce, data=out / ".service") as client,
    ):
        run = WatchRun(
            client,
            Arrivals(folder, settle, marker, time.monotonic),
            journal,
            options,
            Places(out, processed, failed),
            report,
            needs_dicom=needs_dicom,
        )
        report("watching", f"watching {folder}; results: {out}")
        keep_watching(run, once=once, poll_seconds=poll, stopping=stopping)
    done, lost = (
        run.counts.get(state, 0) for state in (CaseState.SUCCEEDED, CaseState.FAILED)
    )
    if as_json:
        print_event("ended", succeeded=done, failed=lost, under_way=len(run.in_flight))
    if once and lost:
        raise JobError(f"{lost} of {done + lost} cases have no results")
    if once and run.put_off:
        raise JobError(
            f"{', '.join(sorted(run.put_off))}: not done, because of the service; the "
            "next start tries again"
        )


def _require_outside(place: Path, folder: Path, option: str) -> None:
    """Refuse a folder in the watched one, which would be taken for a case.

    Raises:
        OptionError: It is there.
    """
    if place.resolve().is_relative_to(folder.resolve()):
        raise OptionError(
            f"--{option} {place} lies in the watched folder {folder}; choose another"
        )
