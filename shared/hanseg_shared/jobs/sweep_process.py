"""The sweep as a process of its own: ``python -m hanseg_shared.jobs.sweep_process``.

It sends the messages to webhooks, too, in threads of their own: no receiver, however
slow, keeps what has expired from being deleted. Any number of them may run, on any
number of machines.
"""

from __future__ import annotations

import signal
import sys
import threading

from hanseg_shared.errors import HansegError
from hanseg_shared.jobs.messenger import sending
from hanseg_shared.jobs.passes import attempt_pass
from hanseg_shared.jobs.pulse import SWEEP, give_pulse
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.store import open_store
from hanseg_shared.jobs.sweeper import Sweeper
from hanseg_shared.logs import configure_logging
from hanseg_shared.privacy import keep_private
from hanseg_shared.settings import Settings, settings_of_process

NO_SERVICE = 4
"""Exit status when the database cannot be opened."""

PASS_SECONDS = 5.0
"""Time between two looks for what has expired: at most so late it goes."""


def command(settings: Settings) -> list[str]:
    """Return what starts the sweep; the settings reach it by the environment."""
    del settings
    return [sys.executable, "-m", "hanseg_shared.jobs.sweep_process"]


def main() -> None:
    """Sweep until told to stop by SIGTERM or SIGINT."""
    settings = settings_of_process()
    configure_logging(settings.log)
    keep_private(settings.data)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        run(settings, stopping)
    except HansegError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line for the terminal
        sys.exit(NO_SERVICE)


def run(settings: Settings, stopping: threading.Event) -> None:
    """Sweep at intervals until it is told to stop.

    Raises:
        OptionError: The file of HANSEG_WEBHOOK_AUTHORITIES cannot be read.
        ServiceUnavailableError: The database cannot be opened.
    """
    tables = open_tables(settings)
    try:
        sweeper = Sweeper(tables, open_store(settings), settings)
        with sending(tables, settings, stopping):
            while not stopping.is_set():
                attempt_pass("sweep", sweeper.run_once)
                give_pulse(SWEEP)
                stopping.wait(PASS_SECONDS)
    finally:
        tables.close()


if __name__ == "__main__":
    main()
