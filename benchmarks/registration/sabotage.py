"""MRs that must not reach the network, or not unless they land where they belong.

Each way to go wrong is one that clinics have seen: the wrong patient or body part, a
header that swaps sides, turns the patient round or states another slice distance, a
transform from elsewhere that is off by centimetres, an image without content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from benchmarks.registration.cases import (
    FIRST_SEED,
    Case,
    data_folder,
    moved,
    random_turn,
    real_cts,
    simulated,
    simulated_from,
)

from hanseg_lab.evaluation.landmarks import rigid_fit
from hanseg_lab.simulator import simulate_mr
from hanseg_registration.geometry.head import SHOULDER_WIDTH_MM
from hanseg_registration.geometry.motions import (
    Motion,
    apply,
    inverse,
    rotation,
    translation,
)
from hanseg_shared.documents import TransformKind
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.io.body import BODY_HU
from hanseg_shared.volume import Volume

OFFSETS_MM = (8.0, 30.0)
"""Mean displacement of a perturbed transform over the head, smallest and largest."""

SLICE_FACTOR = 1.25
"""A header that says 5 mm where slices are 4 mm apart."""

PART_STEP = 8
"""How many CTs on another one is looked for whose shoulders are shown."""

Saboteur = Callable[[int], Case]


def perturbed(number: int) -> Case:
    """Trust headers that put the MR 8 to 30 mm from where it belongs."""
    rng = np.random.default_rng((number, 8))
    case = aligned(number)
    region = case.region
    low, high = OFFSETS_MM
    wanted = float(rng.uniform(low, high))
    turn = random_turn(rng, wanted / 3.0, centre=region.mean(axis=0))
    shift = rng.normal(size=3)
    motion = _scaled(turn, shift / np.linalg.norm(shift), region, wanted)
    return replace(
        case,
        mr=moved(case.mr, motion),
        belongs=apply(motion, region),
        about={**case.about, "offset_mm": wanted},
    )


def aligned(number: int) -> Case:
    """Trust headers that are right: what must not be refused."""
    case = simulated(number)
    if case.belongs is None:
        raise ValueError("a simulated case without truth")
    mr_from_ct = rigid_fit(case.region, case.belongs)
    return replace(
        case,
        mr=moved(case.mr, inverse(mr_from_ct)),
        belongs=case.region,
        kind=TransformKind.NONE,
    )


def _scaled(turn: Motion, direction: Motion, region: Motion, wanted: float) -> Motion:
    """Return a turn and a shift that displace a region by a mean distance, in mm."""
    low, high = 0.0, 2.0 * wanted
    for _ in range(40):
        middle = (low + high) / 2.0
        motion = translation(middle * direction) @ turn
        mean = np.linalg.norm(apply(motion, region) - region, axis=1).mean()
        low, high = (middle, high) if mean < wanted else (low, middle)
    return translation(low * direction) @ turn


def mirrored(number: int) -> Case:
    """Exchange left and right."""
    case = simulated(number)
    sideways = int(np.abs(np.array(case.mr.grid.direction)[0]).argmax())
    turned = np.ascontiguousarray(np.flip(case.mr.array, axis=2 - sideways))
    return replace(case, mr=case.mr.with_array(turned), belongs=None)


def upside_down(number: int) -> Case:
    """Turn the patient round in the header, head for feet."""
    case = simulated(number)
    if case.belongs is None:
        raise ValueError("a simulated case without truth")
    turn = rotation((180.0, 0.0, 0.0), centre=case.mr.grid.centre)
    return replace(case, mr=moved(case.mr, turn), belongs=apply(turn, case.belongs))


def inverted(number: int) -> Case:
    """Exchange dark and bright within the patient, as another contrast does."""
    case = simulated(number)
    array = case.mr.array.astype(np.float32)
    top = np.percentile(array, 99.5)
    tissue = array > 0.12 * top
    other = np.where(tissue, np.clip(1.12 * top - array, 0.0, None), array)
    return replace(case, mr=case.mr.with_array(other))


def wrong_slices(number: int) -> Case:
    """State 5 mm in the header where slices are 4 mm apart."""
    case = simulated(number)
    if case.belongs is None:
        raise ValueError("a simulated case without truth")
    grid = case.mr.grid
    x, y, z = grid.spacing
    stated = Grid(grid.size, (x, y, z * SLICE_FACTOR), grid.origin, grid.direction)
    belongs = stated.index_to_world(grid.world_to_index(case.belongs))
    return replace(case, mr=Volume(case.mr.array, stated), belongs=belongs)


def other_patient(number: int) -> Case:
    """Send the MR of another patient."""
    case = simulated(number)
    path = next(
        simulated_from(other)
        for other in range(number + 1, number + 9)
        if simulated_from(other) != simulated_from(number)
    )
    return replace(case, ct=read_ct(path), belongs=None)


def other_person(number: int) -> Case:
    """Send a real T1 of another person; the first is for the finest CT."""
    cts = real_cts()
    ct = read_ct(cts[number * 13 % len(cts)])
    mr = read_mr(data_folder() / "head" / "t1_other_subject.nii.gz")
    about: dict[str, float | str] = {"ct": cts[number * 13 % len(cts)].name}
    return Case(ct=ct, mr=mr, region=np.zeros((0, 3)), belongs=None, about=about)


def other_part(number: int) -> Case:
    """Send the MR of a patient's neck and shoulders for another one's head."""
    cts = real_cts()[1:]
    ct = read_ct(cts[number])
    others = (read_ct(path) for path in cts[number + 20 :: PART_STEP])
    below = next(other for other in others if _shows_shoulders(other))
    head, trunk = _slices(ct, 0.5, 1.0), _slices(below, 0.0, 0.45)
    made = simulate_mr(trunk, seed=FIRST_SEED + number)
    return Case(ct=head, mr=made.mr, region=np.zeros((0, 3)), belongs=None)


def _shows_shoulders(ct: Volume) -> bool:
    """Whether the lowest quarter of a CT's slices shows something wider than a head."""
    lowest = _slices(ct, 0.0, 0.25)
    columns = np.flatnonzero((lowest.array > BODY_HU).mean(axis=(0, 1)) > 0.1)
    return len(columns) * ct.grid.spacing[0] > SHOULDER_WIDTH_MM


def _slices(ct: Volume, low: float, high: float) -> Volume:
    """Return a CT's slices between two shares of their number, counted from below."""
    x, y, z = ct.grid.size
    first, last = int(z * low), int(z * high)
    grid = ct.grid.crop((0, 0, first), (x, y, last - first))
    return Volume(ct.array[first:last], grid)


def limb(number: int) -> Case:
    """Send an MR of a thigh: muscle and fat about a bone."""
    return _with_body(number, radii=(75.0, 80.0), organs=((0.0, 5.0, 14.0, 0.9),))


def abdomen(number: int) -> Case:
    """Send an MR of a trunk: an ellipse with liver, spleen, kidneys and spine."""
    organs = (
        (-70.0, -10.0, 55.0, 0.75),
        (90.0, 15.0, 35.0, 0.45),
        (-50.0, 50.0, 28.0, 0.55),
        (50.0, 50.0, 28.0, 0.55),
        (0.0, 60.0, 24.0, 0.8),
    )
    return _with_body(number, radii=(150.0, 105.0), organs=organs)


def _with_body(
    number: int,
    *,
    radii: tuple[float, float],
    organs: tuple[tuple[float, float, float, float], ...],
) -> Case:
    """Return a real CT with an MR of round organs (x, y, radius, signal) in fat."""
    rng = np.random.default_rng((number, 11))
    grid = Grid((256, 256, 50), (1.3, 1.3, 4.0), (-166.0, -166.0, -100.0))
    x = grid.origin[0] + grid.spacing[0] * np.arange(grid.size[0])
    z, y = np.arange(grid.size[2])[:, None, None] - 25.0, x[None, :, None]
    x = x[None, None, :] + 0.6 * z * rng.normal(0, 0.3)
    shape = 1.0 + 0.002 * z * rng.normal()
    radius = np.hypot(x / radii[0], y / radii[1]) / shape
    signal = np.where(radius < 1.0, np.where(radius < 0.88, 0.5, 1.0), 0.0)
    for middle_x, middle_y, size, value in organs:
        distance = np.hypot(x - middle_x, y - middle_y + rng.normal(0, 4)) / shape
        signal = np.where((distance < size) & (radius < 0.9), value, signal)
    noise = rng.normal(0, 0.03, (2, *grid.shape))
    array = 800.0 * np.hypot(signal + noise[0], noise[1])
    cts = real_cts()
    ct = read_ct(cts[number * 7 % len(cts)])
    mr = Volume(array.astype(np.float32), grid)
    return Case(ct=ct, mr=mr, region=np.zeros((0, 3)), belongs=None)


def noise(number: int) -> Case:
    """Send noise instead of an image."""
    case = simulated(number)
    rng = np.random.default_rng((number, 13))
    array = np.abs(rng.normal(100, 40, case.mr.array.shape)).astype(np.float32)
    return replace(case, mr=case.mr.with_array(array), belongs=None)


def constant(number: int) -> Case:
    """Send one value, every other time zero, instead of an image."""
    case = simulated(number)
    array = np.full(case.mr.array.shape, 500 * (number % 2), dtype=np.int16)
    return replace(case, mr=case.mr.with_array(array), belongs=None)


KINDS: dict[str, tuple[Saboteur, int]] = {
    "perturbed": (perturbed, 18),
    "mirrored": (mirrored, 12),
    "other_patient": (other_patient, 12),
    "other_person": (other_person, 10),
    "upside_down": (upside_down, 8),
    "inverted": (inverted, 8),
    "wrong_slices": (wrong_slices, 8),
    "other_part": (other_part, 8),
    "limb": (limb, 5),
    "abdomen": (abdomen, 5),
    "noise": (noise, 4),
    "constant": (constant, 2),
}
"""What is done, and how many of the hundred sabotaged cases suffer it."""


def sabotaged(number: int) -> Case:
    """Return one of the hundred sabotaged cases, 0..99.

    Raises:
        IndexError: There is no such case.
    """
    name, index = kind_of(number)
    case = KINDS[name][0](index)
    return replace(case, about={**case.about, "sabotage": name})


def kind_of(number: int) -> tuple[str, int]:
    """Return what is done to a sabotaged case, and which one of that kind it is.

    The kinds take turns, so that the first few cases hold one of each.
    """
    order = [
        (name, index)
        for index in range(max(count for _, count in KINDS.values()))
        for name, (_, count) in KINDS.items()
        if index < count
    ]
    return order[number]
