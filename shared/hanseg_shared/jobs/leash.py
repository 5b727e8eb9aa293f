"""Runs a command that dies when the process that started it dies; Linux only.

``python -m hanseg_shared.jobs.leash PARENT COMMAND…`` asks the kernel for a signal at
the parent's death and then becomes COMMAND. Even a supervisor that is killed with
SIGKILL leaves nothing running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Linux's prctl option: the signal a process gets when its parent dies."""


def die_with_parent(signal_number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    except (OSError, AttributeError):  # not Linux: a supervisor still stops children
        return


def main() -> None:
    """Bind this process's life to its parent's and become the command."""
    parent, *command = sys.argv[1:]
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the kernel was told
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
