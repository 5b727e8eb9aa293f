"""Load: many clients at once, a gigabyte sent, silent connections; and memory.

The whole service runs, as `hanseg serve` starts it, with a model that takes no time
(`hanseg_lab.quick_model`) and a case as small as can be.

    python -m benchmarks.load [--jobs 300] [--clients 16] [--only crowd,upload,silent]

Times are those of the machine as it is: its load is in the table, and so is what
`/livez`, which does nothing, takes meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load.crowd import (
    Case,
    cost_of_a_look,
    send_alone,
    send_crowd,
    summarise,
)
from benchmarks.load.service import running
from benchmarks.load.silent import endure
from benchmarks.load.uploads import send_large

from hanseg_lab.phantom import make_case
from hanseg_shared.io import write_volume

RESULTS = Path(__file__).resolve().parents[1] / "results" / "load.json"

SPACING_MM = (6.0, 6.0, 6.0)
"""That of the CT, so that a stage takes fractions of a second."""

USUAL_FILES = 1024
"""The limit of open files that most machines have."""

PARTS = ("crowd", "upload", "silent")


def measure_crowd(ct: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Send jobs one by one, then by many clients."""
    case = Case(ct)
    with running() as service:
        alone = send_alone(service, case)
        started = time.monotonic()
        crowd, memory = send_crowd(
            service,
            [case],
            jobs=options.jobs,
            clients=options.clients,
            seconds=options.seconds,
        )
        seconds = time.monotonic() - started
        load = os.getloadavg()[0]
        look_ms, livez_ms = cost_of_a_look(service, case)
    parts = ("overhead", "waiting", "between", "noticing", "stages")
    rows = [summarise(f"alone: {name}", getattr(alone, name)) for name in parts]
    kinds = ("submit", "poll", "download", "livez")
    rows += [summarise(name, getattr(crowd, name)) for name in kinds]
    return {
        "jobs": len(crowd.submit),
        "asked": options.jobs,
        "clients": options.clients,
        "failed": alone.failed + crowd.failed,
        "seconds": round(seconds, 1),
        "load_average": round(load, 1),
        "rows": [asdict(row) for row in rows],
        "processor_ms": {"look at a job": look_ms, "livez": livez_ms},
        "memory_mb": {name: held.row() for name, held in memory.held.items()},
    }


def measure_uploads(_: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Send large bodies."""
    with running() as service:
        sent = send_large(service, options.megabytes)
    return [asdict(each) | {"added_mb": each.added_mb} for each in sent]


def measure_silence(ct: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Hold more silent connections than the usual limit of open files allows."""
    with running(files=USUAL_FILES) as service:
        found = endure(
            service, ct, connections=options.silent, seconds=options.silent_seconds
        )
    row = asdict(summarise("livez", found.livez))
    load = round(os.getloadavg()[0], 1)
    return asdict(found) | {"livez": row, "load_average": load}


MEASURES: dict[str, Callable[[Path, argparse.Namespace], Any]] = {
    "crowd": measure_crowd,
    "upload": measure_uploads,
    "silent": measure_silence,
}


def report_crowd(found: dict[str, Any]) -> None:
    """Print what the crowd met."""
    print(
        f"{found['jobs']} jobs of {found['asked']}, {found['clients']} clients: "
        f"{found['seconds']} s, "
        f"{found['failed']} failed; load average {found['load_average']}"
    )
    print(f"{'':24}{'count':>7}{'p50 ms':>10}{'p95 ms':>10}")
    for row in found["rows"]:
        figures = f"{row['count']:7}{row['p50_ms']:10.1f}{row['p95_ms']:10.1f}"
        print(f"{row['name']:24}{figures}")
    for name, cost in found["processor_ms"].items():
        print(f"processor time of {name}: {cost} ms")
    print(f"{'MB held':24}{'first':>7}{'most':>10}{'last':>10}")
    for name, held in found["memory_mb"].items():
        print(f"{name:24}{held['first']:7}{held['most']:10}{held['last']:10}")


def report_uploads(found: list[dict[str, Any]]) -> None:
    """Print what large bodies added."""
    for each in found:
        print(
            f"{each['way']:24}{each['seconds']:7} s, answered {each['status']}: "
            f"{each['added_mb']} MB added to {each['before_mb']}"
        )


def report_silence(found: dict[str, Any]) -> None:
    """Print how silent connections were stood."""
    row = found["livez"]
    print(
        f"{found['connections']} silent connections, {found['made']} made, "
        f"{USUAL_FILES} open files; load average {found['load_average']}\n"
        f"livez {row['count']} answered, {found['unanswered']} not, "
        f"p50 {row['p50_ms']} ms, p95 {row['p95_ms']} ms\n"
        f"submissions by answer: {found['submitted']}\n"
        f"{found['processor_share']} of a processor; "
        f"the log grew by {found['log_bytes']} bytes"
    )


REPORTS: dict[str, Callable[[Any], None]] = {
    "crowd": report_crowd,
    "upload": report_uploads,
    "silent": report_silence,
}


def main() -> None:
    """Print tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--silent", type=int, default=1100)
    parser.add_argument("--silent-seconds", type=float, default=60.0)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    document = {part: kept.get(part) for part in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        ct = Path(folder) / "ct.nii.gz"
        write_volume(make_case(7, ct_spacing=SPACING_MM).ct, ct)
        for part in options.only.split(","):
            found = document[part] = MEASURES[part](ct, options)
            REPORTS[part](found)
            RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
