"""The site's limits: read from TOML or JSON, and refused by name."""

from __future__ import annotations

import json

import pytest

from hanseg_lab.commissioning.limits import DEFAULT_FILE, Limit, read_limits
from hanseg_shared.errors import OptionError
from hanseg_shared.organs import ORGANS


def test_the_default_limits_judge_every_organ_by_every_figure():
    limits = read_limits()
    assert set(limits.organs) == {organ.name for organ in ORGANS}
    assert all(set(each) == set(Limit) for each in limits.organs.values())


def test_an_organs_own_limit_overrides_the_default_one(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[organs.default]\nDSC=0.7\nHD95_mm=5\n[organs.Lips]\nDSC=0.4\n")
    limits = read_limits(path).organs
    assert limits["Lips"] == {Limit.DSC: 0.4, Limit.HD95: 5.0}
    assert limits["Brainstem"] == {Limit.DSC: 0.7, Limit.HD95: 5.0}


def test_json_says_the_same(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"organs": {"Lips": {"DSC": 0.4}}}))
    assert read_limits(path).organs["Lips"] == {Limit.DSC: 0.4}
    assert read_limits(path).organs["Brainstem"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[organs.Parotid]\nDSC=0.7", "'Parotid' is no organ; nearest: Parotid_"),
        ("[organs.Lips]\nDice=0.7", "no limit of Lips called 'Dice'"),
        ("[organs.Lips]\nDSC=70", "DSC of Lips is a share of 1, got 70"),
        ("[organs.Lips]\nHD95_mm=-1", "HD95_mm of Lips must be 0 or more, got -1"),
        ("[organs.Lips]\nHD95_mm='3'", "must be a number, got '3'"),
        ("[organs.Lips]\nHD95_mm=inf", "must be 0 or more, got inf"),
        ("[organ.Lips]\nDSC=0.7", "no section called 'organ'"),
        ("[registration]\nerror=2", r"no limit of \[registration\] called 'error'"),
        ("organs=3", r"\[organs\] must be a table, got 3"),
        ("[organs", "neither TOML nor JSON"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        read_limits(path)


def test_the_hash_is_of_the_file(tmp_path):
    copy = tmp_path / "copy.toml"
    copy.write_bytes(DEFAULT_FILE.read_bytes())
    assert read_limits(copy).sha256 == read_limits().sha256
    copy.write_bytes(DEFAULT_FILE.read_bytes() + b"\n")
    assert read_limits(copy).sha256 != read_limits().sha256
