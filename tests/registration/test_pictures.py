"""The pictures of a registration: what they show, and that they cost no job."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from matplotlib.image import imread

from hanseg_registration import pictures
from hanseg_registration.pictures import (
    BONE_COLOUR,
    NO_PICTURES,
    REJECTED_COLOUR,
    SKIN_COLOUR,
    USED_COLOUR,
    Scene,
    add_pictures,
    write_pictures,
)
from hanseg_registration.registration import Registration
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.pictures.planes import Direction
from hanseg_shared.pictures.sheet import BORDER_COLOUR
from hanseg_shared.result_files import CHECKERBOARD, EDGES
from hanseg_shared.volume import Volume

USED = RegistrationReport(verdict=MrVerdict.USED, reason="it fits")
REJECTED = RegistrationReport(
    verdict=MrVerdict.REJECTED, reason="two starts end 9.0 mm apart"
)


def patient(grid: Grid) -> Volume:
    """Return a head (80 mm wide) on shoulders (320 mm), with a skull; LPS centre 0."""
    z, y, x = np.indices(grid.shape)
    points = grid.index_to_world(np.stack([x, y, z], axis=-1))
    px, py, pz = np.moveaxis(points, -1, 0)
    head = (px / 75) ** 2 + (py / 95) ** 2 + ((pz - 80) / 110) ** 2
    ct = np.full(grid.shape, -1000, dtype=np.int16)
    ct[head < 1] = 30
    ct[(head < 0.85) & (head > 0.65)] = 900
    ct[(np.abs(px) < 160) & (np.abs(py) < 90) & (pz < -15)] = 40
    return Volume(ct, grid)


AXIAL = Grid((90, 60, 70), (4.0, 4.0, 5.0), (-178.0, -118.0, -150.0))


def registration(ct: Volume, report: RegistrationReport = USED) -> Registration:
    """Return an MR that shows the CT's body, with data in part of the grid."""
    mr = np.clip(ct.array + 1000.0, 0.0, 1100.0).astype(np.float32)
    view = np.zeros(ct.array.shape, dtype=np.uint8)
    view[2:-2, 2:-2, 2:-2] = 1
    return Registration(
        ct.with_array(mr), ct.with_array(view), sitk.Euler3DTransform(), report
    )


@pytest.fixture(scope="module")
def ct() -> Volume:
    return patient(AXIAL)


def pixels_of(path, colour: str) -> int:
    image = (imread(path)[..., :3] * 255).round().astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image - wanted).max(axis=-1) < 12).sum())


def test_both_pictures_are_written(tmp_path, ct):
    write_pictures(tmp_path, ct, registration(ct))
    assert {path.name for path in tmp_path.iterdir()} == {CHECKERBOARD, EDGES}
    for path in tmp_path.iterdir():
        assert imread(path).std() > 0.05


def test_the_cts_edges_and_the_border_have_their_colours(tmp_path, ct):
    write_pictures(tmp_path, ct, registration(ct))
    for colour in (SKIN_COLOUR, BONE_COLOUR, BORDER_COLOUR):
        assert pixels_of(tmp_path / EDGES, colour) > 50


@pytest.mark.parametrize(
    ("report", "colour"), [(USED, USED_COLOUR), (REJECTED, REJECTED_COLOUR)]
)
def test_the_banner_has_the_verdicts_colour(tmp_path, ct, report, colour):
    write_pictures(tmp_path, ct, registration(ct, report))
    assert pixels_of(tmp_path / CHECKERBOARD, colour) > 20_000


def test_planes_go_through_the_head_and_not_through_the_shoulders(ct):
    scene = Scene.of(ct, registration(ct))
    places = {
        look.plane.at_mm
        for row in scene.looks
        for look in row
        if look.plane.direction is Direction.AXIAL
    }
    assert min(places) > -15
    assert max(places) < 190


def test_planes_go_through_what_the_mr_covers(ct):
    found = registration(ct)
    found.field_of_view.array[:] = 0
    found.field_of_view.array[50:56] = 1  # z = 100 to 125 mm
    scene = Scene.of(ct, found)
    axial = scene.looks[0]
    assert all(99 <= look.plane.at_mm <= 126 for look in axial)
    assert scene.low[2] == pytest.approx(88, abs=6)
    assert scene.high[2] == pytest.approx(137, abs=6)


def test_the_same_patient_looks_the_same_however_the_ct_is_stored(grid):
    stored = patient(around_the_same(grid.direction))
    look = Scene.of(stored, registration(stored)).looks[0][1]
    assert look.plane.direction is Direction.AXIAL
    assert 70 < look.plane.at_mm < 100
    expected = resample(patient(AXIAL), look.pixels, background=-1024.0).array[0]
    assert ((look.ct > -300) == (expected > -300)).mean() > 0.97


def around_the_same(direction) -> Grid:
    """Return a grid of another orientation that covers the patient."""
    size, spacing = (110, 110, 110), (4.0, 4.0, 4.0)
    grid = Grid(size, spacing, (0.0, 0.0, 0.0), direction)
    x, y, z = (np.array([0.0, 0.0, 22.0]) - grid.centre).tolist()
    return Grid(size, spacing, (x, y, z), direction)


def test_an_mr_beside_the_ct_is_said_to_be_so(tmp_path, ct, monkeypatch):
    found = registration(ct, REJECTED)
    found.field_of_view.array[:] = 0
    said: list[str] = []
    monkeypatch.setattr(pictures, "_write_across", lambda _, text: said.append(text))
    write_pictures(tmp_path, ct, found)
    assert set(said) == {pictures.NO_OVERLAP}
    assert len(said) == 12


def test_a_ct_of_air_is_drawn(tmp_path, ct):
    air = ct.with_array(np.full(ct.array.shape, -1000, dtype=np.int16))
    write_pictures(tmp_path, air, registration(air, REJECTED))


@pytest.mark.parametrize("size", [(90, 60, 1), (1, 60, 70), (3, 3, 3), (1, 1, 1)])
def test_a_ct_of_few_voxels_is_drawn(tmp_path, size):
    thin = patient(replace(AXIAL, size=size))
    write_pictures(tmp_path, thin, registration(thin, REJECTED))
    assert (tmp_path / EDGES).stat().st_size > 1000


def test_an_mr_of_one_value_is_drawn(tmp_path, ct):
    found = registration(ct, REJECTED)
    found.registered_mr.array[:] = 7.0
    write_pictures(tmp_path, ct, found)


def test_a_long_reason_is_cut(tmp_path, ct):
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="so it is " * 90)
    write_pictures(tmp_path, ct, registration(ct, report))


def test_a_picture_says_nothing_of_who_or_when(tmp_path, ct):
    write_pictures(tmp_path, ct, registration(ct))
    raw = (tmp_path / EDGES).read_bytes()
    kinds = {raw[i + 4 : i + 8] for i in chunk_starts(raw)}
    assert kinds <= {b"IHDR", b"tEXt", b"pHYs", b"IDAT", b"IEND"}
    assert raw.count(b"tEXt") == 1
    assert b"Software\x00hanseg" in raw


def chunk_starts(png: bytes):
    at = 8
    while at < len(png):
        yield at
        at += 12 + int.from_bytes(png[at : at + 4], "big")


def test_the_same_registration_gives_the_same_bytes(tmp_path, ct):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_pictures(tmp_path / name, ct, registration(ct))
    for name in (CHECKERBOARD, EDGES):
        one, two = ((tmp_path / n / name).read_bytes() for n in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space"), KeyError()])
def test_a_picture_that_fails_costs_no_registration(tmp_path, ct, monkeypatch, error):
    def fail(figure, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(pictures, "save", fail)
    found = add_pictures(tmp_path, ct, registration(ct))
    assert list(tmp_path.iterdir()) == []
    assert found.report.reason == f"it fits {NO_PICTURES}"
    assert found.report.verdict is MrVerdict.USED


def test_pictures_that_succeed_leave_the_report_alone(tmp_path, ct):
    found = registration(ct)
    assert add_pictures(tmp_path, ct, found) is found


def test_nothing_as_large_as_the_ct_is_copied(tmp_path):
    grid = Grid((400, 400, 100), (0.5, 0.5, 2.0), (-99.5, -99.5, -100.0))
    large = Volume(np.full(grid.shape, -1000, dtype=np.int16), grid)
    large.array[:, 60:340, 60:340] = 40
    found = Registration(
        large.with_array(np.ones(grid.shape, dtype=np.float32)),
        large.with_array(np.ones(grid.shape, dtype=np.uint8)),
        sitk.Euler3DTransform(),
        USED,
    )
    tracemalloc.start()
    Scene.of(large, found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 45e6  # a copy as float32 alone has 64
