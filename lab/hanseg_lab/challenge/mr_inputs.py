"""Test cases with another MR, or without: to see what the MR buys.

CTs stay as they are. The MR is left out, or another patient's, which the service should
reject; or its header puts it on the CT, by the true registration that only a simulation
knows, but some millimetres off, where the service is told to leave it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_lab.phantom import make_case
from hanseg_lab.phantom.folder import SET_FOLDER
from hanseg_lab.phantom.phantom_case import case_name
from hanseg_registration.engines.elastix import place_at_start
from hanseg_registration.geometry.motions import Motion, translation
from hanseg_shared.documents import TransformKind
from hanseg_shared.errors import OptionError
from hanseg_shared.io import write_volume
from hanseg_shared.io.read import read_mr
from hanseg_shared.itk import from_image

COARSE_MM = (16.0, 16.0, 16.0)
"""Voxels of a patient who is simulated again only to learn where the MR lies."""

WITH_MR = "MR"
"""The input that every method gets: the MR, registered by the service."""


@dataclass(frozen=True, slots=True)
class MrInput:
    """What a case gets for an MR.

    Attributes:
        slug: In folders and commands.
        name: In tables.
        off_mm: How far the MR is put from where it belongs; None where it is not put
            there at all.
        whose: Whose MR it is, as a step from the case's own number; None for no MR.
    """

    slug: str
    name: str
    off_mm: float | None = None
    whose: int | None = 0

    @property
    def registration(self) -> TransformKind | None:
        """How the service registers it; None as for the method itself."""
        return None if self.off_mm is None else TransformKind.NONE


CT_ALONE = MrInput("without", "CT alone", whose=None)
"""No MR: also what methods get that do not use one."""

MR_INPUTS = (
    CT_ALONE,
    MrInput("another", "another's MR", whose=1),
    MrInput("off-2", "MR 2 mm off", off_mm=2.0),
    MrInput("off-5", "MR 5 mm off", off_mm=5.0),
)
"""What is tried besides `WITH_MR`."""


def find_input(slug: str) -> MrInput:
    """Return an input by its slug.

    Raises:
        OptionError: There is none.
    """
    for each in MR_INPUTS:
        if each.slug == slug:
            return each
    known = ", ".join(each.slug for each in MR_INPUTS)
    raise OptionError(f"no input is called {slug!r}; there are {known}")


def true_motion(seed: int) -> Motion:
    """Return where the MR of a simulated patient lies: MR points from CT points."""
    motion = make_case(seed, ct_spacing=COARSE_MM, mr_spacing=COARSE_MM).mr_from_ct
    assert motion is not None
    return motion


def offset_mm(seed: int, length_mm: float) -> list[float]:
    """Return a displacement of that length; its direction depends on the seed alone."""
    direction = np.random.default_rng((seed, 4)).standard_normal(3)
    return (length_mm * direction / np.linalg.norm(direction)).tolist()


def write_cases(
    given: MrInput,
    testing: Path,
    seeds: range,
    out: Path,
    motion_of: Callable[[int], Motion] = true_motion,
) -> int:
    """Write the test cases with that input, but those that are there; return how many.

    Args:
        given: What they get for an MR.
        testing: The test cases, in HaN-Seg's layout.
        seeds: Their seeds.
        out: Folder for the cases, in the same layout, without organs.
        motion_of: Tells where the MR of a patient lies.
    """
    written = 0
    for seed in seeds:
        name = case_name(seed)
        target = out / SET_FOLDER / name
        if target.exists():
            continue
        draft = out / f".{name}.part"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        shutil.copy(_image(testing, name, "CT"), draft / f"{name}_IMG_CT.nrrd")
        if given.whose is not None:
            owner = seeds[(seeds.index(seed) + given.whose) % len(seeds)]
            mr = _image(testing, case_name(owner), "MR_T1")
            here = draft / f"{name}_IMG_MR_T1.nrrd"
            if given.off_mm is None:
                shutil.copy(mr, here)
            else:
                off = translation(offset_mm(seed, given.off_mm))
                _write_placed(mr, motion_of(owner) @ off, here)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)
        written += 1
    return written


def _image(folder: Path, name: str, kind: str) -> Path:
    return folder / SET_FOLDER / name / f"{name}_IMG_{kind}.nrrd"


def _write_placed(mr: Path, mr_from_ct: Motion, path: Path) -> None:
    """Write an MR with a header that puts it at a rigid pose on the CT."""
    placed = from_image(place_at_start(read_mr(mr), mr_from_ct))
    rounded = placed.with_array(np.rint(placed.array).astype(np.uint16))
    write_volume(rounded, path)
