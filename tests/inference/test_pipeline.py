import numpy as np
import pytest

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.packages.installed import model_folders, shipped_models
from hanseg_segmentation.pipeline import load_model, segment
from hanseg_shared.errors import (
    GridMismatchError,
    ImageContentError,
    JobCancelledError,
    ModelError,
)
from hanseg_shared.grid import Grid, Points
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.inference.scenes import (
    AIR,
    DENSE,
    enlarged,
    scene,
    threshold_model,
    world_points,
)

pytestmark = pytest.mark.torch

LEFT, RIGHT = organ("Parotid_L").label, organ("Parotid_R").label


def ignore(done):
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def model():
    return threshold_model()


def centroid(labels: Volume, label: int) -> Points:
    return world_points(labels.grid)[labels.array == label].mean(axis=0)


@pytest.mark.usefixtures("kernels")
def test_organs_lie_where_the_images_show_them_in_every_orientation(model, grid):
    case = scene(enlarged(grid))
    result = segment(case.images, model=model, progress=ignore)
    assert np.linalg.norm(centroid(result.labels, LEFT) - case.left) < 1.0
    assert np.linalg.norm(centroid(result.labels, RIGHT) - case.right) < 1.0


def test_a_mirrored_ct_does_not_pass_for_the_right_one(model, grid):
    case = scene(enlarged(grid))
    mirrored = case.ct.with_array(case.ct.array[:, :, ::-1])
    labels = segment(CaseImages(mirrored), model=model, progress=ignore).labels
    assert np.linalg.norm(centroid(labels, LEFT) - case.left) > 10.0


def test_volumes_are_those_of_the_balls(model, grid):
    ct = scene(enlarged(grid)).ct
    result = segment(CaseImages(ct), model=model, progress=ignore)
    drawn = np.count_nonzero(ct.array == DENSE) * ct.grid.voxel_ml
    assert result.organs[LEFT - 1].volume_ml == pytest.approx(drawn, rel=0.15)


def test_the_label_map_is_uint8_on_the_grid_of_the_ct(model, grid):
    case = scene(enlarged(grid))
    labels = segment(case.images, model=model, progress=ignore).labels
    assert labels.array.dtype == np.uint8
    assert labels.grid == case.ct.grid
    assert set(np.unique(labels.array)) == {0, LEFT, RIGHT}


@pytest.mark.usefixtures("kernels")
def test_the_mr_is_not_believed_outside_its_field_of_view(model, grid):
    case = scene(enlarged(grid))
    nowhere_near = world_points(case.ct.grid)[..., 0] > case.right[0] + 12
    field = case.ct.with_array(nowhere_near.astype(np.uint8))
    labels = segment(
        CaseImages(case.ct, case.mr, field), model=model, progress=ignore
    ).labels
    assert set(np.unique(labels.array)) == {0, LEFT}


def test_all_30_organs_are_answered_in_label_order(model):
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    organs = segment(CaseImages(ct), model=model, progress=ignore).organs
    assert [each.label for each in organs] == [each.label for each in ORGANS]
    statuses = {each.name: each.status for each in organs}
    assert statuses["SpinalCord"] is OrganStatus.NOT_IN_MODEL
    assert (organs[LEFT - 1].confidence or 0) > 0.9


def test_every_phase_is_timed(model):
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    result = segment(CaseImages(ct), model=model, progress=ignore)
    assert list(result.seconds) == ["preprocess", "network", "to_ct_grid", "checks"]
    assert all(seconds >= 0 for seconds in result.seconds.values())
    assert result.model == model.package.summary


def test_progress_grows_to_one(model):
    told: list[float] = []
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    segment(CaseImages(ct), model=model, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_cancelled_job_stops(model):
    def cancel(done):
        raise JobCancelledError("cancelled")

    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    with pytest.raises(JobCancelledError):
        segment(CaseImages(ct), model=model, progress=cancel)


def test_an_mr_on_another_grid_is_refused(grid):
    ct = scene(enlarged(grid)).ct
    other = Volume(np.zeros(grid.shape), grid)
    with pytest.raises(GridMismatchError, match="registered MR"):
        CaseImages(ct, other, other)


def test_a_field_of_view_on_another_grid_is_refused(grid):
    ct = scene(enlarged(grid)).ct
    other = Volume(np.zeros(grid.shape), grid)
    with pytest.raises(GridMismatchError, match="field of view"):
        CaseImages(ct, ct, other)


def test_an_mr_needs_its_field_of_view():
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    with pytest.raises(GridMismatchError, match="given together"):
        CaseImages(ct, ct, None)


def test_a_ct_of_nothing_but_air_is_refused(model):
    grid = Grid((20, 20, 20), (2.0, 2.0, 2.0))
    air = Volume(np.full(grid.shape, AIR, dtype=np.int16), grid)
    with pytest.raises(ImageContentError, match="all air"):
        segment(CaseImages(air), model=model, progress=ignore)


def test_a_body_in_a_wide_field_of_air_is_found(model):
    grid = Grid((120, 110, 60), (2.0, 2.0, 2.0))
    case = scene(grid)
    labels = segment(CaseImages(case.ct), model=model, progress=ignore).labels
    assert np.linalg.norm(centroid(labels, LEFT) - case.left) < 1.0


def test_a_ct_smaller_than_a_tile_is_padded_with_air():
    model = threshold_model(patch=(48, 48, 48))
    case = scene(enlarged(Grid((9, 9, 9))))
    labels = segment(CaseImages(case.ct), model=model, progress=ignore).labels
    assert np.linalg.norm(centroid(labels, LEFT) - case.left) < 1.0


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_a_ct_of_any_type_gives_the_same(model, dtype):
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    expected = segment(CaseImages(ct), model=model, progress=ignore).labels
    other = ct.with_array(ct.array.astype(dtype))
    found = segment(CaseImages(other), model=model, progress=ignore).labels
    assert np.array_equal(found.array, expected.array)


def test_the_inputs_are_not_changed(model):
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    before = ct.array.copy()
    segment(CaseImages(ct, ct, ct), model=model, progress=ignore)
    assert np.array_equal(ct.array, before)


def test_a_model_that_is_not_there_is_told():
    with pytest.raises(ModelError, match="no model is called 'nowhere'"):
        load_model("nowhere", device="cpu")


def test_a_folder_that_is_no_model_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        load_model(tmp_path, device="cpu")


def test_the_shipped_models_lie_in_the_package(tmp_path):
    assert shipped_models().name == "models"
    assert model_folders(None) == (shipped_models(),)
    assert model_folders(tmp_path) == (shipped_models(), tmp_path)
