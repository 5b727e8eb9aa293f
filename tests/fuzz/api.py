"""Asks the whole API for minutes: ``python -m tests.fuzz.api --minutes 10``.

Each round has a new application and a seed of its own, which is printed with what it
finds: ``--seed 17 --minutes 0`` asks the same again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis import GenerationMode

from hanseg_segmentation.api.app import create_app
from hanseg_shared.access import Scope
from hanseg_shared.jobs.services import Services
from tests.api.conformance import (
    CHECKS,
    OPERATIONS,
    Ask,
    Asking,
    Caller,
    OpenApiOperation,
    ask,
    headers_of,
    make_things,
    open_services,
    read_schema,
    sending_as,
)
from tests.api.fakes import FakeChecker, FakeConverter, FakeWorker

EXAMPLES = 10
"""Requests for each operation and mode in one round."""

NOBODY = "nobody needs a key"

CALLERS: tuple[Caller | None, ...] = (None, *Caller)
"""None stands for the service on loopback, where nobody needs a key."""


def make_app(services: Services) -> FastAPI:
    """Return the application with a checker and a converter that know test files."""
    return create_app(
        services,
        check_case=FakeChecker(),
        convert_case=FakeConverter(),
        reconcile=False,
    )


def sender_of(
    caller: Caller | None, headers: dict[str, str], operation: OpenApiOperation
) -> Ask:
    """Return what sends a request and judges the answer."""
    if caller is None:
        return lambda case: case.call_and_validate(checks=CHECKS)
    return sending_as(caller, headers, operation)


def counting(counts: Counter[str], caller: Caller | None, send: Ask) -> Ask:
    """Return what also counts what it sends."""

    def count_and_send(case: schemathesis.Case[Any]) -> None:
        counts[caller.value if caller else NOBODY] += 1
        send(case)

    return count_and_send


def ask_all(caller: Caller | None, seed: int, counts: Counter[str]) -> list[str]:
    """Ask every operation as one caller; return what broke."""
    with tempfile.TemporaryDirectory(prefix="hanseg-fuzz-") as data:
        changes: dict[str, Any] = {"key_requests_per_second": 1e6}
        if caller is not None:
            changes["access"] = "keys"
        services = open_services(Path(data), **changes)
        app = make_app(services)
        headers = {} if caller is None else headers_of(caller, services)
        owners = services.tables.api_keys.create("anna", frozenset(Scope)).text
        keyed = {} if caller is None else {"Authorization": f"Bearer {owners}"}
        schema = read_schema(app)
        found = []
        with TestClient(app, headers=keyed) as api:
            things = make_things(api, FakeWorker(services))
            for path, method in OPERATIONS:
                operation = schema[path][method.upper()]
                send = counting(counts, caller, sender_of(caller, headers, operation))
                for mode in GenerationMode:
                    try:
                        ask(operation, mode, things, Asking(EXAMPLES, seed), send)
                    except Exception as error:  # noqa: BLE001 - is looked for
                        found.append(f"{method} {path} {mode.value}: {error}")
        services.tables.close()
    return found


def main() -> int:
    """Ask, print what broke and the counts; the status is 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    until, counts, broken = time.monotonic() + 60.0 * asked.minutes, Counter[str](), 0
    for seed in itertools.count(asked.seed):
        for caller in CALLERS:
            for fault in ask_all(caller, seed, counts):
                broken += 1
                name = caller.value if caller else NOBODY
                sys.stdout.write(f"seed {seed}, {name}: {fault}\n")
                sys.stdout.flush()
        if time.monotonic() >= until:
            break
    sys.stdout.write(json.dumps({"requests": counts, "broken": broken}) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
