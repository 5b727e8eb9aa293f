"""One case contoured without the service: the steps, and the file they leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_challenge import contour as module
from hanseg_challenge.contour import contour
from hanseg_challenge.plan import Order
from hanseg_lab.quick_model import BANDS, write_quick_model
from hanseg_registration.registration import Registration
from hanseg_segmentation.compute.switch import plain_kernels
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.self_test_case import read_self_test_case
from hanseg_segmentation.pipeline import Segmentation
from hanseg_shared.documents import MrVerdict, RegistrationReport, TransformKind
from hanseg_shared.errors import ImageError, RegistrationError
from hanseg_shared.io import read_labels, write_volume
from hanseg_shared.settings import Settings
from hanseg_shared.volume import Volume

pytestmark = pytest.mark.torch

PATIENT = read_self_test_case()
VIEW = Volume(np.ones_like(PATIENT.ct.array, dtype=np.uint8), PATIENT.ct.grid)
SETTINGS = Settings(device="cpu", engine="eager", kernels=False)


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    """A case chooses for its whole process; others of this one are left alone."""
    with plain_kernels():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quick_model(tmp_path_factory.mktemp("models"))


@pytest.fixture
def order(tmp_path: Path, model: Path) -> Order:
    for name in ("scratch", "out"):
        (tmp_path / name).mkdir()
    return Order(
        ct=write_volume(PATIENT.ct, tmp_path / "a_CT.mha"),
        mr=None,
        label_map=tmp_path / "out" / "a_seg.mha",
        scratch=tmp_path / "scratch",
        model=model,
        registration=TransformKind.AFFINE,
        seconds=300.0,
    )


def test_the_label_map_lies_on_the_grid_of_the_ct(order):
    answer = contour(order, SETTINGS)
    labels = read_labels(order.label_map)
    labels.grid.require_same(PATIENT.ct.grid, what="the label map")
    assert answer.organs == len(set(labels.array.ravel().tolist()) - {0}) == len(BANDS)
    assert answer.verdict.startswith("No MR was sent")
    assert list(answer.seconds) == [
        "check",
        "registration",
        "model",
        "network",
        "writing",
    ]
    assert [each.name for each in order.label_map.parent.iterdir()] == ["a_seg.mha"]


def with_mr(order: Order) -> Order:
    mr = write_volume(PATIENT.t1, order.ct.parent / "a.mha")
    return order.model_copy(update={"mr": mr})


def registering(verdict: MrVerdict):
    """Return a registration that finds the MR in place, and says so or not."""

    def register(ct, mr, out, *, deadline_s, kind, **options):
        assert kind is TransformKind.AFFINE
        assert 0 < deadline_s <= 0.4 * 300
        report = RegistrationReport(verdict=verdict, reason=f"MR {verdict}: so.")
        found = Registration(
            PATIENT.t1, VIEW, sitk.Transform(3, sitk.sitkIdentity), report
        )
        found.write(out)
        return report

    return register


def noting(seen: list[CaseImages]):
    """Return a segmentation that notes what it is shown and finds no organ."""

    def segment(images, *, model, progress, seconds_left):
        assert 0 < seconds_left <= 0.85 * 300
        seen.append(images)
        labels = images.ct.with_array(np.zeros_like(VIEW.array))
        return Segmentation(labels, (), model.package.summary, {})

    return segment


@pytest.mark.parametrize("verdict", [MrVerdict.USED, MrVerdict.REJECTED])
def test_the_network_sees_an_mr_only_if_it_is_trusted(order, monkeypatch, verdict):
    seen: list[CaseImages] = []
    monkeypatch.setattr(module, "register_files", registering(verdict))
    monkeypatch.setattr("hanseg_segmentation.pipeline.segment", noting(seen))
    answer = contour(with_mr(order), SETTINGS)
    assert answer.verdict == f"MR {verdict}: so."
    assert [images.mr is not None for images in seen] == [verdict is MrVerdict.USED]


def test_a_registration_that_fails_leaves_the_ct(order, monkeypatch):
    def fail(*paths, **options):
        raise RegistrationError("it took too long")

    monkeypatch.setattr(module, "register_files", fail)
    monkeypatch.setattr("hanseg_segmentation.pipeline.segment", noting([]))
    answer = contour(with_mr(order), SETTINGS)
    assert "it took too long" in answer.verdict
    assert order.label_map.exists()


def test_an_image_that_is_no_ct_is_refused(order):
    order.ct.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a_CT\.mha"):
        contour(order, SETTINGS)
    assert not order.label_map.exists()
