"""Work that is done again and again: all steps of a pass, whatever fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hanseg_shared.errors import HansegError, ServiceUnavailableError

logger = logging.getLogger(__name__)


def do_all(*steps: Callable[[], None]) -> None:
    """Do every step, also after one has failed; then raise what the first raised."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised below, after the others
            failures.append(error)
    if failures:
        for failure in failures[1:]:
            logger.warning("the same pass also met this: %s", failure)
        raise failures[0]


class PassThread:
    """Does a pass at intervals until it is stopped, whatever the passes meet.

    Args:
        name: What the log calls it.
        run_once: One pass.
        interval_seconds: Time between two passes.
    """

    def __init__(
        self, name: str, run_once: Callable[[], None], *, interval_seconds: float
    ) -> None:
        self._name = name
        self._run_once = run_once
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pass that is running."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            attempt_pass(self._name, self._run_once)


def attempt_pass(name: str, run_once: Callable[[], None]) -> None:
    """Do one pass; what it raises is logged."""
    try:
        run_once()
    except ServiceUnavailableError as error:
        logger.warning("the %s waits: %s", name, error)
    except HansegError:
        logger.exception("the %s could not finish its pass", name)
    except Exception:
        # it must outlive any fault: without it, what is lost stays lost
        logger.exception("the %s failed and will try again", name)
