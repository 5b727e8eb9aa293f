import dataclasses
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.results import packaging
from hanseg_segmentation.results.packaging import (
    write_masks,
    write_results,
    write_verified,
)
from hanseg_shared.errors import GridMismatchError, StoreError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import from_image, to_image
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.grids import GRIDS
from tests.results.cases import USED, ct_on, result_on, roomy

Converter = Callable[[Volume], sitk.Image]

SLOPING = Grid(
    (24, 22, 20),
    (0.9765625, 0.9765625, 2.4999),
    (-1249.511719, -180.1234567, -1078.77),
    ((0.8, -0.6, 0.0), (0.48, 0.64, -0.6), (0.36, 0.48, 0.8)),
)


@pytest.fixture(scope="module", params=list(GRIDS.values()), ids=list(GRIDS))
def written(tmp_path_factory, request):
    """Write the small result once in each orientation."""
    folder = tmp_path_factory.mktemp("results")
    result = result_on(roomy(request.param))
    return folder, result.images.ct, write_results(folder, result)


def read(path) -> Volume:
    return from_image(sitk.ReadImage(path))


def test_the_files_are_those_of_the_contract(written):
    folder, _, paths = written
    assert [path.relative_to(folder).as_posix() for path in paths] == [
        "segmentation.nii.gz",
        "masks/Parotid_L.nii.gz",
        "masks/SpinalCord.nii.gz",
        "preview.png",
    ]
    assert all(path.is_file() for path in paths)


def test_the_label_map_comes_back_on_the_grid_of_the_ct(written):
    folder, ct, _ = written
    stored = read(folder / "segmentation.nii.gz")
    assert stored.array.dtype == np.uint8
    assert stored.grid.is_same(ct.grid)
    assert np.array_equal(stored.array, result_on(ct.grid).labels.array)


def test_a_mask_is_one_organ_of_the_label_map(written):
    folder, ct, _ = written
    labels = result_on(ct.grid).labels.array
    stored = read(folder / "masks" / "Parotid_L.nii.gz")
    assert stored.grid.is_same(ct.grid)
    assert np.array_equal(stored.array, labels == organ("Parotid_L").label)


def test_a_sloping_grid_with_awkward_numbers_survives_the_float32_header(tmp_path):
    voxels = np.arange(np.prod(SLOPING.shape)).reshape(SLOPING.shape) % 31
    path = tmp_path / "labels.nii.gz"
    write_verified(path, Volume(voxels.astype(np.uint8), SLOPING))
    assert read(path).grid.is_same(SLOPING)


def test_the_header_says_that_its_coordinates_are_the_scanners(written):
    folder, _, _ = written
    content = (folder / "segmentation.nii.gz").read_bytes()
    header = zlib.decompressobj(wbits=31).decompress(content, 352)
    qform, sform = struct.unpack("<hh", header[252:256])
    assert (qform, sform) == (1, 1)


def test_equal_results_give_equal_bytes(tmp_path):
    result = result_on(roomy(SLOPING))
    one, other = (
        write_masks(tmp_path / name, result.labels, result.organs) for name in "ab"
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_a_result_of_another_grid_is_refused(tmp_path, grid):
    images = CaseImages(ct_on(grid))
    elsewhere = dataclasses.replace(result_on(roomy(grid)), images=images)
    with pytest.raises(GridMismatchError, match="segmentation"):
        write_results(tmp_path, elsewhere)
    assert list(tmp_path.iterdir()) == []


def test_nothing_found_writes_no_mask_but_everything_else(tmp_path):
    nothing = result_on(roomy(SLOPING))
    nothing.labels.array[:] = 0
    paths = write_results(tmp_path, nothing)
    assert [path.name for path in paths] == ["segmentation.nii.gz", "preview.png"]


def test_with_an_mr_the_same_files_are_written(tmp_path):
    ct = ct_on(roomy(SLOPING))
    seen = ct.with_array(np.ones(ct.array.shape, dtype=np.uint8))
    result = dataclasses.replace(
        result_on(ct.grid), images=CaseImages(ct, ct, seen), registration=USED
    )
    paths = write_results(tmp_path, result)
    assert len(paths) == 4


def test_a_disk_that_changes_a_voxel_is_found_out(tmp_path, monkeypatch):
    labels = result_on(roomy(SLOPING)).labels
    monkeypatch.setattr(packaging, "to_image", spoiled(to_image))
    with pytest.raises(StoreError, match="reads back with other voxels"):
        write_verified(tmp_path / "labels.nii.gz", labels)


def test_a_file_that_moves_the_grid_is_found_out(tmp_path, monkeypatch):
    labels = result_on(roomy(SLOPING)).labels
    monkeypatch.setattr(packaging, "to_image", displaced(to_image))
    with pytest.raises(GridMismatchError, match=r"written to labels\.nii\.gz"):
        write_verified(tmp_path / "labels.nii.gz", labels)


def test_a_mirrored_file_is_found_out(tmp_path, monkeypatch):
    labels = result_on(roomy(SLOPING)).labels
    monkeypatch.setattr(packaging, "to_image", mirrored(to_image))
    with pytest.raises(StoreError, match="reads back with other voxels"):
        write_verified(tmp_path / "labels.nii.gz", labels)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    labels = result_on(roomy(SLOPING)).labels
    with pytest.raises(StoreError, match=r"labels\.nii\.gz could not be written"):
        write_verified(tmp_path / "nowhere" / "labels.nii.gz", labels)


def test_masks_follow_the_label_map_not_the_verdicts(tmp_path):
    """A mask is written for what is drawn, whatever the checks think of it."""
    result = result_on(roomy(SLOPING))
    doubtful = tuple(
        each.model_copy(update={"status": "low_confidence"}) for each in result.organs
    )
    changed = dataclasses.replace(result, organs=doubtful)
    assert len(write_masks(tmp_path, changed.labels, changed.organs)) == 2


def spoiled(to_image: Converter) -> Converter:
    def convert(volume: Volume) -> sitk.Image:
        array = volume.array.copy()
        array[0, 0, 0] += 1
        return to_image(volume.with_array(array))

    return convert


def mirrored(to_image: Converter) -> Converter:
    return lambda volume: to_image(volume.with_array(volume.array[:, :, ::-1]))


def displaced(to_image: Converter) -> Converter:
    def convert(volume: Volume) -> sitk.Image:
        image = to_image(volume)
        image.SetOrigin([value + 0.5 for value in image.GetOrigin()])
        return image

    return convert


def test_the_client_knows_every_file_that_a_result_may_have(written):
    from hanseg_shared.result_files import (
        ALL,
        CHECKERBOARD,
        EDGES,
        FIELD_OF_VIEW,
        OF_REGISTRATION,
        REGISTERED_MR,
        REPORT,
        TRANSFORM,
    )

    folder, _, paths = written
    assert {path.relative_to(folder).as_posix() for path in paths} <= set(ALL)
    pictures = {CHECKERBOARD, EDGES}
    of_registration = {REGISTERED_MR, FIELD_OF_VIEW, TRANSFORM, REPORT} | pictures
    assert set(OF_REGISTRATION) == of_registration
    assert of_registration <= set(ALL)
