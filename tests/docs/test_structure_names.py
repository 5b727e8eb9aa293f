"""The page of names lists the structures of the default template, and no others."""

from __future__ import annotations

import re

from hanseg_shared.dicom.templates import default_template
from hanseg_shared.organs import organ
from tests.docs.pages import PROJECT

PAGE = PROJECT / "docs" / "reference" / "structure-names.md"


def rows() -> list[list[str]]:
    lines = re.findall(r"^\| (`.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [line.replace("`", "").split(" | ") for line in lines]


def test_the_page_has_the_default_templates_structures_in_their_order():
    listed = [(name, tuple(organs.split(", "))) for name, organs, *_ in rows()]
    wanted = [(each.name, each.organs) for each in default_template().structures]
    assert listed == wanted


def test_the_page_says_which_names_are_not_on_the_list_of_tg_263():
    others = [name for name, _, _, origin, _ in rows() if origin != "TG-263's list"]
    assert others == [
        "BuccalMucosa",
        "Eye_L^Ant",
        "Eye_R^Ant",
        "Eye_L^Post",
        "Eye_R^Post",
    ]


def test_the_codes_are_those_that_are_written():
    for _, organs, _, _, code in rows():
        first = organ(organs.split(", ")[0]).code
        assert code == f"{first.meaning}, {first.value}"
