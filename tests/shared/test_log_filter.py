"""Nothing that could name a patient gets past a handler."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from hanseg_shared import log_filter
from hanseg_shared.log_filter import (
    MASK,
    MOST_NAMES,
    PatientFilter,
    keep_out_of_log,
    mask_patient,
)
from hanseg_shared.logs import JsonFormatter


@pytest.fixture(autouse=True)
def forget(monkeypatch) -> None:
    monkeypatch.setattr(log_filter, "_known", type(log_filter._known)())


def logged(*arguments: object, form: logging.Formatter, **named: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form)
    handler.addFilter(PatientFilter())
    logger = logging.getLogger("hanseg.test_log_filter")
    logger.addHandler(handler)
    try:
        logger.error(*arguments, **named)  # type: ignore[arg-type]
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("read Trillian^Astra now", f"read {MASK} now"),
        ("PatientName='Trillian^Astra'", f"PatientName='{MASK}'"),
        ("(0010,0020) LO: 'MRN-424242'", f"(0010,0020) {MASK}"),
        ("study 1.2.826.0.1.3680043.8.498.1 came", f"study {MASK} came"),
        ("GET /v1/jobs?case=Trillian 200", f"GET /v1/jobs?{MASK} 200"),
        ("no such file: '/home/me/Tri Astra/t1.nii.gz'", f"no such file: '{MASK}'"),
        ("/data/Trillian/1.dcm: no pixel data", f"{MASK}: no pixel data"),
    ],
)
def test_what_looks_like_a_patient_is_masked(text, masked):
    assert mask_patient(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "job 4f0c1d2e3b4a59687786a5b4c3d2e1f0: registering, attempt 1",
        "request 4f0c: GET /v1/jobs/{job_id} 200 in 0.017 s",
        "the API listens on 127.0.0.1 port 8000",
        "job j1: /data/scratch/attempt-j1-1/ct.nii.gz cannot be read; why?",
        "torch 2.9.1, the schema is now 0.2.0_7; 10^6 voxels? no",
    ],
)
def test_what_an_operator_needs_stays(text):
    kept = text.replace("10^6", MASK)  # looks like a name
    assert mask_patient(text) == kept


def test_a_known_name_is_masked_and_a_short_one_is_no_word():
    keep_out_of_log("Trillian Astra", "ct", None)
    assert mask_patient("case Trillian Astra: ct") == f"case {MASK}: ct"


def test_only_the_latest_names_are_remembered():
    keep_out_of_log("first name", *(f"name {n}" for n in range(MOST_NAMES)))
    assert mask_patient("first name") == "first name"


def raise_name() -> None:
    raise ValueError("Trillian Astra has no voxels")


@pytest.mark.parametrize(
    "form", [logging.Formatter("%(message)s"), JsonFormatter()], ids=["text", "json"]
)
def test_arguments_and_tracebacks_are_masked(form):
    keep_out_of_log("Trillian Astra")
    try:
        raise_name()
    except ValueError:
        text = logged("%s: %s", "ct", "Trillian Astra", form=form, exc_info=True)
    assert "Trillian" not in text
    assert "has no voxels" in text
    assert "test_log_filter.py" in text


def test_a_message_that_does_not_fit_its_arguments_shows_none():
    text = logged("%d", "Trillian Astra", form=JsonFormatter())
    assert "cannot be formatted" in json.loads(text)["message"]
    assert "Trillian" not in text


PROGRAM = """
import warnings
from hanseg_shared.log_filter import keep_out_of_log
from hanseg_shared.logs import configure_logging
configure_logging("text")
warnings.warn("Invalid value for VR PN: 'Trillian^Astra'")
raise RuntimeError("Trillian^Astra again")
"""


def test_warnings_and_last_words_of_a_process_go_through_the_filter():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Invalid value for VR PN" in done.stderr
    assert "RuntimeError" in done.stderr
    assert "Trillian" not in done.stderr.replace(PROGRAM, "")
