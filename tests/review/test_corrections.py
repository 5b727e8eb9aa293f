"""Corrections are read from what they come in, and compared with the model's own."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from hanseg_shared.errors import GridMismatchError, ImageContentError, ImageError
from hanseg_shared.grid import Grid
from hanseg_shared.io.write import write_volume
from hanseg_shared.review.sandbox import (
    ComparedCorrection,
    SentCorrection,
    compare_files,
    compare_in_child,
)
from hanseg_shared.volume import Volume
from tests.review.cases import (
    BOXES,
    GRID,
    SMALLER,
    box,
    make_labels,
    mask_of,
    pack,
    write_labels,
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "own.nii.gz")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def painted(own: Path, out: Path, content: bytes, organ: str = "Brainstem"):
    path = own.with_name("painted")
    path.write_bytes(content)
    return compare_files(SentCorrection(path, own, organ=organ, painted=True), out)


def sent(own: Path, out: Path, path: Path, organ: str | None = None):
    return compare_files(SentCorrection(path, own, organ=organ), out)


def names(found: ComparedCorrection) -> list[str]:
    return [each.organ for each in found.organs]


class TestPainted:
    def test_it_is_compared_with_the_model_s_own(self, own, out):
        [each] = painted(own, out, pack(SMALLER)).organs
        told = each.comparison
        assert (told.volume_ml, told.corrected_ml) == pytest.approx((0.432, 0.36))
        assert told.dice == pytest.approx(2 * 180 / (216 + 180))
        assert told.hd95_mm == pytest.approx(1.0)
        assert told.surface_dice == 1.0  # within 2.5 mm
        # a new edge of 6 pixels on each of 6 slices; its two ends were an edge before
        assert told.added_path_mm == pytest.approx(6 * 4.0)

    def test_it_is_kept_as_it_came(self, own, out):
        painted(own, out, pack(SMALLER))
        kept = gzip.decompress((out / "Brainstem.gz").read_bytes())
        assert kept == SMALLER.astype(np.uint8).tobytes()

    def test_the_same_mask_is_kept_in_the_same_bytes(self, own, out, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        painted(own, out, pack(SMALLER))
        painted(own, other, pack(SMALLER))
        one, two = ((f / "Brainstem.gz").read_bytes() for f in (out, other))
        assert one == two

    def test_what_equals_the_model_s_own_is_no_correction(self, own, out):
        found = painted(own, out, pack(mask_of("Brainstem")))
        assert (names(found), found.unchanged) == ([], ("Brainstem",))

    def test_an_organ_that_the_model_did_not_find_may_be_drawn(self, own, out):
        lips = box(slice(0, 2), slice(0, 3), slice(0, 4))
        [each] = painted(own, out, pack(lips), "Lips").organs
        assert (each.comparison.dice, each.comparison.hd95_mm) == (0.0, None)
        assert each.comparison.volume_ml == 0.0

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"no gzip", "no gzip"),
            (gzip.compress(b"\1" * 10), "one byte a voxel"),
            (gzip.compress(b"\1" * (24 * 20 * 12 + 1)), "one byte a voxel"),
            (gzip.compress(b"\2" * (24 * 20 * 12)), "0 and 1, and this one has 2"),
            (pack(SMALLER)[:-9], "one byte a voxel"),
            (gzip.compress(bytes(50_000_000)), "one byte a voxel"),
            (pack(np.zeros(GRID.shape, dtype=np.bool_)), "no voxel in it"),
        ],
        ids=["text", "short", "long", "values", "cut off", "bomb", "empty"],
    )
    def test_what_is_no_mask_is_refused(self, own, out, content, told):
        with pytest.raises(ImageContentError, match=told):
            painted(own, out, content)


class TestLabelMaps:
    @pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
    def test_organs_that_differ_are_corrections(self, own, out, suffix):
        masks = {name: mask_of(name) for name in BOXES} | {"Brainstem": SMALLER}
        path = write_labels(own.with_name(f"sent.{suffix}"), masks)
        found = sent(own, out, path)
        assert (names(found), found.kind) == (["Brainstem"], "label_map")
        assert found.unchanged == ("Parotid_L", "Parotid_R")

    def test_organs_that_it_lacks_are_not_looked_at(self, own, out):
        path = write_labels(own.with_name("sent.nrrd"), {"Brainstem": SMALLER})
        assert sent(own, out, path).unchanged == ()

    def test_a_mask_alone_is_that_of_the_organ_that_is_named(self, own, out):
        lone = Volume(SMALLER.astype(np.uint8) * 200, GRID)
        path = own.with_name("sent.nii")
        write_volume(lone, path)
        assert names(sent(own, out, path, "Brainstem")) == ["Brainstem"]
        with pytest.raises(ImageContentError, match="labels 200"):
            sent(own, out, path)

    def test_a_part_of_the_image_is_taken_as_slicer_saves_it(self, own, out):
        part = Volume(
            np.asarray(make_labels({"Brainstem": SMALLER}).array[2:10, 6:16, 8:18]),
            GRID.crop((8, 6, 2), (10, 10, 8)),
        )
        path = own.with_name("sent.nrrd")
        write_volume(part, path)
        [each] = sent(own, out, path).organs
        assert each.comparison.corrected_ml == pytest.approx(0.36)

    def test_another_grid_is_refused(self, own, out):
        other = Grid(GRID.size, (1.1, 1.0, 2.0))
        path = own.with_name("sent.nii")
        write_volume(Volume(make_labels().array, other), path)
        with pytest.raises(GridMismatchError):
            sent(own, out, path)

    def test_swapped_sides_are_refused(self, own, out):
        masks = {"Parotid_L": mask_of("Parotid_R"), "Parotid_R": mask_of("Parotid_L")}
        path = write_labels(own.with_name("sent.nii"), masks)
        with pytest.raises(
            ImageContentError, match="Parotid_L lies where Parotid_R is"
        ):
            sent(own, out, path)

    @pytest.mark.parametrize("content", [b"", b"no image at all", b"NRRD0004\n"])
    def test_what_is_no_image_is_refused(self, own, out, content):
        path = own.with_name("sent")
        path.write_bytes(content)
        with pytest.raises(ImageError):
            sent(own, out, path)


def test_the_child_says_the_same(own, out):
    path = own.with_name("painted")
    path.write_bytes(pack(SMALLER))
    asked = SentCorrection(path, own, organ="Brainstem", painted=True)
    found = compare_in_child(asked, out)
    assert names(found) == ["Brainstem"]
    path.write_bytes(b"no gzip")
    with pytest.raises(ImageContentError, match="no gzip"):
        compare_in_child(asked, out)
