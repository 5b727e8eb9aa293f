"""The whole registration of a simulated patient, and of images that are no MR."""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_registration.engines.elastix import ElastixEngine
from hanseg_registration.engines.parameter_maps import FOLDER
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.geometry.motions import (
    apply,
    distances_mm,
    from_transform,
    translation,
)
from hanseg_registration.geometry.resampling import resample_onto_grid
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_registration.pipeline import register
from hanseg_registration.registration import (
    Registration,
    absent_report,
    rejected_report,
)
from hanseg_shared.documents import (
    Backend,
    MrVerdict,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_image
from hanseg_shared.itk import resample
from tests.registration.conftest import Pair
from tests.registration.fakes import FakeEngine
from tests.registration.volumes import with_origin

pytestmark = pytest.mark.elastix


@pytest.fixture(scope="module")
def registered(pair) -> Registration:
    return register(pair.ct, pair.mr)


def head_points(pair: Pair):
    centre = translation(pair.ct.grid.centre)
    return apply(centre, find_ct_head(centre_at_origin(pair.ct)).points(500))


def error_mm(found: Registration, pair: Pair) -> float:
    motion = from_transform(found.transform)
    return float(distances_mm(motion, pair.mr_from_ct, head_points(pair)).mean())


def test_the_transform_maps_ct_points_to_mr_points(registered, pair):
    assert error_mm(registered, pair) < 1.0


def test_the_transform_is_rigid(registered):
    assert registered.transform.GetName() == "Euler3DTransform"


def test_a_right_registration_is_used(registered):
    assert registered.report.verdict is MrVerdict.USED


def test_the_report_has_its_numbers(registered):
    measures = registered.report.measures
    assert measures["similarity_after"] > measures["similarity_before"]
    assert measures["agreement_mean_mm"] < 1.0
    assert 0.3 < measures["field_of_view_share"] <= 1.0
    assert registered.report.seconds > 0
    assert registered.report.kind is TransformKind.RIGID
    assert registered.report.backend is Backend.ELASTIX


def test_the_results_lie_on_the_cts_grid(registered, pair):
    assert registered.registered_mr.grid == pair.ct.grid
    assert registered.field_of_view.grid == pair.ct.grid


def test_the_field_of_view_is_0_or_1_and_leaves_the_shoulders_out(registered):
    view = registered.field_of_view.array
    assert view.dtype == np.uint8
    assert set(np.unique(view)) == {0, 1}
    assert view[-20:].mean() > view[:5].mean()


def test_outside_the_field_of_view_the_mr_is_its_own_air(registered, pair):
    outside = registered.registered_mr.array[registered.field_of_view.array == 0]
    value = float(np.median(outside))
    assert (outside == value).mean() > 0.95
    assert pair.mr.array.min() <= value < np.percentile(pair.mr.array, 50)


def test_the_registered_mr_shows_body_where_the_ct_does(registered, pair):
    view = registered.field_of_view.array == 1
    soft = view & (pair.ct.array > 0) & (pair.ct.array < 80)
    air = view & (pair.ct.array < -900)
    mr = registered.registered_mr.array
    assert mr[soft].mean() > 3 * mr[air].mean()


def test_moving_the_mrs_origin_by_500_mm_changes_no_bit(registered, pair):
    x, y, z = pair.mr.grid.origin
    far = with_origin(pair.mr, (x + 500.0, y - 500.0, z + 500.0))
    other = register(pair.ct, far)
    assert (other.registered_mr.array == registered.registered_mr.array).all()
    assert (other.field_of_view.array == registered.field_of_view.array).all()
    back = translation((-500.0, 500.0, -500.0)) @ from_transform(other.transform)
    assert back == pytest.approx(from_transform(registered.transform), abs=1e-9)


def test_progress_grows_to_1(pair):
    seen: list[float] = []
    register(pair.ct, pair.mr, kind=TransformKind.NONE, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_what_progress_raises_ends_the_work(pair):
    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(pair.ct, pair.mr, progress=stop)


def test_a_deadline_that_has_passed_is_an_error(pair):
    with pytest.raises(RegistrationError, match="0 s are allowed"):
        register(pair.ct, pair.mr, deadline_s=0.0)


def test_headers_that_do_not_agree_are_rejected(pair):
    found = register(pair.ct, pair.mr, kind=TransformKind.NONE)
    assert found.report.verdict is MrVerdict.REJECTED
    assert found.report.backend is None
    assert from_transform(found.transform) == pytest.approx(np.eye(4), abs=1e-9)


def test_headers_that_agree_are_used(registered, pair):
    found = register(pair.ct, registered.registered_mr, kind=TransformKind.NONE)
    assert found.report.verdict is MrVerdict.USED
    assert "two starts" not in found.report.reason


def test_an_affine_step_is_tried_and_reported(pair):
    found = register(pair.ct, pair.mr, kind=TransformKind.AFFINE)
    assert found.report.verdict is MrVerdict.USED
    assert "affine_kept" in found.report.measures
    assert error_mm(found, pair) < 1.5


def test_noise_is_rejected(pair):
    noise = np.random.default_rng(0).normal(100, 20, pair.mr.array.shape)
    found = register(pair.ct, pair.mr.with_array(noise.astype(np.float32)))
    assert found.report.verdict is MrVerdict.REJECTED


def test_a_blank_mr_is_rejected_and_still_handed_out(pair):
    blank = pair.mr.with_array(np.full_like(pair.mr.array, 7.0))
    found = register(pair.ct, blank)
    assert found.report.verdict is MrVerdict.REJECTED
    assert "blank" in found.report.reason
    assert found.registered_mr.grid == pair.ct.grid


def test_a_mirrored_mr_is_rejected(pair):
    swapped = np.ascontiguousarray(pair.mr.array[:, :, ::-1])
    found = register(pair.ct, pair.mr.with_array(swapped))
    assert found.report.verdict is MrVerdict.REJECTED
    assert "Left and right may be swapped." in found.report.reason


def test_a_ct_without_a_head_is_rejected(pair):
    air = pair.ct.with_array(np.full_like(pair.ct.array, -1000))
    found = register(air, pair.mr)
    assert found.report.verdict is MrVerdict.REJECTED
    assert "the CT shows no body" in found.report.reason


def test_an_elastix_that_gives_up_is_a_verdict(pair, tmp_path):
    text = (FOLDER / "rigid.txt").read_text()
    absurd = text.replace(
        "(RequiredRatioOfValidSamples 0.05)", "(RequiredRatioOfValidSamples 1.5)"
    )
    (tmp_path / "rigid.txt").write_text(absurd)
    found = register(pair.ct, pair.mr, engine=ElastixEngine(tmp_path))
    assert found.report.verdict is MrVerdict.REJECTED
    assert "elastix gave up" in found.report.reason


@pytest.fixture(scope="module")
def bend(pair) -> Deformation:
    """How a bent patient's tissue lies in the MR, on the MR's axes: up to 10 mm."""
    grid = pair.mr.grid
    x, y, z = grid.index_to_world(-140.0 / np.array(grid.spacing)).tolist()
    nx, ny, nz = (int(np.ceil(length / 70.0)) + 5 for length in grid.extent)
    lattice = Grid((nx, ny, nz), (70.0,) * 3, (x, y, z), grid.direction)
    waves = np.random.default_rng(5).normal(0.0, 8.0, (3, *lattice.shape))
    return Deformation(waves, lattice)


@pytest.fixture(scope="module")
def deformed(pair, bend) -> Registration:
    """The registration of the MR of the patient, bent."""
    mr = resample_onto_grid(pair.mr, pair.mr.grid, pose=np.eye(4), deformation=bend)
    return register(pair.ct, mr, kind=TransformKind.DEFORMABLE)


def test_a_bent_patient_is_deformed(deformed):
    measures = deformed.report.measures
    assert measures["deformable_kept"] == 1.0, deformed.report.reason
    assert measures["smallest_jacobian"] > 0.3
    assert measures["deformation_max_mm"] > measures["deformation_mean_mm"] > 1.0
    assert deformed.report.kind is TransformKind.DEFORMABLE


def test_the_composite_transform_follows_the_bend(deformed, pair, bend, tmp_path):
    """Read from its file; against the rigid motion that is its other part."""
    deformed.write(tmp_path)
    transform = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    rigid = sitk.CompositeTransform(transform).GetNthTransform(0)
    points = head_points(pair)
    true = apply(pair.mr_from_ct, points)

    def errors_mm(found: sitk.Transform):
        there = np.array([found.TransformPoint(p) for p in points.tolist()])
        straight = there + bend.displacement_mm(there)  # in the MR that is not bent
        return np.linalg.norm(straight - true, axis=1)

    index = pair.mr.grid.world_to_index(true)
    shown = ((index > 3) & (index < np.array(pair.mr.grid.size) - 4)).all(axis=1)
    assert errors_mm(transform)[shown].mean() < 0.6 * errors_mm(rigid)[shown].mean()


def test_the_images_are_resampled_through_the_composite(deformed, pair, bend):
    mr = resample_onto_grid(pair.mr, pair.mr.grid, pose=np.eye(4), deformation=bend)
    expected = resample(mr, pair.ct.grid, transform=deformed.transform).array
    inside = ndimage.binary_erosion(deformed.field_of_view.array, iterations=2)
    difference = np.abs(deformed.registered_mr.array - expected)[inside]
    assert np.quantile(difference, 0.99) < 0.01 * np.ptp(pair.mr.array)


def test_a_deformation_without_time_leaves_the_rigid_pose(pair):
    engine = FakeEngine(lambda _step, start, _seed: start)
    found = register(
        pair.ct, pair.mr, kind=TransformKind.DEFORMABLE, engine=engine, deadline_s=55.0
    )
    assert found.report.measures["deformable_kept"] == 0.0
    assert "s are left" in found.report.reason
    assert found.transform.GetName() == "Euler3DTransform"


def test_write_makes_the_four_files_of_the_contract(registered, tmp_path):
    registered.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "field_of_view.nii.gz",
        "registered_mr.nii.gz",
        "registration.json",
        "transform.tfm",
    ]
    report = json.loads((tmp_path / "registration.json").read_text())
    assert RegistrationReport.model_validate(report) == registered.report
    transform = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    assert from_transform(transform) == pytest.approx(
        from_transform(registered.transform)
    )
    view = read_image(tmp_path / "field_of_view.nii.gz")
    assert view.grid.is_same(registered.field_of_view.grid)
    assert (view.array == registered.field_of_view.array).all()


def test_a_job_without_mr_is_absent():
    assert absent_report().verdict is MrVerdict.ABSENT


def test_a_registration_that_crashed_is_rejected_with_its_reason():
    report = rejected_report("the process was killed")
    assert report.verdict is MrVerdict.REJECTED
    assert report.reason == "MR rejected: the process was killed."
