"""A small simulated patient whose true registration is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.phantom import Scope, make_case
from hanseg_registration.engines.elastix import crop_head, prepare_fixed, prepare_moving
from hanseg_registration.geometry.head import Head, find_ct_head, find_mr_head
from hanseg_registration.geometry.motions import Motion, translation
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.io import write_volume
from hanseg_shared.volume import Volume


@dataclass(frozen=True)
class Pair:
    """A CT, an unregistered MR, and where CT points truly lie in the MR."""

    ct: Volume
    mr: Volume
    mr_from_ct: Motion

    def with_mr(self, mr: Volume) -> Pair:
        return replace(self, mr=mr)


@pytest.fixture(autouse=True)
def one_thread():
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.fixture(scope="session")
def pair() -> Pair:
    """Head, neck and shoulders on a couch; the MR's header lies hundreds of mm off."""
    case = make_case(
        1,
        ct_spacing=(4.0, 4.0, 4.0),
        mr_spacing=(3.0, 3.0, 4.0),
        scope=Scope.HEAD_AND_NECK,
    )
    assert case.mr is not None
    assert case.mr_from_ct is not None
    return Pair(case.ct, case.mr, case.mr_from_ct)


@dataclass(frozen=True)
class Aligned:
    """The pair as a registration sees it, and the pose that is true."""

    ct_image: Volume
    ct_head: Head
    moving: Volume
    similarity: Similarity
    pose: Motion


@pytest.fixture(scope="session")
def aligned(pair: Pair) -> Aligned:
    """The pair centred, with its true pose."""
    ct, moving = centre_at_origin(pair.ct), prepare_moving(centre_at_origin(pair.mr))
    head = find_ct_head(ct)
    image = crop_head(ct, head)
    similarity = Similarity.between(
        prepare_fixed(image), moving, head=head, mr_head=find_mr_head(moving)
    )
    to_mr = translation(-pair.mr.grid.centre) @ pair.mr_from_ct
    pose = to_mr @ translation(pair.ct.grid.centre)
    return Aligned(image, head, moving, similarity, pose)


@pytest.fixture
def files(pair: Pair, tmp_path: Path) -> tuple[Path, Path]:
    """The pair as files."""
    ct = write_volume(pair.ct, tmp_path / "ct.nii.gz")
    return ct, write_volume(pair.mr, tmp_path / "mr.nii.gz")
