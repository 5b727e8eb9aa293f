"""The command `hanseg`: its sub-commands come from whatever is installed.

Each distribution contributes commands by the entry point group `hanseg.commands`.
Exit status: 0 done, 2 bad input, 3 the job failed, 4 no service.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import asdict
from importlib.metadata import entry_points

import click

from hanseg_shared.errors import (
    HansegError,
    InputError,
    JobNotFoundError,
    ServiceUnavailableError,
)
from hanseg_shared.missing import missing_library
from hanseg_shared.signal_handlers import handling, interrupt
from hanseg_shared.terminal import (
    json_is_asked,
    json_option,
    print_event,
    table_of,
)

COMMANDS = "hanseg.commands"
"""Entry point group of the sub-commands."""

BAD_INPUT, FAILED, NO_SERVICE, INTERRUPTED = 2, 3, 4, 130

CANNOT_START = os.EX_CONFIG
"""Exit status (78) of a worker that would fail in the same way at every start."""


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
            try:
                command = entry.load()
            except ModuleNotFoundError as error:
                return _unusable(cmd_name, missing_library(error))
            return command if isinstance(command, click.Command) else None
        return None


def _unusable(name: str, reason: HansegError) -> click.Command:
    """Return a command that, whatever it is given, says what it lacks."""

    def refuse(arguments: tuple[str, ...]) -> None:  # noqa: ARG001
        raise reason

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        short_help=f"Not usable: {reason}",
    )


@click.group(cls=InstalledCommands)
@click.version_option(package_name="hanseg-shared")
def hanseg() -> None:
    """Contour the 30 HaN-Seg organs at risk on a planning CT, with a T1 MR if any."""
    from hanseg_shared.settings import require_known_variables

    require_known_variables(os.environ)


@click.command()
@json_option
def organs(as_json: bool) -> None:
    """List the 30 organs at risk: label, name, side, code."""
    from rich.console import Console
    from rich.text import Text

    from hanseg_shared.organs import ORGANS

    if as_json:
        for organ in ORGANS:
            print_event("organ", **asdict(organ))
        return
    rows = []
    for organ in ORGANS:
        red, green, blue = organ.colour
        name = Text.assemble(("■", f"rgb({red},{green},{blue})"), f" {organ.name}")
        side, code = organ.side.value, organ.code.value
        rows.append((str(organ.label), name, side, code, organ.description))
    headings = ("label", "name", "side", "SNOMED CT", "what it is")
    Console().print(table_of(headings, rows, right=headings[:1]))


def exit_status(error: HansegError) -> int:
    """Return the exit status that an error ends a command with."""
    if isinstance(error, InputError | JobNotFoundError):
        return BAD_INPUT
    if isinstance(error, ServiceUnavailableError):
        return NO_SERVICE
    return FAILED


def main() -> None:
    """Run the command line; every error is one line."""
    as_json = json_is_asked(sys.argv[1:])
    try:
        with handling((signal.SIGTERM, signal.SIGHUP), interrupt):
            status = hanseg.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        status = INTERRUPTED
        if isinstance(error.__cause__, EOFError):  # for click, as good as Ctrl-D
            status = FAILED
            told = str(error.__cause__) or "no more input"
            _report(f"a file ended too early: {told}", status, as_json=as_json)
    except click.ClickException as error:
        status = BAD_INPUT
        if as_json:
            _report(error.format_message(), status, as_json=True)
        else:
            error.show()
    except HansegError as error:
        status = exit_status(error)
        _report(error.message, status, as_json=as_json)
    except ModuleNotFoundError as error:
        status = NO_SERVICE
        _report(missing_library(error).message, status, as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED  # who read the output has gone
    except OSError as error:
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        status = NO_SERVICE if is_full else BAD_INPUT
        _report(_cause(error), status, as_json=as_json)
    sys.exit(status if isinstance(status, int) else 0)


def _report(message: str, status: int, *, as_json: bool) -> None:
    """Report an error in one line: as JSON, or as a sentence on the error stream."""
    if as_json:
        print_event("error", message=message, status=status)
    else:
        click.echo(f"hanseg: {message}", err=True)


def _cause(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
