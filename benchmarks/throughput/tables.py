"""What was measured, as tables that fit a terminal, with what was asked beside it."""

from __future__ import annotations

from typing import Any

MOST_OVERHEAD_MS = 300.0
"""Asked of a job that is sent alone, beyond its stages."""

MOST_POLL_MS = 20.0
"""Asked of the 95th percentile of ``GET /v1/jobs/{id}``, with 16 clients."""

LEAST_TIMES_ONE = 1.9
"""Asked of two workers of each kind, beside one, where processors allow it."""


def report_run(part: str, found: dict[str, Any]) -> None:
    """Print a run: rates, stages, requests, memory."""
    rate = found["rate"]
    print(
        f"\n{part}: {rate['jobs']} jobs of {found['asked']}, {found['clients']} "
        f"clients, {rate['workers']} worker(s) of each kind:\n"
        f"{rate['seconds']} s, {found['failed']} failed; "
        f"{found['processors']} processors, load average {found['load_average']}"
    )
    print(
        f"{rate['jobs_an_hour']} jobs an hour, {100 * rate['of_bound']:.0f} % of the "
        f"{rate['bound_jobs_an_hour']} that the stages allow"
    )
    for kind, share in rate["utilisation"].items():
        print(f"{kind} at work: {100 * share:.0f} % of the time")
    print(
        f"{'s of a stage':24}{'count':>7}{'mean':>9}{'spread':>9}{'p50':>9}{'p95':>9}"
    )
    for row in rate["stages"]:
        figures = "".join(f"{row[k]:9.2f}" for k in ("mean", "spread", "p50", "p95"))
        print(f"{row['name']:24}{row['count']:7}{figures}")
    _report_requests(found["rows"])
    _report_memory(found["memory_mb"])


def report_workers(part: str, found: dict[str, Any]) -> None:
    """Print what one and two workers of each kind finished."""
    for what, compared in found.items():
        print(f"\n{part}, {what}: two do {compared['times_one']} x the jobs of one")
        if what == "waiting":
            print(_judge(compared["times_one"], at_least=LEAST_TIMES_ONE))
        for run in compared["runs"]:
            report_run(f"{part}, {what}", run)


def _report_requests(rows: list[dict[str, Any]]) -> None:
    asked = {
        "alone: overhead": ("p50_ms", MOST_OVERHEAD_MS),
        "poll": ("p95_ms", MOST_POLL_MS),
    }
    print(f"{'ms':24}{'count':>7}{'p50':>9}{'p95':>9}")
    for row in rows:
        which, limit = asked.get(row["name"], ("", 0.0))
        said = f"  {which[:3]} {_judge(row[which], at_most=limit)}" if which else ""
        print(
            f"{row['name']:24}{row['count']:7}{row['p50_ms']:9.1f}{row['p95_ms']:9.1f}"
            f"{said}"
        )


def _report_memory(memory_mb: dict[str, dict[str, Any]]) -> None:
    print(f"{'MB held':24}{'first':>7}{'most':>9}{'last':>9}")
    for name, held in memory_mb.items():
        print(f"{name:24}{held['first']:7}{held['most']:9}{held['last']:9}")


def _judge(
    value: float, *, at_least: float | None = None, at_most: float | None = None
) -> str:
    """Return what was asked, and whether it was reached."""
    if at_most is not None:
        return f"asked <= {at_most:g}: {'met' if value <= at_most else 'missed'}"
    assert at_least is not None
    return f"asked >= {at_least:g}: {'met' if value >= at_least else 'missed'}"
