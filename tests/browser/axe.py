"""What axe-core finds amiss on a page: contrast, names, roles, order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

AXE = (
    Path(__file__).parents[2]
    / "services/segmentation/web/node_modules/axe-core/axe.min.js"
)

SERIOUS = {"serious", "critical"}


def serious_faults(page: Any) -> list[str]:
    """Return what axe-core finds; it is evaluated beside the page, past its policy."""
    if not AXE.is_file():
        pytest.fail("axe-core is not installed: run make test-browser")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
