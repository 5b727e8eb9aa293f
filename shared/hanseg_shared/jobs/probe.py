"""Checks whether a process of the service works, for a container's health check.

``python -m hanseg_shared.jobs.probe api``, or a queue's name for this host's worker.
The exit status is 0 if it works and 1 if not; the reason goes to stderr.
"""

from __future__ import annotations

import argparse
import http.client
import sys

from hanseg_shared.errors import HansegError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.worker import ALIVE_SECONDS, has_live_worker
from hanseg_shared.settings import Settings, settings_of_process

API = "api"
"""The name of the API; the workers go by the names of their queues."""

ANSWER_SECONDS = 5.0
"""How long the API may take to answer."""


def complaint(part: str, settings: Settings) -> str | None:
    """Return what is wrong with the API or a queue's worker; None if it works."""
    if part == API:
        return _complaint_of_api(settings)
    return _complaint_of_worker(QueueName(part), settings)


def _complaint_of_api(settings: Settings) -> str | None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", settings.port, timeout=ANSWER_SECONDS
    )
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the API does not answer on port {settings.port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"the API answered /livez with {status}"


def _complaint_of_worker(queue: QueueName, settings: Settings) -> str | None:
    try:
        is_live = has_live_worker(settings, queue)
    except HansegError as error:
        return error.message
    if is_live:
        return None
    return (
        f"no {queue} worker of this host was ready in the last {ALIVE_SECONDS:.0f} s; "
        "/readyz says whether one is loading"
    )


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status for what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m hanseg_shared.jobs.probe")
    parser.add_argument("part", choices=[API, *(queue.value for queue in QueueName)])
    found = complaint(parser.parse_args(arguments).part, settings_of_process())
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
