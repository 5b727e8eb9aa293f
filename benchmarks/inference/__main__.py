"""Speed, memory and equal labels of the inference, asked for and measured.

    python -m benchmarks.inference --peer-python PEERS/bin/python
    python -m benchmarks.inference --only small,long       some parts
    python -m benchmarks.inference --only none             the tables of what was run

PEERS is an environment of its own with nnunetv2 and monai (docs/lab/performance.md); it
may also be named by ``HANSEG_PEER_PYTHON``. Without it only this project is measured,
if the models are there. ``--fine-model`` or ``HANSEG_FINE_MODEL`` names a trained
nnU-Net folder with OpenKBP's organs; without it nothing is said about Dice.

Each run is noted in a journal as soon as it is done; a benchmark that was stopped goes
on where it was. Runs that another state of the code made are made again, those of the
peers are kept. Everything runs in turns on the same machine, each run in a process of
its own; memory is the proportional set size of the process tree.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.figure import table
from benchmarks.inference.bench import PARTS, Bench
from benchmarks.inference.figures import figures, phase_table
from benchmarks.inference.runs import Journal, fingerprint
from benchmarks.inference.volumes import patients, write_fields

RESULTS = Path(__file__).resolve().parents[1] / "results" / "inference"

DICE_PART = "dice"

PATIENTS = 8
"""Real CTs that Dice is measured on."""


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ",".join([*PARTS, DICE_PART])
    parser.add_argument("--only", default=parts, help="parts, by commas")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--patients", type=int, default=PATIENTS, help="for Dice")
    parser.add_argument("--peer-python", default=os.environ.get("HANSEG_PEER_PYTHON"))
    parser.add_argument("--fine-model", default=os.environ.get("HANSEG_FINE_MODEL"))
    return parser.parse_args()


def main() -> None:
    """Run what is asked for, print the tables and write the document."""
    chosen = options()
    parts = [part for part in chosen.only.split(",") if part != "none"]
    if unknown := set(parts) - {*PARTS, DICE_PART}:
        raise SystemExit(f"there is no part {', '.join(sorted(unknown))}")
    if chosen.peer_python is None:
        print("nnU-Net and MONAI are left out: name an interpreter, --peer-python")
    journal = Journal(chosen.out / "inference.jsonl")
    bench = Bench(
        folder=chosen.out,
        python=chosen.peer_python,
        fine=None if chosen.fine_model is None else Path(chosen.fine_model),
        images=write_fields(chosen.out / "images") if parts else {},
        journal=journal,
        code=fingerprint(),
    )
    for part in parts:
        if part == DICE_PART:
            bench.compare_patients(patients(chosen.patients))
        else:
            bench.measure(PARTS[part])
    rows = journal.rows(bench.code)
    lines = figures(rows)
    print(table(lines) + "\n\n" + phase_table(rows))
    document = {
        "code": bench.code,
        "figures": [asdict(line) for line in lines],
        "runs": [asdict(row) for row in rows],
    }
    text = json.dumps(document, indent=1) + "\n"
    (chosen.out / "inference.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
