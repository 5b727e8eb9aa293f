"""One child process: started on a leash, logged to a file, restarted when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hanseg_shared.cli import CANNOT_START
from hanseg_shared.privacy import OTHERS, open_private
from hanseg_shared.settings import BAD_SETTINGS

logger = logging.getLogger(__name__)

QUICK_DEATH_SECONDS = 20.0
"""A child that dies sooner after its start did not get to work; one that has never
worked did not either, however long a slow machine took to start it."""

MOST_QUICK_DEATHS = 4
"""After so many quick deaths in a row, starting it again is of no use."""

LONGEST_PAUSE_SECONDS = 30.0
"""Between two starts of a child that has worked before and now dies again and again."""

LEASH = (sys.executable, "-m", "hanseg_shared.jobs.leash")
"""Wrapper that ends a child when we end; our process id and its command follow."""

MOST_LOG_BYTES = 10_000_000
"""A log that is larger is put aside, in place of the last one."""

TAIL_BYTES = 4096
"""How much of a log is read to say why a child died."""


@dataclass(slots=True)
class Child:
    """A supervised process.

    Attributes:
        name: What the messages call it.
        command: Its program and arguments.
        environment: Its whole environment.
        log: The file its output goes to.
        stdin: What it reads; nothing by default.
        quick_deaths: How often in a row it died before it got to work.
        proven: Whether it has worked before: then whatever kills it may pass.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stdin: str | None = None
    quick_deaths: int = 0
    proven: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _due_at: float = field(default=0.0)

    @property
    def pid(self) -> int | None:
        """The process's id; None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def refused(self) -> bool:
        """Whether it ended by itself because it would fail at every start."""
        code = None if self._process is None else self._process.returncode
        return code in {CANNOT_START, BAD_SETTINGS}

    @property
    def hopeless(self) -> bool:
        """Whether it never worked, and refused to start or died at once too often."""
        if self.proven:
            return False
        return self.refused or self.quick_deaths >= MOST_QUICK_DEATHS

    def start(self) -> None:
        """Start the process, in a session of its own so that Ctrl-C spares it."""
        with self._open_log() as log:
            self._process = subprocess.Popen(
                [*LEASH, str(os.getpid()), *self.command],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL if self.stdin is None else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=OTHERS,
            )
        if self.stdin is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
                stdin.write(self.stdin.encode())
        self._started_at = time.monotonic()
        self._due_at = 0.0

    def revive(self) -> str | None:
        """Start the process again if it has died; returns why it died, if it did.

        Between quick deaths it waits for longer and longer.
        """
        if self._process is None or self._process.poll() is None:
            return None
        if self._due_at == 0.0:
            self._note_death()
            return self._obituary()
        if not self.hopeless and time.monotonic() >= self._due_at:
            try:
                self.start()
            except OSError as error:  # no memory, or no process to be had
                logger.warning("%s cannot be started now: %s", self.name, error)
                self._due_at = time.monotonic() + LONGEST_PAUSE_SECONDS
        return None

    def trim_log(self) -> None:
        """Put a log aside that has become too large while its child writes it.

        It is copied and emptied, as the child has it open; on a full disk only emptied.
        """
        try:
            if self.log.stat().st_size <= MOST_LOG_BYTES:
                return
            aside = self.log.with_name(f"{self.log.name}.1")
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
                with (
                    self.log.open("rb") as source,
                    open(aside, "wb", opener=open_private) as sink,
                ):
                    shutil.copyfileobj(source, sink)
            os.truncate(self.log, 0)
        except OSError:
            return

    def terminate(self) -> None:
        """Ask the process to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic seconds), then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s does not stop and is killed", self.name)
        self._kill_session()
        self._process.wait()

    def last_words(self) -> str:
        """Return the last line of its log, for a message of one line."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _open_log(self) -> IO[bytes]:
        """Open the log; on a disk that has no room for it, nothing is kept."""
        try:
            self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > MOST_LOG_BYTES:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            return open(self.log, "ab", opener=open_private)
        except OSError as error:
            logger.warning("%s is started without a log: %s", self.name, error)
            return Path(os.devnull).open("ab")

    def _note_death(self) -> None:
        now = time.monotonic()
        quick = now - self._started_at < QUICK_DEATH_SECONDS or not self.proven
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        pause = 0.25 * 2 ** min(self.quick_deaths, 8) if quick else 0.0
        self._due_at = now + min(pause, LONGEST_PAUSE_SECONDS)
        self._kill_session()

    def _obituary(self) -> str:
        """Say how it ended, and what it said last unless something killed it."""
        code = self._process.returncode if self._process else 0
        if self.refused:
            words = self.last_words()
            said = words.removeprefix("hanseg: ")
            return said if said != words else f"{self.name} cannot start: {words}"
        if code < 0:
            return f"{self.name} was killed by {signal.Signals(-code).name}"
        words = self.last_words() if code else ""
        return f"{self.name} ended with status {code}" + (f": {words}" if words else "")

    def _kill_session(self) -> None:
        # what the process started must not outlive it
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
