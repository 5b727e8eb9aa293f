"""Against nnU-Net's rules written out with SciPy, as slowly as nnU-Net does it."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.back_to_grid import (
    TO_THE_FACES,
    WayBack,
)
from hanseg_segmentation.inference.nnunet_frame import (
    ImageFrame,
    place_in,
    separate_axis,
    worth_above,
)
from hanseg_segmentation.inference.nnunet_input import ChannelImage, ImageInput
from hanseg_segmentation.inference.nnunet_input import image_input as lazy_input
from hanseg_segmentation.inference.splines import cubic_operator, nearest_index
from hanseg_segmentation.packages.package import (
    CtNormalisation,
    ModelPackage,
    Normalisation,
    ZScore,
)
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume
from tests.inference.planes import written
from tests.inference.scenes import package

Array = npt.NDArray[Any]

WINDOW = Normalisation(
    ct=CtNormalisation(low_hu=-200, high_hu=1500, mean_hu=100, std_hu=300),
    mr=ZScore(scope="image"),
)
SHAPE = (12, 30, 26)
SPACING = (1.1, 0.9, 2.4)


def ct_only(**changes: Any) -> ModelPackage:
    values = {
        "frame": "image",
        "channels": ("ct",),
        "normalisation": WINDOW,
        "spacing_mm": (1.5, 1.5, 2.0),
    }
    return package(**{**values, **changes})


@pytest.fixture
def ct():
    rng = np.random.default_rng(2)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.0)
    hu = np.round(smooth / smooth.std() * 500 + 200).astype(np.int16)
    hu[hu == 0] = 1
    z, y, x = SHAPE
    return Volume(hu, Grid((x, y, z), SPACING))


def resized(array: Array, shape: tuple[int, ...], order: Literal[1, 3]) -> Array:
    """Return what scikit-image's ``resize(mode="edge")`` returns."""
    factors = [new / old for new, old in zip(shape, array.shape, strict=True)]
    zoomed = ndimage.zoom(
        array.astype(np.float64), factors, order=order, mode="nearest", grid_mode=True
    )
    return np.clip(zoomed, array.min(), array.max())


def resampled(
    array: Array, shape: tuple[int, ...], *, order: Literal[1, 3], axis: int | None
) -> Array:
    """Return what nnU-Net's ``resample_data_or_seg`` returns with ``order_z=0``."""
    if axis is None:
        return resized(array, shape, order)
    slices = np.moveaxis(array, axis, 0)
    target = tuple(n for number, n in enumerate(shape) if number != axis)
    planes = np.stack([resized(each, target, order) for each in slices])
    scale = len(planes) / shape[axis]
    at = scale * (np.arange(shape[axis]) + 0.5) - 0.5
    chosen = ndimage.map_coordinates(
        np.arange(len(planes), dtype=float), [at], order=0, mode="nearest"
    )
    return np.moveaxis(planes[chosen.astype(int)], 0, axis)


def image_input(frame: ImageFrame, images: CaseImages, package: ModelPackage) -> Array:
    """Return the network's input as a whole."""
    return lazy_input(frame, images, package).part((0, 0, 0), frame.shape)


def normalised(hu: Array) -> Array:
    return (np.clip(hu.astype(np.float32), -200, 1500) - 100) / 300


@pytest.mark.parametrize(
    ("size", "count"), [(30, 47), (30, 19), (64, 64), (5, 9), (2, 7), (1, 3)]
)
def test_an_axis_is_resampled_as_scipy_zooms_it(size, count):
    values = np.random.default_rng(0).normal(size=size)
    result = np.zeros(count)
    operator = cubic_operator(size, count, 0, count)
    for rows, columns, matrix in operator.blocks:
        result[rows] = matrix @ values[operator.source][columns]
    expected = ndimage.zoom(
        values, count / size, order=3, mode="nearest", grid_mode=True
    )
    assert np.allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("shape", [(17, 41, 200), (7, 61, 26), SHAPE])
def test_an_image_is_resampled_as_nnunet_does(ct, shape, axis):
    source = normalised(ct.array)
    result = ImageInput(shape, [ChannelImage(source)], axis).part((0, 0, 0), shape)
    expected = resampled(source, shape, order=3, axis=axis)
    assert np.abs(result[0] - expected).max() < 2e-5


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("shape", [(17, 41, 200), (7, 61, 26), SHAPE])
def test_a_part_is_the_same_as_in_the_whole(ct, shape, axis):
    images = ImageInput(shape, [ChannelImage(ct.array, -200, 900, 100, 300)], axis)
    whole = images.part((0, 0, 0), shape)
    rng = np.random.default_rng(5)
    for _ in range(5):
        ends = np.sort(rng.integers(0, np.array(shape) + 1, size=(2, 3)), axis=0)
        low, high = ends[0], np.maximum(ends[1], ends[0] + 1)
        z, y, x = (slice(*span) for span in zip(low, high, strict=True))
        part = images.part(tuple(low), tuple(high))
        assert np.allclose(part, whole[:, z, y, x], atol=1e-5)


def test_no_value_leaves_the_range_of_the_image():
    step = np.zeros((8, 8, 8), dtype=np.float32)
    step[4:] = 1.0
    result = ImageInput((19, 19, 19), [ChannelImage(step)], None).part(
        (0,) * 3, (19,) * 3
    )
    assert (result.min(), result.max()) == (0.0, 1.0)


@pytest.mark.parametrize(("size", "count"), [(7, 20), (20, 7), (8, 4), (5, 5)])
def test_the_nearest_slice_is_the_one_scipy_takes(size, count):
    at = size / count * (np.arange(count) + 0.5) - 0.5
    slices = np.arange(size, dtype=float)
    expected = ndimage.map_coordinates(slices, [at], order=0, mode="nearest")
    assert nearest_index(size, count).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("current", "new", "axis"),
    [
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        ((3.1, 1.0, 1.0), (1.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 4.0), 2),
        ((1.0, 4.0, 1.0), (4.0, 1.0, 1.0), 1),
        ((4.0, 4.0, 1.0), (1.0, 1.0, 1.0), None),
    ],
)
def test_thick_slices_are_kept_apart(current, new, axis):
    assert separate_axis(current, new, above=3.0) == axis


@pytest.mark.parametrize(
    ("above", "axis"), [(None, None), (0.0, 2), (3.9, 2), (4.0, None), (10.0, None)]
)
def test_a_plan_may_keep_other_slices_apart(above, axis):
    assert separate_axis((1.0, 1.0, 4.0), (1.0, 1.0, 1.0), above=above) == axis


def test_a_frame_keeps_slices_apart_as_its_package_says(ct):
    apart = place_in(CaseImages(ct), ct_only(separate_above=2.0))
    assert (apart.separate_axis, apart.separate_axis_back) == (0, None)
    back = place_in(CaseImages(ct), ct_only(separate_above_back=1.0))
    assert (back.separate_axis, back.separate_axis_back) == (None, 0)


def test_the_input_is_nnunets(ct):
    plan = ct_only()
    frame = place_in(CaseImages(ct), plan)
    shape = (round(12 * 2.4 / 2.0), round(30 * 0.9 / 1.5), round(26 * 1.1 / 1.5))
    assert frame.shape == shape
    result = image_input(frame, CaseImages(ct), plan)
    expected = resampled(normalised(ct.array), shape, order=3, axis=None)
    assert result.shape == (1, *shape)
    assert np.abs(result[0] - expected).max() < 2e-5


def test_what_is_zero_around_the_image_is_cropped_away(ct):
    padded = np.pad(ct.array, ((2, 1), (3, 4), (0, 5)))
    z, y, x = padded.shape
    grid = Grid((x, y, z), SPACING)
    frame = place_in(CaseImages(Volume(padded, grid)), ct_only())
    assert frame.cropped_shape == SHAPE
    assert [part.start for part in frame.box] == [2, 3, 0]
    whole = place_in(CaseImages(ct), ct_only())
    inner = Volume(padded, grid)
    assert np.array_equal(
        image_input(frame, CaseImages(inner), ct_only()),
        image_input(whole, CaseImages(ct), ct_only()),
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_an_image_of_zeros_is_refused(dtype):
    empty = np.zeros((4, 5, 6), dtype=dtype)
    with pytest.raises(ImageContentError, match="nothing but 0"):
        place_in(CaseImages(Volume(empty, Grid((6, 5, 4)))), ct_only())


def test_how_a_scanner_stores_an_image_does_not_matter(ct):
    """Every permutation and flip of the axes gives the same input and labels."""
    plan = ct_only()
    expected = image_input(place_in(CaseImages(ct), plan), CaseImages(ct), plan)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            stored = stored_otherwise(ct, order, flips)
            frame = place_in(CaseImages(stored), plan)
            found = image_input(frame, CaseImages(stored), plan)
            assert np.array_equal(found, expected)
            back = frame.network_from_image[:3, :3]
            assert np.allclose(frame.grid(stored.grid).direction, np.eye(3), atol=1e-9)
            assert np.count_nonzero(back) == 3


def stored_otherwise(
    volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]
) -> Volume:
    """Return the same image with its axes permuted and flipped; order is of x, y, z."""
    grid = volume.grid
    axes = np.array(grid.direction)[:, list(order)] * flips
    size = tuple(grid.size[axis] for axis in order)
    spacing = tuple(grid.spacing[axis] for axis in order)
    start = [0, 0, 0]
    for axis, flip in zip(order, flips, strict=True):
        start[axis] = grid.size[axis] - 1 if flip < 0 else 0
    origin = tuple(float(v) for v in grid.index_to_world(start))
    array = volume.array.transpose([2 - order[2 - n] for n in range(3)])
    array = array[tuple(slice(None, None, flips[2 - n]) for n in range(3))]
    direction = tuple(tuple(float(v) for v in row) for row in axes)
    return Volume(
        np.ascontiguousarray(array),
        Grid(size, spacing, origin, direction),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("transpose", list(itertools.permutations(range(3))))
def test_the_network_gets_its_own_order_of_axes(ct, transpose):
    straight = image_input(
        place_in(CaseImages(ct), ct_only()), CaseImages(ct), ct_only()
    )
    plan = ct_only(transpose=transpose)
    frame = place_in(CaseImages(ct), plan)
    turned = image_input(frame, CaseImages(ct), plan)
    assert np.allclose(turned[0], straight[0].transpose(transpose), atol=2e-6)


@pytest.mark.parametrize("model_spacing", [(1.5, 1.5, 2.0), (0.6, 0.6, 3.0)])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_labels_are_those_of_resampling_every_class(ct, transpose, model_spacing):
    plan = ct_only(transpose=transpose, spacing_mm=model_spacing)
    padded = Volume(
        np.pad(ct.array, ((0, 2), (1, 0), (3, 0))), Grid((29, 31, 14), SPACING)
    )
    frame = place_in(CaseImages(padded), plan)
    logits = smooth_logits(frame.shape)
    expected = nnunet_labels(logits, frame, padded.grid.shape)
    found = back_by_kernel(logits, frame, padded.grid)
    assert (found == expected).mean() > 0.9995


def smooth_logits(shape: tuple[int, ...]) -> Array:
    noise = np.random.default_rng(4).normal(size=(*shape, 5))
    smooth = ndimage.gaussian_filter(noise, (1.2, 1.2, 1.2, 0))
    return np.ascontiguousarray(smooth / smooth.std() * 3, dtype=np.float32)


def nnunet_labels(
    logits: Array, frame: ImageFrame, image_shape: tuple[int, ...]
) -> Array:
    """Return the export of nnU-Net for an image whose axes are the patient's."""
    axis = frame.separate_axis_back
    channels = [
        resampled(logits[..., c], frame.cropped_shape, order=1, axis=axis)
        for c in range(logits.shape[-1])
    ]
    whole = np.zeros(frame.image_shape, dtype=np.uint8)
    whole[frame.box] = np.argmax(channels, axis=0)
    labels = whole.transpose(np.argsort(frame.axes))
    assert labels.shape == image_shape
    return labels


def back_by_kernel(logits: Array, frame: ImageFrame, image: Grid) -> Array:
    way = WayBack(frame.network_from_image, TO_THE_FACES, frame.separate_axis_back)
    table = np.arange(5, dtype=np.uint8)
    return written(logits, frame.grid(image), image, table, way=way, at_once=2).labels


def with_mr(
    ct: Volume, scope: Literal["image", "nonzero", "field_of_view"]
) -> tuple[Volume, Volume, ModelPackage]:
    """Return an MR with an empty margin, its field of view, and a package."""
    field = np.zeros(SHAPE, dtype=np.uint8)
    field[2:10, 4:25, 3:20] = 1
    rng = np.random.default_rng(8)
    values = (rng.normal(300, 60, SHAPE) * field).astype(np.float32)
    plan = package(
        frame="image",
        channels=("ct", "mr"),
        normalisation=Normalisation(ct=WINDOW.ct, mr=ZScore(scope=scope)),
        spacing_mm=SPACING,
    )
    return Volume(values, ct.grid), Volume(field, ct.grid), plan


@pytest.mark.parametrize("scope", ["image", "nonzero", "field_of_view"])
def test_mr_is_scored_over_what_the_package_says(ct, scope):
    mr, field, plan = with_mr(ct, scope)
    frame = place_in(CaseImages(ct, mr, field), plan)
    scores = image_input(frame, CaseImages(ct, mr, field), plan)[1]
    inside = field.array != 0 if scope == "field_of_view" else np.ones(SHAPE, bool)
    assert scores[inside].mean() == pytest.approx(0.0, abs=1e-4)
    assert scores[inside].std() == pytest.approx(1.0, abs=1e-4)
    assert not scores[~inside].any()


def test_without_mr_its_channel_is_zero(ct):
    _, _, plan = with_mr(ct, "image")
    frame = place_in(CaseImages(ct), plan)
    channels = image_input(frame, CaseImages(ct), plan)
    assert channels.shape == (2, *SHAPE)
    assert not channels[1].any()


def test_the_image_is_not_changed(ct):
    before = ct.array.copy()
    frame = place_in(CaseImages(ct), ct_only())
    image_input(frame, CaseImages(ct), ct_only())
    assert np.array_equal(ct.array, before)


def test_what_is_worth_a_look_holds_every_bright_voxel_and_little_else(ct):
    bright = ct.with_array(np.full(SHAPE, -900, dtype=np.int16))
    bright.array[5, 20, 13] = 50
    frame = place_in(CaseImages(bright), ct_only())
    worth = worth_above(frame, bright, 0)
    at = frame.network_from_image[:3] @ (13, 20, 5, 1)
    x, y, z = (int(value) for value in at)
    assert worth.any_between((z, y, x), (z + 1, y + 1, x + 1))
    assert not worth.any_between((z, y + 9, x), (z + 1, y + 10, x + 1))
