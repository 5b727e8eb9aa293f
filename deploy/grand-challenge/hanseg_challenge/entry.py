"""The program of the challenge's container: every case of ``/input`` to ``/output``.

Exit status: 0 all cases are done; 2 the input, a setting or the model is at fault; 3 a
case failed. Whatever it is, `results.json` says so too.
"""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from hanseg_challenge.cases import ChallengeCase, find_cases
from hanseg_challenge.machine import limit_threads, usable_processors
from hanseg_challenge.models import UPLOADED, choose_model
from hanseg_challenge.plan import Answer, Order
from hanseg_challenge.results import (
    LABEL_MAPS,
    CaseRecord,
    write_refusal,
    write_results,
)
from hanseg_challenge.watch import Watch
from hanseg_shared.documents import TransformKind
from hanseg_shared.errors import HansegError, StoreError
from hanseg_shared.logs import configure_logging
from hanseg_shared.memory_limits import gigabytes
from hanseg_shared.settings import read_settings

logger = logging.getLogger(__name__)

DONE, AT_FAULT, FAILED = 0, 2, 3

LIMIT_SECONDS = 900.0
"""The challenge's limit on a case."""

RESERVE_SECONDS = 20.0
"""Kept of the limit for what is not the case's own: the container's start and end."""

FOLDER = click.Path(file_okay=False, path_type=Path)


class StoppedError(Exception):
    """The container was told to stop."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is the same for all cases of a run.

    Attributes:
        output: The output folder.
        model: The folder of the model's package.
        registration: Which motion the registration may find.
        seconds: Which a case may take.
        carry_out: Contours a case; `Watch.run`.
    """

    output: Path
    model: Path
    registration: TransformKind
    seconds: float
    carry_out: Callable[[Order], Answer]

    def contour(self, cases: Iterable[ChallengeCase]) -> int:
        """Contour cases one after the other; return the exit status."""
        records = [CaseRecord(each) for each in cases]
        write_results(self.output, records)
        statuses: Counter[int] = Counter()
        try:
            for number, record in enumerate(records):
                answer = self._contour(record.case)
                status = _say(number + 1, answer)
                records[number] = _conclude(record, answer)
                statuses[status] += 1
                write_results(self.output, records)
        except StoppedError:
            logger.error("the container was told to stop")  # noqa: TRY400
            return FAILED
        logger.info("%d of %d cases are done", statuses[DONE], len(records))
        return max(statuses)

    def _contour(self, case: ChallengeCase) -> Answer:
        label_map = self.output / LABEL_MAPS / case.label_map
        label_map.unlink(missing_ok=True)  # of an earlier run: not this one's answer
        with tempfile.TemporaryDirectory(prefix="hanseg-case-") as scratch:
            order = Order(
                ct=case.ct,
                mr=case.mr,
                label_map=label_map,
                scratch=Path(scratch),
                model=self.model,
                registration=self.registration,
                seconds=self.seconds,
            )
            return self.carry_out(order)


def _conclude(record: CaseRecord, answer: Answer) -> CaseRecord:
    """Return the record of a case that has ended."""
    return record.succeed() if answer.error is None else record.fail(answer.error)


def _say(number: int, answer: Answer) -> int:
    """Log what became of a case, without its name; return the exit status it asks for.

    The log masks names of image files, which often are those of patients.
    """
    if answer.error is not None:
        logger.error("case %d: %s", number, answer.error)
        return AT_FAULT if answer.at_fault else FAILED
    steps = ", ".join(f"{step} {each:g} s" for step, each in answer.seconds.items())
    held = gigabytes(answer.memory_bytes)
    logger.info("case %d: %s", number, answer.verdict)
    logger.info("case %d: %s", number, answer.inference)
    logger.info("case %d: %d organs; %s; %s", number, answer.organs, steps, held)
    return DONE


@click.command()
@click.option(
    "--input", "input_folder", type=FOLDER, default=Path("/input"), show_default=True
)
@click.option("--output", type=FOLDER, default=Path("/output"), show_default=True)
@click.option(
    "--model",
    envvar="HANSEG_CHALLENGE_MODEL",
    help="The model's name; by default the one that was uploaded, or `default`.",
)
@click.option(
    "--registration",
    envvar="HANSEG_CHALLENGE_REGISTRATION",
    type=click.Choice([kind.value for kind in TransformKind]),
    default=TransformKind.AFFINE.value,
    show_default=True,
    help="Motion that the registration may find.",
)
@click.option(
    "--seconds",
    envvar="HANSEG_CHALLENGE_SECONDS",
    type=click.FloatRange(min=2 * RESERVE_SECONDS),
    default=LIMIT_SECONDS,
    show_default=True,
    help="Time limit of a case.",
)
@click.option(
    "--ct-alone",
    envvar="HANSEG_CHALLENGE_CT_ALONE",
    is_flag=True,
    help="Use no MR, and let none be missing.",
)
@click.option("--uploaded", type=FOLDER, default=UPLOADED, show_default=True)
def main(
    *,
    input_folder: Path,
    output: Path,
    model: str | None,
    registration: str,
    seconds: float,
    ct_alone: bool,
    uploaded: Path,
) -> None:
    """Contour every case of the input folder, as the HaN-Seg challenge asks."""
    configure_logging("text")
    _make_folder(output / LABEL_MAPS)
    try:
        settings = read_settings()
        threads = limit_threads(settings.threads, usable_processors())
        chosen = choose_model(
            model or None, uploaded=uploaded, installed=settings.models
        )
        cases = find_cases(input_folder, ct_alone=ct_alone)
    except HansegError as error:
        _refuse(error, output)
    summary = chosen.package.summary
    logger.info("%d cases, model %s %s", len(cases), summary.name, summary.version)
    run = Run(
        output=output,
        model=chosen.folder,
        registration=TransformKind(registration),
        seconds=seconds - RESERVE_SECONDS,
        carry_out=Watch(environment=threads).run,
    )
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(run.contour(cases))


def _make_folder(folder: Path) -> None:
    """Make the folder of the label maps, or end: nothing could be written down."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.error("%s cannot be made: %s", folder, error.strerror)  # noqa: TRY400
        sys.exit(AT_FAULT)


def _refuse(error: HansegError, output: Path) -> NoReturn:
    logger.error("%s", error.message)
    write_refusal(output, error.message)
    sys.exit(FAILED if isinstance(error, StoreError) else AT_FAULT)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise StoppedError


if __name__ == "__main__":
    main()
