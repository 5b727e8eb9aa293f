"""The command ``python -m hanseg_lab.challenge``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanseg_lab.challenge.methods import ATLAS, NEAREST, choose_methods
from hanseg_lab.challenge.settings import (
    ChallengeSettings,
    decide_settings,
    read_settings,
)
from hanseg_lab.locked import locked
from hanseg_shared.errors import HansegError, OptionError
from hanseg_shared.signal_handlers import handling, interrupt

if TYPE_CHECKING:
    from hanseg_lab.challenge.commands import Runner
    from hanseg_lab.challenge.ledger import Ledger, Step
    from hanseg_lab.challenge.run import Event

STAGES = (
    "data",
    "register",
    "train",
    "batch",
    "evaluate",
    "rank",
    "inputs",
    "mr",
    "real-data",
    "real-train",
    "real",
    "report",
)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

FAILED, INTERRUPTED = 1, 130

OUT = "~/hanseg-challenge"
"""Outside of the repository: it grows to some gigabytes."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that decide what is done, and how."""
    own = ChallengeSettings()
    grid = " ".join(f"{mm:g}" for mm in own.grid_mm)
    settings: list[Decorator] = [
        _number("--training-cases", int, "Patients to train on."),
        _number("--test-cases", int, "Patients to be scored on."),
        _number("--first-seed", int, "Seed of the first patient."),
        _number("--ct-spacing", float, "Of the CTs, mm.", setting="ct_spacing_mm"),
        click.option(
            "--grid",
            "grid_mm",
            type=(float, float, float),
            help=f"Spacing x y z of the networks' grids in mm.  [{grid}]",
        ),
        _number(
            "--processor-minutes",
            float,
            "Training budget of a method, all threads together.",
        ),
        _number(
            "--ensemble-factor",
            float,
            "How many budgets a method of several networks gets, 1 to 2.",
        ),
        _number("--folds", int, "Most networks of a method."),
        click.option(
            "--ants/--no-ants",
            default=None,
            help="Register with ANTs where a recipe says so, minutes a case, instead of"
            " with elastix.",
        ),
        click.option(
            "--methods",
            callback=_split,
            help=f"Who competes, separated by commas.  [{','.join(own.methods)}]",
        ),
        click.option(
            "--mr-methods",
            callback=_split,
            help="Of whom it is seen what the MR buys; '' for none.  "
            f"[{','.join(own.mr_methods)}]",
        ),
        click.option(
            "--openkbp",
            type=click.Path(),
            callback=_resolve,
            help="OpenKBP's images: the same recipes on real patients.  [none]",
        ),
        _number(
            "--real-training-cases", int, "Its training cases that are trained on."
        ),
        _number("--real-cases", int, "Its validation cases that are scored."),
        _number("--real-minutes", float, "Training budget of a method on them."),
    ]
    run: list[Decorator] = [
        click.option(
            "--at-once",
            type=click.IntRange(min=1),
            default=len(os.sched_getaffinity(0)),
            show_default="the processors",
            help="Trainings beside each other, with a thread each.",
        ),
        click.option(
            "--docs",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder that gets a copy of the page, as lab/challenge.md, and of its"
            " pictures.",
        ),
    ]
    for each in reversed([*settings, *run]):
        command = each(command)
    return command


def _number(flag: str, kind: type, said: str, *, setting: str = "") -> Decorator:
    """Return the option of a setting, whose own value its help names."""
    name = setting or flag.removeprefix("--").replace("-", "_")
    own = getattr(ChallengeSettings(), name)
    return click.option(flag, name, type=kind, help=f"{said}  [{own:g}]")


_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(OUT),
    show_default=True,
    help="Folder for everything; a run that is started again goes on there.",
)


def _split(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",") if name.strip()]
    return tuple(method.name for method in choose_methods(names))


def _resolve(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> str | None:
    """Return a folder's full path: a run that goes on may be started elsewhere."""
    return str(Path(value).expanduser().resolve()) if value else value


@click.group()
def challenge() -> None:
    """Methods learn, compete and are ranked on simulated cases."""


@challenge.command()
@click.argument("stage", type=click.Choice(STAGES), required=False)
@click.argument("subject", required=False)
@_out
@_options
def run(
    stage: str | None,
    subject: str | None,
    *,
    out: Path,
    at_once: int,
    docs: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Do everything that is not done, or only a STAGE and what it needs.

    SUBJECT is a method for train, batch and evaluate; without it, the stage is done for
    all of them.
    """
    from hanseg_lab.challenge.commands import ChildCommands
    from hanseg_lab.challenge.files import copy_page
    from hanseg_lab.challenge.places import Places
    from hanseg_lab.challenge.run import run_steps

    folder = out.expanduser().resolve()
    with locked(folder) as lock, handling((signal.SIGTERM,), interrupt):
        settings = decide_settings(folder, given)
        commands = ChildCommands(lock)
        ledger = _ledger(folder, settings, commands)
        wanted = ledger.with_needs(_names(ledger.steps, stage, subject))
        failed = run_steps(
            wanted, ledger, at_once=at_once, tell=_tell, stop=commands.stop
        )
        if docs is not None and not failed and wanted[-1].stage == "report":
            copy_page(Places(folder).report, docs)
    if failed:
        raise SystemExit(FAILED)
    click.echo(f"all of it is in {folder}", err=True)


@challenge.command()
@_out
def status(*, out: Path) -> None:
    """Say which steps are done, and what they took."""
    from hanseg_lab.challenge.commands import ChildCommands
    from hanseg_lab.challenge.run import describe

    folder = out.expanduser().resolve()
    ledger = _ledger(folder, read_settings(folder), ChildCommands())
    for step in ledger.steps:
        done = describe(ledger.taken(step)) if ledger.is_done(step) else "to be done"
        click.echo(f"{step.name}: {done}")


@challenge.command()
@click.argument("method", type=click.Choice([NEAREST, ATLAS]))
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@click.argument("testing", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def copy(method: str, training: Path, testing: Path, out: Path) -> None:
    """Contour TESTING by the most similar cases of TRAINING."""
    from hanseg_lab.challenge.nearest import ElastixMatcher, contour_cases

    matcher = ElastixMatcher(deforms=method == ATLAS)
    count = contour_cases(training, testing, out, matcher)
    click.echo(f"{count} cases contoured in {out}")


@challenge.command()
@click.argument("given")
@click.argument("testing", type=click.Path(exists=True, path_type=Path))
@click.option("--first-seed", type=int, required=True)
@click.option("--count", type=int, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def inputs(
    given: str, testing: Path, *, first_seed: int, count: int, out: Path
) -> None:
    """Write the cases of TESTING with the MR that is GIVEN, or without."""
    from hanseg_lab.challenge.mr_inputs import find_input, write_cases

    seeds = range(first_seed, first_seed + count)
    written = write_cases(find_input(given), testing, seeds, out)
    click.echo(f"{written} cases written to {out}")


def _ledger(folder: Path, settings: ChallengeSettings, commands: Runner) -> Ledger:
    """Return the steps of the challenge in a folder."""
    from hanseg_lab.challenge.ledger import Ledger
    from hanseg_lab.challenge.places import Places
    from hanseg_lab.challenge.report import write_report
    from hanseg_lab.challenge.stages import Stages

    places = Places(folder)

    def report() -> None:
        write_report(places, settings, ledger)

    stages = Stages(places, settings, commands, report)
    ledger = Ledger(places.records, stages.steps())
    return ledger


def _names(
    steps: Sequence[Step], stage: str | None, subject: str | None
) -> tuple[str, ...]:
    """Return the names of the steps that are asked for.

    Raises:
        OptionError: There is no such step.
    """
    found = [step for step in steps if step.stage == (stage or STAGES[-1])]
    if subject is not None:
        found = [step for step in found if step.subject.lower() == subject.lower()]
    if not found and subject is None:
        raise OptionError(f"there is nothing to do for {stage} with these methods")
    if not found:
        there = ", ".join(step.subject for step in steps if step.stage == stage)
        raise OptionError(f"{stage} has no {subject!r}; there are {there}")
    return tuple(step.name for step in found)


def _tell(step: Step, event: Event, remark: str) -> None:
    said = f"{event.value} ({remark})" if remark else event.value
    click.echo(f"{datetime.now():%H:%M:%S} {step.name}: {said}", err=True)


def main() -> None:
    """Run the command; end with what went wrong in a sentence."""
    try:
        challenge(standalone_mode=False)
    except HansegError as error:
        sys.exit(f"error: {error.message}")
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; started again, it goes on", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
