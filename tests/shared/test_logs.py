"""Lines of the log: JSON that a program reads, with the fields of what goes on."""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime

import pytest

from hanseg_shared import logs
from hanseg_shared.logs import JsonFormatter, current_fields, keep_fields, log_fields


@pytest.fixture(autouse=True)
def _no_fields_of_others(monkeypatch):
    """Whatever a worker that ran in this process has left."""
    monkeypatch.setattr(logs, "_OF_PROCESS", {})
    before = logs._FIELDS.set({})
    yield
    logs._FIELDS.reset(before)


def line(message: str, *arguments: object, **record) -> dict[str, object]:
    made = logging.LogRecord(
        "a.logger", logging.WARNING, __file__, 1, message, arguments, None
    )
    made.__dict__.update(record)
    text = JsonFormatter().format(made)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_has_time_level_logger_and_message():
    found = line("job %s: %d", "j1", 2, created=0.25)
    assert found == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "warning",
        "logger": "a.logger",
        "message": "job j1: 2",
    }
    assert datetime.fromisoformat(str(found["time"])).tzinfo == UTC


def test_fields_are_on_every_line_while_they_hold():
    with log_fields(job="j1", stage="segmenting"):
        with log_fields(attempt=2):
            found = line("x")
            assert (found["job"], found["stage"], found["attempt"]) == (
                "j1",
                "segmenting",
                2,
            )
        assert "attempt" not in line("x")
    assert "job" not in line("x")


def test_what_names_the_process_is_on_every_line(monkeypatch):
    monkeypatch.setattr(logs, "_OF_PROCESS", {})
    logs.name_process(worker="host-1")
    assert line("x")["worker"] == "host-1"


def test_a_traceback_stays_in_its_line():
    try:
        int("two\nlines")
    except ValueError:
        found = line("failed", exc_info=sys.exc_info())
    assert "ValueError: invalid literal" in str(found["exception"])


def test_another_thread_gets_the_fields_if_they_are_kept():
    found = []
    with log_fields(job="j1"):
        for work in (current_fields, keep_fields(current_fields)):
            thread = threading.Thread(target=lambda work=work: found.append(work()))
            thread.start()
            thread.join()
    assert [fields.get("job") for fields in found] == [None, "j1"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_logs_as_its_settings_say(form, monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    logs.configure_logging(form)
    logging.getLogger("x").info("hello")
    written = capsys.readouterr().err
    assert "hello" in written
    assert (written.startswith("{")) == (form == "json")
