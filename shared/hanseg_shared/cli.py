"""The command `hanseg`: its sub-commands come from whatever is installed.

Each distribution contributes commands by the entry point group `hanseg.commands`.
Exit status: 0 done, 2 bad input, 3 the job failed, 4 no service.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import FrameType

import click

from hanseg_shared.errors import HansegError, InputError, ServiceUnavailableError

COMMANDS = "hanseg.commands"
"""Entry point group of the sub-commands."""

BAD_INPUT, FAILED, NO_SERVICE, INTERRUPTED = 2, 3, 4, 130

CANNOT_START = os.EX_CONFIG
"""What a worker ends with that would fail alike at every start (78)."""


class InstalledCommands(click.Group):
    """A group that finds its commands among the installed distributions."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands' names."""
        return sorted(entry.name for entry in entry_points(group=COMMANDS))

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, importing only its own module."""
        for entry in entry_points(group=COMMANDS, name=cmd_name):
            command = entry.load()
            return command if isinstance(command, click.Command) else None
        return None


@click.group(cls=InstalledCommands)
@click.version_option(package_name="hanseg-shared")
def hanseg() -> None:
    """Contour the 30 HaN-Seg organs at risk on a planning CT, with a T1 MR if any."""
    from hanseg_shared.settings import require_known_variables

    require_known_variables(os.environ)


@click.command()
def organs() -> None:
    """List the 30 organs at risk: label, name, side, code."""
    from rich.console import Console
    from rich.table import Table

    from hanseg_shared.organs import ORGANS

    table = Table("label", "name", "side", "SNOMED CT", "what it is")
    for organ in ORGANS:
        red, green, blue = organ.colour
        table.add_row(
            str(organ.label),
            f"[rgb({red},{green},{blue})]■[/] {organ.name}",
            organ.side.value,
            organ.code.value,
            organ.description,
        )
    Console().print(table)


def exit_status(error: HansegError) -> int:
    """Return the exit status that an error ends a command with."""
    if isinstance(error, InputError):
        return BAD_INPUT
    if isinstance(error, ServiceUnavailableError):
        return NO_SERVICE
    return FAILED


def main() -> None:
    """Run the command line; every error is told in one line."""
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            status = hanseg.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = BAD_INPUT
    except HansegError as error:
        click.echo(f"hanseg: {error.message}", err=True)
        status = exit_status(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED  # who read the output has gone
    except OSError as error:
        click.echo(f"hanseg: {_told(error)}", err=True)
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        status = NO_SERVICE if is_full else BAD_INPUT
    sys.exit(status if isinstance(status, int) else 0)


@contextlib.contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Take signals that end a process for Ctrl-C, so that everything is cleaned up.

    Patients' images would be left in a temporary folder otherwise. A signal that is
    ignored, as by ``nohup``, stays so.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
