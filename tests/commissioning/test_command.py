"""`hanseg commission` with results that are there: sheet, verdict, status."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from hanseg_shared import cli
from hanseg_shared.documents import ModelSummary
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.sheet import CommissioningSheet, SignedSheet, parse_sheet
from hanseg_shared.signing.verify import Finding, verify_folder
from tests.commissioning.results import PAROTID, REFERENCE, write_case, write_result

LENIENT = "[cases]\nat_least = 1\n[organs.default]\nDSC = 0.5\n"
FAST = ("--no-phantoms", "--workers", "1")

STRICT = "[cases]\nat_least = 3\n[organs.default]\nDSC = 0.9\nHD95_mm = 1\n"

SHIFTED = (PAROTID[0], PAROTID[1], slice(10, 20))
"""Half of it is right: its Dice is 0.5, and it is 5 mm off."""


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A user with a key of his own, and no service anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cases"


@pytest.fixture
def out(tmp_path, folder):
    made = tmp_path / "out"
    write_result(made, write_case(folder, "anna"))
    halved = {**REFERENCE, "Parotid_L": SHIFTED}
    write_result(made, write_case(folder, "bert"), halved)
    return made


@pytest.fixture
def run(monkeypatch, capsys, folder, out, tmp_path):
    def commission(limits: str, *more: str) -> tuple[int, str]:
        path = tmp_path / "limits.toml"
        path.write_text(limits)
        given = [str(folder), "--out", str(out), "--limits", str(path)]
        monkeypatch.setattr(sys, "argv", ["hanseg", "commission", *given, *FAST, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(str(ended.value.code)), told.out + told.err

    return commission


def sheet_in(out: Path) -> CommissioningSheet:
    return parse_sheet((out / "sheet" / "commissioning.json").read_bytes())


def test_limits_that_are_met_pass(run, out):
    status, told = run(LENIENT, "--signed-by", "Dr. Marie Example")
    assert status == 0, told
    sheet = sheet_in(out)
    assert (sheet.passed, sheet.failures, sheet.cases) == (True, (), 2)
    assert sheet.signed_by == "Dr. Marie Example"
    parotid, stem = sorted(sheet.organs, key=lambda each: each.organ, reverse=True)
    assert [check.mean for check in stem.checks] == [1.0, 0.0, 1.0, 0.0]
    assert parotid.checks[0].mean == 0.75
    assert sheet.made_of.model.version == "7"


def test_each_limit_that_is_not_met_is_a_sentence(run, out):
    status, told = run(STRICT)
    assert status == 3
    few, dice, distance = sheet_in(out).failures
    assert few == "There are 2 reference cases; the limit is 3."
    assert dice == (
        "Parotid_L: DSC is 0.750 in the mean of 2 cases; the limit is at least 0.9."
    )
    assert "Parotid_L: HD95_mm is 2.50 mm in the mean of 2 cases" in distance
    assert dice in told


def test_a_missed_organ_fails_whatever_the_others_are(run, out, folder):
    write_result(out, write_case(folder, "carl"), {"Brainstem": REFERENCE["Brainstem"]})
    assert run("[organs.default]\nHD95_mm = 50")[0] == 3
    (failure,) = sheet_in(out).failures
    assert "the organ was not contoured in 1 of 3 cases" in failure


def test_an_organ_that_the_model_does_not_know_is_not_judged(run, out, folder):
    lacking = write_case(folder, "carl")
    boxes = {"Parotid_L": REFERENCE["Parotid_L"]}
    write_result(out, lacking, boxes, not_in_model="Brainstem")
    run(LENIENT)
    sheet = sheet_in(out)
    assert [organ.organ for organ in sheet.organs] == ["Parotid_L"]
    assert "Not contoured by this model: Brainstem." in sheet.remarks


def test_results_of_two_models_are_no_sheet(run, out, folder):
    other = ModelSummary(name="default", version="8", sha256="b" * 64)
    write_result(out, write_case(folder, "carl"), model=other)
    status, told = run(LENIENT)
    assert status == 2
    assert "several models: carl differ from the others" in told
    assert not (out / "sheet").exists()


def test_a_case_without_references_is_named_before_anything_is_sent(run, folder):
    write_case(folder, "carl", {})
    status, told = run(LENIENT)
    assert status == 2
    assert "no reference contours of carl" in told


def test_what_is_written_verifies_until_a_byte_changes(run, out):
    run(LENIENT)
    folder = out / "sheet"
    signature = json.loads((folder / "commissioning.sig").read_text())
    trusted = [PublicKey(signature["key"])]
    found = verify_folder(folder, trusted)
    assert found.findings == ()
    assert re.fullmatch(r"the commissioning of [\d-]+ \(passed\)", found.what)
    page = folder / "commissioning.html"
    page.write_text(page.read_text().replace("PASS", "Pass"))
    altered = verify_folder(folder, trusted)
    assert Finding("changed", page.name) in altered.findings
    assert "sheet" in altered.remedy  # results would be fetched again
    sheet = folder / "commissioning.json"
    sheet.write_bytes(sheet.read_bytes().replace(b'"cases":2', b'"cases":9'))
    kinds = {each.kind for each in verify_folder(folder, trusted).findings}
    assert "altered manifest" in kinds


def test_pdf_and_page_hold_the_verdict_and_no_other_host(run, out):
    run(STRICT)
    page = (out / "sheet" / "commissioning.html").read_text()
    assert "FAIL: 3 limits are not met." in page
    assert "0.750 (≥ 0.9) ✗" in page
    assert "http" not in re.sub(r'src="data:[^"]+"', "", page)
    assert page.count("data:image/png") == 2
    assert (out / "sheet" / "commissioning.pdf").read_bytes().startswith(b"%PDF")


def test_the_sheet_names_no_case(run, out):
    run(STRICT)
    text = (out / "sheet" / "commissioning.json").read_text()
    assert not any(name in text for name in ("anna", "bert"))


def test_a_sheet_survives_being_sent(run, out):
    run(STRICT)
    signature = json.loads((out / "sheet" / "commissioning.sig").read_text())
    sent = SignedSheet(sheet=sheet_in(out), signature=signature).model_dump_json()
    signed = SignedSheet.model_validate_json(sent)
    content = signed.sheet.canonical()
    assert content == (out / "sheet" / "commissioning.json").read_bytes()
    assert signed.signature.is_of(content, PublicKey(signed.signature.key))


def test_the_default_limits_can_be_written_out_once(monkeypatch, tmp_path, capsys):
    path = tmp_path / "own.toml"
    for status in (0, 2):
        monkeypatch.setattr(
            sys, "argv", ["hanseg", "commission", "--write-limits", str(path)]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == status
    assert "[organs.default]" in path.read_text()
    assert "is there already" in capsys.readouterr().err
