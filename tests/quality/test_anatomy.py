import numpy as np
import pytest

from hanseg_segmentation.quality.anatomy import Anatomy, anatomy
from hanseg_shared.organs import ORGANS, Side, counterpart


@pytest.mark.parametrize("organ", ORGANS, ids=lambda organ: organ.name)
def test_every_organ_has_a_place_inside_its_box(organ):
    expected = anatomy().organs[organ.name]
    place = np.array(expected.place_mm)
    assert (place >= np.array(expected.low_mm) - 5).all()
    assert (place <= np.array(expected.high_mm) + 5).all()


@pytest.mark.parametrize("organ", ORGANS, ids=lambda organ: organ.name)
def test_volumes_are_a_range(organ):
    expected = anatomy().organs[organ.name]
    assert 0 < expected.smallest_ml < expected.largest_ml


@pytest.mark.parametrize(
    "organ", [o for o in ORGANS if o.side is Side.LEFT], ids=lambda organ: organ.name
)
def test_left_organs_are_left_and_their_counterparts_mirror_them(organ):
    other = counterpart(organ)
    assert other is not None
    left = anatomy().organs[organ.name].place_mm
    right = anatomy().organs[other.name].place_mm
    assert left[0] > 10
    assert left == (-right[0], *right[1:])


def test_organs_in_the_middle_are_in_the_middle():
    middle = [anatomy().organs[o.name] for o in ORGANS if o.side is Side.NONE]
    assert all(expected.place_mm[0] == 0 for expected in middle)


def test_the_brain_stem_is_the_origin():
    assert np.allclose(anatomy().organs["Brainstem"].place_mm, 0, atol=0.1)


def test_eyes_are_in_front_of_and_above_the_larynx():
    eye, larynx = (anatomy().organs[n].place_mm for n in ("Eye_AL", "Larynx_SG"))
    assert eye[1] < larynx[1]
    assert eye[2] > larynx[2] + 100


def test_an_anatomy_must_name_every_organ():
    some = {"Brainstem": anatomy().organs["Brainstem"]}
    with pytest.raises(ValueError, match="each of the 30 organs"):
        Anatomy(about="", sources=anatomy().sources, organs=some)


def test_every_source_is_explained():
    with pytest.raises(ValueError, match="source that is not listed"):
        Anatomy(about="", sources={}, organs=anatomy().organs)


def test_boxes_have_eight_corners():
    box = anatomy().organs["Parotid_L"].box
    assert box.shape == (8, 3)
    assert len(np.unique(box, axis=0)) == 8
