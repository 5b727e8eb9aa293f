"""The result of a check as lines for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hanseg_lab.training.checking.data_check import DataCheck
from hanseg_lab.training.datasets.dataset import Dataset


def report_lines(check: DataCheck, datasets: Sequence[Dataset]) -> Iterator[str]:
    """Yield the contents of the data sets, and remarks about them.

    Errors are left out, since they end the command.
    """
    for each in datasets:
        with_mr = sum(case.mr is not None for case in each.cases)
        declaration = each.declaration
        yield (
            f"{declaration.name}: {len(each.cases)} cases, {with_mr} with MR; "
            f"contours: {declaration.evidence}, licence: {declaration.licence}"
        )
        for label in declaration.labels:
            count = check.contoured.get((declaration.name, label.name), 0)
            meaning = " + ".join(label.organs) or "no organ of ours, ignored"
            kind = "" if label.name == meaning else f" = {meaning} ({label.extent})"
            yield f"  {count:4d}  {label.name}{kind}"
    remarks = [str(found) for found in check.findings if not found.refuses]
    if remarks:
        yield f"{len(remarks)} remarks:"
        yield from (f"  {each}" for each in remarks)
