"""Accuracy, honesty and speed of the registration, asked for and measured.

    python -m benchmarks.registration                     everything: about two hours
    python -m benchmarks.registration --limit 10          a quick look
    python -m benchmarks.registration --only rire,peers   some parts
    python -m benchmarks.registration --only none --roc   the tables of what was run

Each case is noted in a journal as soon as it is done; a run that was stopped goes on
where it was. Cases that another state of the code computed are run again, unless
``--keep`` is given. Real cases are looked for where the tests look for them
(``HANSEG_REAL_DATA``, else ``../shared/data``). antspyx, which must not be installed
beside this project, is compared if ``--ants-python`` names an interpreter that has it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.figure import Figure, table
from benchmarks.registration import peers, resources, roc
from benchmarks.registration.figures import figures, is_good
from benchmarks.registration.groups import SERIES, Group
from benchmarks.registration.runs import Journal, Row, Work, fingerprint, run_all

RESULTS = Path(__file__).resolve().parents[1] / "results"

PEERS, RESOURCES = "peers", "resources"
PARTS = [*(group.value for group in Group), PEERS, RESOURCES]


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--limit", type=int, help="the first so many of each group")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--keep", action="store_true", help="rows of other code count")
    parser.add_argument("--roc", action="store_true", help="print the ROC table too")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=2, help="of each peer")
    parser.add_argument("--ants-python", default=peers.default_ants_python())
    return parser.parse_args()


def open_work(parts: list[str], limit: int | None, done: list[Row]) -> Work:
    """Return the cases that are still to be run, a few of each group in turn."""
    known = {(row.group, row.number) for row in done}
    wanted = [
        (place / len(series.numbers), group, number)
        for group, series in SERIES.items()
        if group.value in parts
        for place, number in enumerate(series.numbers[:limit])
    ]
    return [(group, n) for _, group, n in sorted(wanted) if (group, n) not in known]


def main() -> None:
    """Run what is asked for, print the tables and write the documents."""
    chosen = options()
    parts = [part for part in chosen.only.split(",") if part != "none"]
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"there is no {', '.join(sorted(unknown))} among {PARTS}")
    code = fingerprint()
    journal = Journal(chosen.out / "registration.jsonl")
    state = None if chosen.keep else code
    work = open_work(parts, chosen.limit, journal.rows(state))
    run_all(work, journal, code=code, jobs=chosen.jobs)
    extra: dict[str, list[dict[str, object]]] = {}
    if PEERS in parts:
        write(chosen.out / "registration_peers.json", peers.compare(chosen))
    if RESOURCES in parts:
        write(chosen.out / "registration_resources.json", resources.measure())
    rows = journal.rows(state)
    lines = figures(rows) + stored_figures(chosen.out)
    print(table(lines))
    if len({row.code for row in rows}) > 1:
        print("\nThese rows come from several states of the code.")
    if chosen.roc:
        print("\n" + roc.table(rows))
    extra["figures"] = [asdict(line) for line in lines]
    extra["curves"] = [asdict(curve) for curve in roc.curves(rows)]
    extra["failures"] = [asdict(row) for row in rows if is_failure(row)]
    write(chosen.out / "registration.json", {"code": code, **extra})


def is_failure(row: Row) -> bool:
    """Whether somebody should look at this row: a lie, a slip or a needless refusal."""
    slipped = row.error_mean_mm is not None and not row.within(2.0)
    needless = is_good(row) and not row.used
    return row.is_lie(2.0) or needless or (slipped and "sabotage" not in row.about)


def stored_figures(folder: Path) -> list[Figure]:
    """Return the figures of the peers and the resources when they were last run."""
    found: list[Figure] = []
    for name, reader in (
        ("registration_peers.json", peers.figures),
        ("registration_resources.json", resources.figures),
    ):
        path = folder / name
        if path.exists():
            found += reader(json.loads(path.read_text(encoding="utf-8")))
    return found


def write(path: Path, document: object) -> None:
    """Write a JSON document."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
