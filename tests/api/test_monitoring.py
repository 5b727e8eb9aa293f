"""Alert rules and the dashboard ask only for metrics and labels that the API has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hanseg_segmentation.api.http.prometheus import COUNTERS, HISTOGRAMS
from tests.docs.pages import PROJECT

FOLDER = PROJECT / "deploy" / "monitoring"
RULES = FOLDER / "alerts.yml"

METRIC = re.compile(r"\bhanseg_[a-z_]+")
SELECTOR = re.compile(r"(hanseg_[a-z_]+)\{([^}]*)\}")


def queries() -> Iterator[str]:
    """Yield every expression of the dashboard, and the rules as a whole."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]
    yield RULES.read_text()


@pytest.fixture
def exposed(api, worker, services) -> dict[str, set[str]]:
    """Every metric that the API exposes, with the labels that it has or may have."""
    for queue in ("registration", "segmentation"):
        services.tables.workers.report_ready(queue, queue=queue, device="cpu")
    api.get("/v1/jobs/none")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(api.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for name, (_, labels) in COUNTERS.items():
        found.setdefault(f"hanseg_{name}_total", set()).update(labels)
    for name, (_, labels, _) in HISTOGRAMS.items():
        for suffix in ("bucket", "sum", "count"):
            found.setdefault(f"hanseg_{name}_{suffix}", set()).update(labels)
    return found


def test_every_metric_that_is_asked_for_exists(exposed):
    asked = {name for query in queries() for name in METRIC.findall(query)}
    assert len(asked) > 15
    assert asked <= set(exposed)


def test_every_label_that_is_asked_for_exists(exposed):
    asked = [match for query in queries() for match in SELECTOR.findall(query)]
    assert asked
    for name, selector in asked:
        labels = set(re.findall(r"([a-z]+)\s*[=!]", selector))
        assert labels <= exposed[name], (name, labels)


def test_every_metric_is_explained(exposed):
    page = (PROJECT / "docs" / "reference" / "metrics.md").read_text()
    families = {re.sub("_(total|bucket|sum|count|created)$", "", n) for n in exposed}
    ours = {name for name in families if name.startswith("hanseg_")}
    assert not [name for name in sorted(ours) if f"`{name}" not in page]


def test_the_rules_parse():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_brackets_of_every_query_are_closed():
    for query in queries():
        assert all(query.count(a) == query.count(b) for a, b in ("()", "[]", "{}"))
