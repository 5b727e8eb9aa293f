"""`hanseg commission`: is the service fit for this department's patients?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanseg_shared.errors import JobError, OptionError, OutputError
from hanseg_shared.terminal import json_option, tell

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from hanseg_lab.commissioning.phantoms import Phantom
    from hanseg_shared.documents import JobDocument, JobOptions
    from hanseg_shared.io.cases import CaseFiles
    from hanseg_shared.signing.sheet import SignedSheet

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=False,
)
@click.option("--out", type=FOLDER, help="Folder for results and sheet.")
@click.option("--limits", type=FILE, help="TOML or JSON file of the site's limits.")
@click.option("--write-limits", type=FILE, help="Write the default limits, and end.")
@click.option("--model", default="default", show_default=True, help="Model to run.")
@click.option("--labels", metavar="FILE|NAME", help="As of `hanseg evaluate`.")
@click.option("--signed-by", metavar="NAME", help="Who answers for the sheet.")
@click.option("--no-phantoms", is_flag=True, help="Leave the registration untested.")
@click.option("--register", is_flag=True, help="Keep sheet and PDF in the service too.")
@click.option("--workers", type=int, help="Cases scored at a time.")
@click.option("--url", help="Service to use.  [default: HANSEG_URL, or none]")
@json_option
def commission(
    folder: Path | None,
    out: Path | None,
    limits: Path | None,
    write_limits: Path | None,
    model: str,
    labels: str | None,
    signed_by: str | None,
    no_phantoms: bool,
    register: bool,
    workers: int | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Run a department's own cases through the service, and judge them by its limits.

    FOLDER has each case's CT, its MR if any, and reference contours beside them. The
    sheet is written to OUT/sheet. The status is 0 if every limit is met, and 3 if not.
    """
    from hanseg_lab.commissioning.cases import require_references
    from hanseg_lab.commissioning.limits import read_limits
    from hanseg_lab.commissioning.run import SHEET_FOLDER, Commissioning
    from hanseg_lab.evaluation.label_table import read_label_table
    from hanseg_shared.client.results_folder import require_writable
    from hanseg_shared.io.cases import find_cases

    if write_limits is not None:
        _write_default(write_limits, as_json=as_json)
        return
    if folder is None or out is None:
        raise click.UsageError("FOLDER and --out are needed, or --write-limits alone")
    allowed = read_limits(limits)
    table = read_label_table(labels) if labels else None
    require_writable(out)
    cases = find_cases(folder).cases
    require_references(folder, cases, table)
    options = _options(model)
    phantom = None if no_phantoms else _make_phantom()
    jobs = _contour(cases, phantom, options, out, url, as_json=as_json)
    done = Commissioning(
        folder, out, cases, jobs, allowed, signed_by, table, phantom, workers
    ).write(_signing_key())
    _report(done, out / SHEET_FOLDER, as_json=as_json)
    if register:
        _register(done, out / SHEET_FOLDER, url)
    failures = len(done.sheet.failures)
    if failures:
        raise OutputError(f"{failures} limits are not met; see {out / SHEET_FOLDER}")


def _write_default(path: Path, *, as_json: bool) -> None:
    from hanseg_lab.commissioning.limits import DEFAULT_FILE

    try:
        with path.open("xb") as file:
            file.write(DEFAULT_FILE.read_bytes())
    except FileExistsError:
        raise OptionError(f"{path} is there already; name another file") from None
    tell("limits", f"limits: {path}", as_json=as_json, out=str(path))


def _options(model: str) -> JobOptions:
    from pydantic import ValidationError

    from hanseg_shared.documents import JobOptions

    try:
        return JobOptions(model=model)
    except ValidationError:
        raise OptionError(
            f"no model can be called {model!r}; `hanseg models` lists those there are"
        ) from None


def _make_phantom() -> Phantom:
    from hanseg_lab.commissioning.phantoms import Phantom

    return Phantom.make()


def _contour(
    cases: Sequence[CaseFiles],
    phantom: Phantom | None,
    options: JobOptions,
    out: Path,
    url: str | None,
    *,
    as_json: bool,
) -> dict[str, JobDocument]:
    """Return the jobs of all cases, and of the phantoms; those that are done stay."""
    from hanseg_lab.commissioning.contouring import contour
    from hanseg_lab.commissioning.run import CASES, PHANTOMS

    groups = [(list(cases), out / CASES)]
    if phantom is not None:
        groups.append((phantom.write(out / PHANTOMS / "images"), out / PHANTOMS))
    jobs, unfinished = contour(groups, options, out, url, as_json=as_json)
    if unfinished:
        lines = "\n  ".join(f"{each.case}: {each.reason}" for each in unfinished)
        raise JobError(
            f"{len(unfinished)} cases have no results, and nothing was judged:\n  "
            f"{lines}"
        )
    return jobs


def _signing_key() -> Ed25519PrivateKey:
    """Return the key that the settings name, or the user's own."""
    from hanseg_shared.client.session import sign_as_user
    from hanseg_shared.settings import read_settings
    from hanseg_shared.signing.keys import signing_key

    return signing_key(sign_as_user(read_settings()))


def _register(done: SignedSheet, folder: Path, url: str | None) -> None:
    from hanseg_shared.client.session import open_running

    with open_running(url) as client:
        client.register_sheet(done)
        for file in done.sheet.files:
            client.send_sheet_file(done, file.name, (folder / file.name).read_bytes())


def _report(done: SignedSheet, folder: Path, *, as_json: bool) -> None:
    from hanseg_lab.commissioning.report import verdict_of

    sheet = done.sheet
    for failure in sheet.failures:
        tell("failure", failure, as_json=as_json)
    tell(
        "commissioning",
        f"{verdict_of(sheet)} Sheet: {folder}",
        as_json=as_json,
        passed=sheet.passed,
        cases=sheet.cases,
        failures=len(sheet.failures),
        out=str(folder),
    )
