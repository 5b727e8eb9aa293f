"""Throughput of the whole service: overhead, requests, memory, jobs an hour.

    python -m benchmarks.throughput [--only quick,default,workers] [--jobs 300] ...

- ``quick``: `hanseg serve`, the model that takes no time (`hanseg_lab.quick_model`).
- ``default``: `hanseg serve` as it ships, CT and MR of simulated patients as large as
  clinical ones; fewer jobs (40).
- ``workers``: one and two workers of each kind. First such as wait instead of
  computing, so that processors are no limit, and then real ones with the quick model,
  where they are.

Clients send as fast as they can. What is measured is printed as tables and written to
``benchmarks/results/service.json``, whose part ``default`` `hanseg capacity` reads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load.crowd import Case, send_alone, send_crowd, summarise
from benchmarks.load.service import Service, running
from benchmarks.throughput.houses import run_house
from benchmarks.throughput.rates import take_rate
from benchmarks.throughput.tables import report_run, report_workers

from hanseg_lab.phantom import make_case
from hanseg_shared.io import write_volume

RESULTS = Path(__file__).resolve().parents[1] / "results" / "service.json"

SMALL_SPACING_MM = (6.0, 6.0, 6.0)
"""The small case's CT, so that a stage takes fractions of a second."""

LARGE_SPACING_MM, LARGE_WIDTH_MM = (0.98, 0.98, 2.5), 500.0
LARGE_MR_SPACING_MM = (0.6, 0.6, 3.0)
"""About 512 x 512 x 133 voxels, and an MR as HaN-Seg's."""

PATIENTS = (7, 11, 23)
"""Seeds of the simulated patients, sent in turn."""

AS_IT_SHIPS = {"HANSEG_MIN_FREE_BYTES": "0"}
"""The default model with everything that the service does by default."""


def make_small(folder: Path) -> Case:
    """Write a CT as small as can be."""
    path = folder / "small.nii.gz"
    write_volume(make_case(PATIENTS[0], ct_spacing=SMALL_SPACING_MM, mr=False).ct, path)
    return Case(path)


def make_large(folder: Path, scale: float) -> list[Case]:
    """Write patients as large as clinical ones, their voxels `scale` times as wide."""
    found = []
    for seed in PATIENTS:
        made = make_case(
            seed,
            ct_spacing=_times(LARGE_SPACING_MM, scale),
            ct_width_mm=LARGE_WIDTH_MM,
            mr_spacing=_times(LARGE_MR_SPACING_MM, scale),
        )
        ct, mr = folder / f"ct-{seed}.nii.gz", folder / f"mr-{seed}.nii.gz"
        write_volume(made.ct, ct)
        assert made.mr is not None
        write_volume(made.mr, mr)
        found.append(Case(ct, mr, model="default"))
    return found


def _times(spacing: tuple[float, ...], scale: float) -> tuple[float, float, float]:
    x, y, z = (scale * each for each in spacing)
    return x, y, z


def send(
    service: Service,
    cases: Sequence[Case],
    *,
    jobs: int,
    workers: int,
    options: argparse.Namespace,
    alone: int,
) -> dict[str, Any]:
    """Send jobs one by one, and then by many clients; return all that was measured."""
    first = send_alone(service, cases[0], jobs=alone)
    started = time.monotonic()
    crowd, memory = send_crowd(
        service,
        cases,
        jobs=jobs,
        clients=options.clients,
        seconds=options.seconds,
    )
    seconds = time.monotonic() - started
    parts = ("overhead", "waiting", "between", "noticing", "stages") if alone else ()
    rows = [summarise(f"alone: {name}", getattr(first, name)) for name in parts]
    kinds = ("submit", "poll", "download", "livez")
    rows += [summarise(name, getattr(crowd, name)) for name in kinds]
    rate = take_rate(crowd.by_stage, seconds=seconds, workers=workers)
    return {
        "asked": jobs,
        "clients": options.clients,
        "failed": first.failed + crowd.failed,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "rows": [asdict(row) for row in rows],
        "rate": asdict(rate),
        "memory_mb": {name: held.row() for name, held in memory.held.items()},
    }


def measure_quick(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Send small jobs to the model that takes no time."""
    case = make_small(folder)
    with running() as service:
        return send(
            service, [case], jobs=options.jobs, workers=1, options=options, alone=10
        )


def measure_default(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Send large patients with MR to the model that ships."""
    cases = make_large(folder, options.scale)
    with running(settings=AS_IT_SHIPS) as service:
        return send(
            service,
            cases,
            jobs=options.default_jobs,
            workers=1,
            options=options,
            alone=3,
        )


def measure_workers(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Send the same jobs to one and to two workers of each kind."""
    case, found = make_small(folder), dict[str, Any]()
    for what, seconds in (("waiting", options.stage_seconds), ("computing", None)):
        runs = []
        for workers in (1, 2):
            with run_house(workers, stage_seconds=seconds) as service:
                send_crowd(  # whatever is loaded at a first job, is
                    service, [case], jobs=2 * workers, clients=2, seconds=600.0
                )
                runs.append(
                    send(
                        service,
                        [case],
                        jobs=options.worker_jobs,
                        workers=workers,
                        options=options,
                        alone=0,
                    )
                )
        one, two = (run["rate"]["jobs_an_hour"] for run in runs)
        found[what] = {"runs": runs, "times_one": round(two / one, 2)}
    return found


MEASURES: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "quick": measure_quick,
    "default": measure_default,
    "workers": measure_workers,
}


def main() -> None:
    """Print tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--default-jobs", type=int, default=40)
    parser.add_argument("--worker-jobs", type=int, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--stage-seconds", type=float, default=4.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of the large voxels")
    parser.add_argument("--seconds", type=float, default=3600.0, help="limit of a run")
    parser.add_argument("--only", default=",".join(MEASURES))
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    document = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found = document[part] = MEASURES[part](Path(folder), options)
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")
        (report_workers if part == "workers" else report_run)(part, found)


if __name__ == "__main__":
    main()
