"""Templates: what ships can be used, and what cannot be used is told why."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.dicom.templates import (
    SHIPPED,
    default_template,
    mask_of,
    parse_template,
    require_usable,
    shipped_template,
)
from hanseg_shared.errors import OptionError
from hanseg_shared.organs import ORGANS, organ
from tests.shared.colours import ciede2000, lab


def template(*structures: Structure, **others) -> Template:
    return Template(name="clinic", structures=structures, **others)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_template_that_ships_is_usable_and_has_every_organ(name):
    shipped = shipped_template(name)
    require_usable(shipped)
    assert shipped.name == name
    alone = [each.organs[0] for each in shipped.structures if len(each.organs) == 1]
    assert alone == [each.name for each in ORGANS]


def test_the_default_template_has_the_eyes_whole():
    structures = {each.name: each for each in default_template().structures}
    assert structures["Eye_L"].organs == ("Eye_AL", "Eye_PL")
    assert structures["Eye_R"].organs == ("Eye_AR", "Eye_PR")


def test_the_eyes_colours_differ_from_all_others_around_them():
    around = [each for each in ORGANS if each.name.startswith(("Optic", "Glnd_L"))]
    for structure in default_template().structures:
        if structure.colour is not None:
            for each in around:
                assert ciede2000(lab(structure.colour), lab(each.colour)) > 25


def test_the_hanseg_template_keeps_the_challenges_names():
    structures = shipped_template("hanseg").structures
    assert [each.name for each in structures] == [each.name for each in ORGANS]


def test_a_mask_is_the_union_of_its_organs():
    labels = np.arange(31, dtype=np.uint8)
    structure = Structure(name="Eye_L", organs=("Eye_AL", "Eye_PL"))
    expected = [organ("Eye_AL").label, organ("Eye_PL").label]
    assert np.flatnonzero(mask_of(structure, labels)).tolist() == expected


@pytest.mark.parametrize(
    ("structures", "sentence"),
    [
        (
            [Structure(name="Lip", organs=("Lip",))],
            "makes the structure 'Lip' of 'Lip', which is no organ",
        ),
        (
            [Structure(name="Lips", organs=("Lips", "Lips"))],
            "names 'Lips' more than once in the structure 'Lips'; name it once",
        ),
        (
            [Structure(name="Li\\ps", organs=("Lips",))],
            "a name cannot have a backslash",
        ),
        (
            [
                Structure(name="Lips", organs=("Lips",)),
                Structure(name="LIPS", organs=("Glottis",)),
            ],
            "'Lips' and 'LIPS', which a TPS that ignores case takes for one",
        ),
        (
            [
                Structure(name="Lips", organs=("Lips",)),
                Structure(name="Lips", organs=("Glottis",)),
            ],
            "rename one of them",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_told_why(structures, sentence):
    with pytest.raises(OptionError) as error:
        require_usable(template(*structures))
    assert str(error.value).startswith("template 'clinic' ")
    assert sentence in str(error.value)


@pytest.mark.parametrize("label", ["   ", "a\\b"])
def test_a_label_needs_a_word_without_backslash(label):
    with pytest.raises(OptionError, match="give it a word without backslash"):
        require_usable(template(Structure(name="Lips", organs=("Lips",)), label=label))


def test_a_template_need_not_have_every_organ():
    require_usable(template(Structure(name="Lips", organs=("Lips",))))


def test_a_template_is_read_from_its_document():
    wanted = template(Structure(name="Lips", organs=("Lips",)))
    assert parse_template(wanted.model_dump_json()) == wanted


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"structures": [{"name": "Glnd_Submandibular_L", "organs": ["Lips"]}]},
            "structure 1 of the template is called 'Glnd_Submandibular_L', which has "
            "20 characters; a TPS takes at most 16, so shorten it",
        ),
        (
            {"structures": [{"name": "", "organs": ["Lips"]}]},
            "structure 1 of the template has no name; give it one",
        ),
        (
            {"structures": [{"name": "Eye L", "organs": ["Lips"]}]},
            "structure 1 of the template is called 'Eye L'; use letters, digits",
        ),
        ({"structures": []}, "the template cannot be read: structures: "),
        (
            {"structures": [{"name": "Lips", "organs": []}]},
            "the template cannot be read: structures.0.organs: ",
        ),
        ({"colour": 1}, "the template cannot be read: colour: "),
        (
            {"structures": [{"name": "Lips", "organs": ["Lip"]}]},
            "which is no organ; `hanseg organs` lists the 30",
        ),
    ],
)
def test_a_document_that_is_no_usable_template_is_told_why(changes, sentence):
    document = {
        "name": "clinic",
        "structures": [{"name": "Lips", "organs": ["Lips"]}],
        **changes,
    }
    with pytest.raises(OptionError) as error:
        parse_template(json.dumps(document))
    assert sentence in str(error.value)


def test_text_that_is_no_json_is_told_so():
    with pytest.raises(OptionError, match="the template cannot be read: the document"):
        parse_template("{")
