"""Checks whether a process of the service works, for a container's health check.

``python -m hanseg_shared.jobs.probe api``, ``sweep``, or a queue's name for this host's
worker. The exit status is 0 if it works and 1 if not; the reason goes to stderr.

It runs every few seconds in every container, so it loads Python's own modules alone:
with the database's it took a second of a core each time, and too long on a busy host.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import threading

from hanseg_shared.jobs.pulse import (
    ALIVE_SECONDS,
    PULSE_SECONDS,
    SWEEP,
    WORKERS,
    seconds_since_pulse,
)

API = "api"
"""The name of the API; the workers go by the names of their queues."""

ANSWER_SECONDS = 5.0
"""How long the API may take to answer."""


PROBE_SECONDS = 8.0
"""How long the whole probe may take; below what any container engine gives it."""


def complaint(part: str) -> str | None:
    """Return what is wrong with the API, the sweep or a queue's worker, if anything."""
    if part == API:
        return _complaint_of_api(_port())
    if part == SWEEP:
        return _complaint_of_sweep()
    return _complaint_of_worker(part)


def _port() -> int:
    """Return the API's port; the settings are loaded only where they have to say it."""
    given = os.environ.get("HANSEG_PORT", "")
    if given.isdecimal():
        return int(given)
    from hanseg_shared.settings import settings_of_process

    return settings_of_process().port


def _complaint_of_api(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the API does not answer on port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"the API answered /livez with {status}"


def _complaint_of_sweep() -> str | None:
    ago = seconds_since_pulse(SWEEP)
    if ago is None:
        return "the sweep has not finished a pass yet"
    if ago > PULSE_SECONDS:
        return f"the sweep finished its last pass {ago:.0f} s ago"
    return None


def _complaint_of_worker(queue: str) -> str | None:
    ago = seconds_since_pulse(queue)
    if ago is not None and ago <= ALIVE_SECONDS:
        return None
    return (
        f"no {queue} worker of this host was ready in the last {ALIVE_SECONDS:.0f} s; "
        "/readyz says whether one is loading"
    )


def _end_when_late(part: str) -> None:
    """End this process: a disk that is frozen would keep it for ever."""
    sys.stderr.write(f"no answer about {part} in {PROBE_SECONDS:.0f} s\n")
    sys.stderr.flush()
    os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status for what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m hanseg_shared.jobs.probe")
    parser.add_argument("part", choices=[API, SWEEP, *WORKERS])
    part = parser.parse_args(arguments).part
    late = threading.Timer(PROBE_SECONDS, _end_when_late, args=(part,))
    late.daemon = True
    late.start()
    try:
        found = complaint(part)
    finally:
        late.cancel()
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
