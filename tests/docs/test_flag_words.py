"""The page says of flags what the service says of them."""

from __future__ import annotations

import re

from hanseg_shared.flags import MEANINGS, REMARKS
from tests.docs.pages import PROJECT

WORDS = PROJECT / "services/segmentation/web/src/viewer/flag-words.ts"


def test_the_viewer_has_the_sentence_of_every_flag():
    # one that is too long for a line stands on the next
    found = re.findall(r'^  (\w+):\s+"(.+)",$', WORDS.read_text("utf-8"), re.MULTILINE)
    assert dict(found) == {code.value: MEANINGS[code].sentence for code in MEANINGS}


def test_the_viewer_knows_what_doubts_nothing():
    (listed,) = re.findall(
        r"REMARKS = new Set\(\[(.*?)\]", WORDS.read_text(), re.DOTALL
    )
    assert set(re.findall(r'"(\w+)"', listed)) == {code.value for code in REMARKS}
