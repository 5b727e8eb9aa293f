import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hanseg_segmentation.quality.anatomy import anatomy
from hanseg_segmentation.quality.frame import Frame, fit_frame
from hanseg_shared.grid import Points

ALL = {name: np.array(each.place_mm) for name, each in anatomy().organs.items()}
HEAD = ("Brainstem", "Eye_PL", "Eye_PR", "Cochlea_L", "Cochlea_R", "Pituitary")


def moved(
    names, *, scale=1.0, degrees=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)
) -> dict[str, Points]:
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return {name: scale * turn @ ALL[name] + np.array(shift) for name in names}


def fitted(points: dict[str, Points]) -> Frame:
    frame = fit_frame(points, anatomy())
    assert frame is not None
    return frame


def test_the_average_patient_fits_itself():
    frame = fitted(moved(ALL))
    assert frame.scale == pytest.approx(1.0)
    assert np.allclose(frame.rotation, np.eye(3))
    assert len(frame.anchors) == 30


@pytest.mark.parametrize("degrees", [(0, 0, 0), (20, 0, 0), (-15, 5, 10), (0, 15, -15)])
@pytest.mark.parametrize("scale", [0.88, 1.0, 1.12])
def test_a_moved_patient_is_found(degrees, scale):
    points = moved(ALL, scale=scale, degrees=degrees, shift=(40, -300, 900))
    frame = fitted(points)
    errors = [np.linalg.norm(frame.place(ALL[n]) - points[n]) for n in ALL]
    assert np.mean(errors) < 4.0


def test_some_wrong_organs_do_not_move_the_frame():
    points = moved(ALL, shift=(10, 20, 30))
    for name in ("Glnd_Thyroid", "Lips", "Parotid_L", "Larynx_SG", "Glottis"):
        points[name] = points[name] + np.array([60.0, 80.0, 120.0])
    frame = fitted(points)
    assert np.linalg.norm(frame.place(ALL["Brainstem"]) - (10, 20, 30)) < 3.0
    assert "Glnd_Thyroid" not in frame.anchors


def test_organs_of_the_head_tell_where_the_neck_is():
    points = moved(HEAD, degrees=(8, 0, 0), shift=(0, 0, 500))
    frame = fitted(points)
    expected = moved(["Glottis"], degrees=(8, 0, 0), shift=(0, 0, 500))["Glottis"]
    assert np.linalg.norm(frame.place(ALL["Glottis"]) - expected) < 15.0


def test_few_organs_give_no_frame():
    assert fit_frame(moved(("Brainstem", "Pituitary")), anatomy()) is None


def test_organs_that_disagree_give_no_frame():
    points = {
        "Brainstem": np.array([0.0, 0.0, 0.0]),
        "Eye_PL": np.array([500.0, 0.0, 0.0]),
        "Glottis": np.array([0.0, 900.0, 0.0]),
    }
    assert fit_frame(points, anatomy()) is None


def test_two_eyes_and_a_brain_stem_do_not_turn_the_patient_round():
    frame = fitted(moved(("Brainstem", "Eye_PL", "Eye_PR")))
    assert np.allclose(frame.rotation, np.eye(3), atol=0.05)


def test_unplacing_inverts_placing():
    frame = fitted(moved(ALL, scale=1.1, degrees=(10, 5, 3)))
    points = np.random.default_rng(0).normal(size=(5, 3)) * 50
    assert np.allclose(frame.unplace(frame.place(points)), points)


def test_a_frame_is_never_a_mirror_image():
    mirrored = {name: point * (-1, 1, 1) for name, point in moved(ALL).items()}
    frame = fit_frame(mirrored, anatomy())
    assert frame is None or np.linalg.det(frame.rotation) == pytest.approx(1.0)


def test_uncertainty_grows_with_the_distance_from_the_anchors():
    frame = fitted(moved(HEAD))
    near, far = (frame.uncertainty_mm(ALL[n], 5.0) for n in ("Pituitary", "Glottis"))
    assert 5.0 <= near < far
