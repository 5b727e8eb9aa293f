"""`hanseg bridge`: run the bridge to Orthanc, look at its cases, do one again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from hanseg_shared.errors import InputError, JobError, ServiceUnavailableError
from hanseg_shared.logs import configure_logging
from hanseg_shared.terminal import json_option, print_event, print_table, tell

if TYPE_CHECKING:
    from hanseg_dicom.ledger import Ledger
    from hanseg_dicom.records import Case
    from hanseg_dicom.settings import BridgeSettings

SILENT_SECONDS = 900.0
"""A bridge that did no round for so long is not well; sending to a destination may take
`SEND_SECONDS`."""

SHOWN = 50
"""Most cases that `status` lists if not all are asked for."""


@click.group()
def bridge() -> None:
    """Contour what arrives in Orthanc, and store the results there.

    docs/how-to/orthanc.md explains the settings (HANSEG_BRIDGE_...).
    """


@bridge.command()
def run() -> None:
    """Run the bridge until Ctrl-C."""
    from hanseg_dicom.bridge import Bridge, sole_bridge
    from hanseg_dicom.settings import read_bridge_settings

    settings = read_bridge_settings()
    configure_logging(settings.log)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with sole_bridge(settings.data):
        found = Bridge(settings)
        try:
            logging.getLogger(__name__).info(
                "from Orthanc at %s to %s", settings.orthanc_url, settings.url
            )
            found.run(stopping)
        finally:
            found.close()


@bridge.command()
@click.option("--all", "everything", is_flag=True, help="Also what was done long ago.")
@json_option
def status(everything: bool, as_json: bool) -> None:
    """Show the bridge's cases: what is under way, and what failed and why.

    Exit status: 0 all is well, 3 a case failed, 4 no bridge runs here.
    """
    settings, ledger = _open_ledger()
    try:
        _print_status(settings, ledger, everything=everything, as_json=as_json)
    finally:
        ledger.close()


@bridge.command()
@click.argument("case")
@json_option
def retry(case: str, as_json: bool) -> None:
    """Do the failed CASE again, as a new job, once its cause is removed.

    CASE is a name that `hanseg bridge status` lists.
    """
    from hanseg_dicom.records import ENDED, CaseState

    _, ledger = _open_ledger()
    try:
        found = [each for each in ledger.cases() if case in {each.name, each.key}]
        if not found:
            raise InputError(
                f"the bridge has no case {case!r}; see hanseg bridge status"
            )
        if found[0].state not in ENDED:
            raise InputError(f"{case} has not ended; it is {found[0].state}")
        if found[0].state is CaseState.SUPERSEDED:
            raise InputError(f"{case} was superseded: {found[0].reason}")
        ledger.begin_anew(found[0].key, time.time())
    finally:
        ledger.close()
    tell("retried", f"{case} is found once more", as_json=as_json, case=case)


@bridge.command(hidden=True)
def health() -> None:
    """Whether the bridge does its rounds, for the container's health check."""
    settings, ledger = _open_ledger()
    try:
        _require_beat(settings, ledger)
    finally:
        ledger.close()


def _open_ledger() -> tuple[BridgeSettings, Ledger]:
    """Return the settings and the memory of a bridge that ran here at least once."""
    from hanseg_dicom.ledger import FILE, Ledger
    from hanseg_dicom.settings import read_bridge_settings

    settings = read_bridge_settings()
    if not (settings.data / FILE).is_file():
        raise ServiceUnavailableError(
            f"no bridge ever ran with the data folder {settings.data}; see "
            "HANSEG_BRIDGE_DATA"
        )
    return settings, Ledger(settings.data)


def _require_beat(settings: BridgeSettings, ledger: Ledger) -> None:
    from hanseg_dicom.bridge import BEAT, is_running

    if not is_running(settings.data):
        raise ServiceUnavailableError(
            f"no bridge runs with the data folder {settings.data}"
        )
    silent = time.time() - float(ledger.fact(BEAT) or 0)
    if silent > SILENT_SECONDS:
        raise ServiceUnavailableError(
            f"the bridge did nothing for {silent / 60:.0f} minutes"
        )


def _print_status(
    settings: BridgeSettings, ledger: Ledger, *, everything: bool, as_json: bool
) -> None:
    from hanseg_dicom.records import ENDED, CaseState

    cases = ledger.cases()
    open_cases = [each for each in cases if each.state not in ENDED]
    failed = [each for each in cases if each.state is CaseState.FAILED]
    newest = [*failed, *open_cases][-SHOWN:]  # of too many, failed ones are left out
    open_first = sorted(newest, key=lambda each: each.state is CaseState.FAILED)
    shown = cases if everything else open_first
    waiting = ledger.waiting()
    if as_json:
        for each in shown:
            print_event("case", **_members(each))
    elif shown:
        rows = [(e.name, e.state, e.job or "", _time(e), e.reason) for e in shown]
        print_table(("case", "state", "job", "since (UTC)", "reason"), rows)
    done = sum(each.state is CaseState.DONE for each in cases)
    tell(
        "status",
        f"{len(open_cases)} under way, {len(failed)} failed, {done} done; "
        f"{waiting} studies wait for an MR",
        as_json=as_json,
        under_way=len(open_cases),
        failed=len(failed),
        done=done,
        waiting=waiting,
    )
    _require_beat(settings, ledger)
    if failed:
        raise JobError(
            f"{len(failed)} cases failed; `hanseg bridge retry CASE` does one again"
        )


def _members(case: Case) -> dict[str, object]:
    return {
        "case": case.name,
        "key": case.key,
        "state": case.state.value,
        "job": case.job,
        "since": case.changed_at,
        "attempts": case.attempts,
        "reason": case.reason,
    }


def _time(case: Case) -> str:
    return datetime.fromtimestamp(case.changed_at, UTC).strftime("%Y-%m-%d %H:%M")
