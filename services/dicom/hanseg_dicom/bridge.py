"""The bridge's process: one round after another, until it is told to stop."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from hanseg_dicom.errors import (
    OrthancAccessError,
    OrthancFaultError,
    OrthancUnavailableError,
)
from hanseg_dicom.ledger import Ledger
from hanseg_dicom.orthanc import Orthanc
from hanseg_dicom.records import CaseState
from hanseg_dicom.settings import BridgeSettings
from hanseg_dicom.watch import Watch
from hanseg_dicom.work import CASES, Work, pause_seconds
from hanseg_shared.client.client import Client
from hanseg_shared.errors import OptionError, ServiceUnavailableError

logger = logging.getLogger(__name__)

LOCK = "lock"
"""File of the data folder that a bridge holds locked while it runs."""

LOCK_TRIES, LOCK_SECONDS = 4, 0.1
"""How often, and how many seconds apart: `is_running` holds the lock for a moment."""

BEAT = "beat"
"""The fact that says when the bridge last did a round."""


class Bridge:
    """One bridge between one Orthanc and one service.

    Args:
        settings: See `BridgeSettings`.
        clock: Seconds since 1970.
        orthanc: Replaces the network to Orthanc, in tests.
        service: Replaces the network to the service, in tests.

    Raises:
        OptionError: An address is none.
        ServiceUnavailableError: The ledger cannot be used.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        clock: Callable[[], float] = time.time,
        orthanc: httpx.BaseTransport | None = None,
        service: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._orthanc = Orthanc(
            settings.orthanc_url,
            user=settings.orthanc_user,
            password=settings.password,
            transport=orthanc,
        )
        self._client = Client(
            settings.url, transport=service, key=settings.secret_key, retry=None
        )
        self.ledger = Ledger(settings.data)
        self._watch = Watch(self._orthanc, self.ledger, settings, clock)
        self._work = Work(self._orthanc, self._client, self.ledger, settings, clock)
        self._in_touch = False

    def close(self) -> None:
        """Close all connections."""
        self._orthanc.close()
        self._client.close()
        self.ledger.close()

    def round(self, *, stopping: threading.Event | None = None) -> None:
        """Note what changed, look at it, and advance every case that has a step due.

        Raises:
            OrthancUnavailableError: Orthanc does not answer.
            OrthancFaultError: It cannot tell its changes.
            OptionError: It does not know a destination that the settings name.
        """
        try:
            if not self._in_touch:
                self._begin()
            self._watch.follow()
            self._watch.look()
            for key in self.ledger.due_cases(self._clock()):
                if stopping is not None and stopping.is_set():
                    return
                self._work.advance(key)
        except (OrthancUnavailableError, OrthancFaultError):
            self._in_touch = False  # changes may be missed: Orthanc may be another one
            raise
        finally:
            self.ledger.put(BEAT, str(self._clock()))

    def run(self, stopping: threading.Event) -> None:
        """Do rounds until `stopping` is set; waits for Orthanc where it is away.

        Raises:
            OrthancAccessError: Orthanc refuses the bridge's user or password.
            OptionError: It does not know a destination that the settings name.
        """
        failures = 0
        while not stopping.is_set():
            pause = self._settings.poll_seconds
            try:
                self.round(stopping=stopping)
                failures = 0
            except OrthancAccessError:
                raise
            except (OrthancUnavailableError, OrthancFaultError) as error:
                pause = min(pause_seconds(failures), 60.0)
                failures += 1
                logger.warning("%s; again in %.0f s", error.message, pause)
            stopping.wait(pause)

    def _begin(self) -> None:
        """Find out what happened while there was no touch with Orthanc."""
        self._require_destinations()
        self._remove_leftovers()
        self._watch.begin()
        self._watch.compare()
        self._in_touch = True

    def _require_destinations(self) -> None:
        known = self._orthanc.modalities()
        for name in self._settings.destinations:
            if name not in known:
                told = f"it knows {', '.join(known)}" if known else "it knows none"
                raise OptionError(
                    f"HANSEG_BRIDGE_DESTINATIONS names {name}, which is no modality "
                    f"of Orthanc's; {told}"
                )

    def _remove_leftovers(self) -> None:
        """Remove files that a killed bridge left, but results not yet stored."""
        kept = {case.key for case in self.ledger.cases(CaseState.FETCHED)}
        for folder in (self._settings.data / CASES).glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sole_bridge(folder: Path) -> Iterator[None]:
    """Hold a data folder for the time of a block; it is made where it is missing.

    Raises:
        ServiceUnavailableError: Another bridge holds it, or it cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise ServiceUnavailableError(
            f"the bridge's data folder {folder} cannot be used: {error.strerror}"
        ) from error
    with lock:
        for left in reversed(range(LOCK_TRIES)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not left:
                    raise ServiceUnavailableError(
                        f"another bridge already uses the data folder {folder}"
                    ) from None
                time.sleep(LOCK_SECONDS)
        yield


def is_running(folder: Path) -> bool:
    """Whether a bridge holds a data folder."""
    try:
        with sole_bridge(folder):
            return False
    except ServiceUnavailableError:
        return True
