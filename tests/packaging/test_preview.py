import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from hanseg_segmentation.preview import (
    LEGEND_WIDTH,
    VERDICTS,
    Direction,
    Layout,
    Picture,
    Plane,
    choose_planes,
    write_preview,
)
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.organs import OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.inference.scenes import enlarged, world_points
from tests.packaging.cases import ABSENT, USED, ct_on, result_on, roomy

AXIAL = Grid((20, 20, 20), (2.0, 2.0, 2.0))


def picture(grid: Grid) -> Picture:
    result = result_on(grid)
    return Picture(ct_on(grid), result.labels, result.organs, result.model, ABSENT)


def with_mr(plain: Picture) -> Picture:
    field = np.zeros(plain.ct.array.shape, dtype=np.uint8)
    field[3:-3, 3:-3, 3:-3] = 1
    return dataclasses.replace(
        plain,
        registration=USED,
        mr=plain.ct,
        field_of_view=plain.ct.with_array(field),
    )


def position(grid: Grid) -> Volume:
    """Return a volume whose values are 10000 x + 100 y + z, in mm from its centre."""
    offset = world_points(grid) - grid.centre
    return Volume((offset @ [10000.0, 100.0, 1.0]).astype(np.float64), grid)


def plane_of(direction: Direction, grid: Grid) -> tuple[Volume, np.ndarray]:
    """Return a plane through a grid's middle, and where its pixels are."""
    volume = position(enlarged(grid))
    middle = volume.grid.centre
    low, high = (tuple(float(v) for v in middle + d) for d in (-15.0, 15.0))
    plane = Plane(direction, float(middle[direction.value]))
    pixels = plane.grid(low, high)  # type: ignore[arg-type]
    return resample(volume, pixels), world_points(pixels) - middle


@pytest.mark.parametrize("direction", Direction)
def test_planes_show_what_is_there_in_every_orientation(direction, grid):
    sampled, offset = plane_of(direction, grid)
    expected = offset @ np.array([10000.0, 100.0, 1.0])
    assert np.abs(sampled.array - expected).max() < 1.0


def test_in_an_axial_plane_the_patients_right_is_left_and_front_is_up(grid):
    _, offset = plane_of(Direction.AXIAL, grid)
    assert (np.diff(offset[0, 0, :, 0]) > 0).all()
    assert (np.diff(offset[0, :, 0, 1]) > 0).all()


def test_in_a_coronal_plane_the_patients_right_is_left_and_rows_go_up(grid):
    _, offset = plane_of(Direction.CORONAL, grid)
    assert (np.diff(offset[0, 0, :, 0]) > 0).all()
    assert (np.diff(offset[0, :, 0, 2]) > 0).all()


def test_in_a_sagittal_plane_the_front_is_left_and_rows_go_up(grid):
    _, offset = plane_of(Direction.SAGITTAL, grid)
    assert (np.diff(offset[0, 0, :, 1]) > 0).all()
    assert (np.diff(offset[0, :, 0, 2]) > 0).all()


def test_letters_name_the_sides():
    assert Direction.AXIAL.letters == ("R", "L", "A", "P")
    assert Direction.CORONAL.letters == ("R", "L", "S", "I")
    assert Direction.SAGITTAL.letters == ("A", "P", "S", "I")


def test_the_chosen_plane_shows_most_organs():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    labels.array[3, 2:8, 2:8] = 4
    labels.array[15, 2:4, 2:4] = 5
    labels.array[15, 12:14, 2:4] = 6
    (plane,) = choose_planes(labels, [Direction.AXIAL])
    assert plane.at_mm == 30.0


def test_a_second_plane_shows_what_the_first_does_not():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    labels.array[3, 2:8, 2:8] = 4
    labels.array[15, 2:4, 2:4] = 5
    planes = choose_planes(labels, [Direction.AXIAL, Direction.AXIAL])
    assert sorted(plane.at_mm for plane in planes) == [6.0, 30.0]


def test_without_organs_planes_go_through_the_middle():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    planes = choose_planes(labels, list(Direction))
    assert [plane.at_mm for plane in planes] == [19.0, 19.0, 19.0]


def test_all_planes_are_drawn_to_one_scale():
    layout = Layout.of((0, 0, 0), (100, 200, 50))
    (axial, coronal, sagittal) = (np.array(panel) for panel in layout.panels)
    scale = axial[0] / 100
    assert axial / scale == pytest.approx((100, 200))
    assert coronal / scale == pytest.approx((100, 50))
    assert sagittal / scale == pytest.approx((200, 50))


@pytest.mark.parametrize("size", [(300, 250, 400), (180, 200, 100), (30, 30, 900)])
def test_planes_do_not_overlap_and_stay_in_the_picture(size):
    layout = Layout.of((0, 0, 0), size)
    places = [layout.panel(row, column) for row in range(2) for column in range(3)]
    for left, bottom, width, height in places:
        assert left > 0
        assert bottom > 0
        assert left + width < 1 - LEGEND_WIDTH / layout.size[0]
        assert bottom + height < 1
    assert places[1][0] > places[0][0] + places[0][2]
    assert places[3][1] + places[3][3] < places[0][1]


def test_a_picture_with_mr_is_drawn_in_every_orientation(tmp_path, grid):
    path = tmp_path / "preview.png"
    write_preview(path, with_mr(picture(roomy(grid))))
    image = imread(path)
    assert image.shape[0] >= 700
    assert image.shape[1] >= 900
    assert image.std() > 0.05


def test_the_outline_is_drawn_in_the_colour_of_the_organ(tmp_path):
    path = tmp_path / "preview.png"
    plain = picture(roomy(AXIAL))
    write_preview(path, plain)
    pixels = (imread(path)[:, :900, :3] * 255).round().astype(int)
    colour = np.array(organ("Parotid_L").colour)
    assert (np.abs(pixels - colour).max(axis=-1) < 12).sum() > 50


def test_what_is_on_the_patients_right_is_drawn_on_the_left(tmp_path):
    """The whole way to the file: a mirrored picture must fail here."""
    grid = Grid((60, 50, 40), (1.5, 1.5, 2.0), (-44.0, -40.0, -40.0))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[18:22, 20:30, 8:14] = organ("Parotid_R").label  # x = -30 mm
    array[18:22, 20:30, 46:52] = organ("Parotid_L").label
    path = tmp_path / "preview.png"
    flat = Volume(np.full(grid.shape, -1000, dtype=np.int16), grid)
    empty = picture(grid)
    write_preview(path, dataclasses.replace(empty, ct=flat, labels=Volume(array, grid)))
    image = (imread(path)[..., :3] * 255).round().astype(int)
    panel = image[: image.shape[0] // 2, : axial_width(grid)]
    right, left = (
        np.nonzero(np.abs(panel - organ(n).colour).max(axis=-1) < 12)[1].mean()
        for n in ("Parotid_R", "Parotid_L")
    )
    assert right < left


def axial_width(grid: Grid) -> int:
    """Return the first plane's right edge in pixels of the picture."""
    corners = grid.corners()
    low, high = (tuple(c.tolist()) for c in (corners.min(axis=0), corners.max(axis=0)))
    layout = Layout.of(low, high)
    left, _, width, _ = layout.panel(0, 0)
    return int((left + width) * layout.size[0] * 100)


def test_a_picture_without_organs_is_drawn(tmp_path):
    nothing = picture(roomy(AXIAL))
    nothing.labels.array[:] = 0
    write_preview(tmp_path / "preview.png", nothing)
    assert (tmp_path / "preview.png").stat().st_size > 1000


def test_every_status_and_a_long_reason_have_their_words(tmp_path):
    plain = picture(roomy(AXIAL))
    statuses = list(OrganStatus) * 6
    organs = tuple(
        each.model_copy(update={"status": status})
        for each, status in zip(plain.organs, statuses, strict=True)
    )
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="long " * 80)
    changed = dataclasses.replace(plain, organs=organs, registration=report)
    write_preview(tmp_path / "preview.png", changed)


def test_every_verdict_has_its_words():
    assert set(VERDICTS) == set(MrVerdict)


def test_a_scan_of_one_slice_is_drawn(tmp_path):
    grid = Grid((40, 38, 1), (1.5, 1.6, 3.0))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[0, 5:15, 6:18] = 27
    one = dataclasses.replace(
        picture(roomy(AXIAL)), ct=ct_on(grid), labels=Volume(array, grid)
    )
    write_preview(tmp_path / "preview.png", one)


def test_an_mr_of_one_value_is_drawn(tmp_path):
    plain = with_mr(picture(roomy(AXIAL)))
    flat = plain.ct.with_array(np.zeros(plain.ct.array.shape, dtype=np.float32))
    write_preview(tmp_path / "preview.png", dataclasses.replace(plain, mr=flat))
