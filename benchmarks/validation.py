"""Dice of a model on real CTs.

Runs the service's own pipeline on the OpenKBP training cases that the recipes hold
out; on its 33 validation cases and the two CTs of `matched`, which are among them and
have expert contours of 21 organs; or on its 42 test cases, for weights that are already
chosen. The default model was trained on the validation cases and chosen on the held-out
ones. An organ without a contour in a case is left out of its mean. OpenKBP's larynx and
oesophagus are larger than our organs, so they are compared with unions of ours. The
oesophagus counts only above our lower end; and since our Cricopharyngeus begins higher
than clinical contours of the oesophagus (Brouwer et al. 2015,
doi 10.1016/j.radonc.2015.07.041), it counts only below the contour's upper end.
The pituitary has no contours; a separate line states how far its segmentation is from
the known position of the sella.

    python benchmarks/validation.py [--part held-out|validation|test]
        [--model NAME_OR_FOLDER] [--cases N] [--stored flipped|oblique]
        [--around] [--unblanked]

With `--around` couch, head rest and mask are put around each patient, all on the skin;
`--unblanked` shows the network what lies outside the patient (see `io.body`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_lab.phantom.patient import rotation_matrix
from hanseg_lab.phantom.surroundings import Surroundings, surround
from hanseg_lab.training.data import held_out_cases
from hanseg_lab.training.datasets.dataset import DatasetCase
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_lab.training.recipe import read_recipe
from hanseg_lab.training.sampled_contours import SampledContour, origin_of
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.preprocess import AIR_HU
from hanseg_segmentation.pipeline import load_model, segment
from hanseg_shared.grid import Grid
from hanseg_shared.io.body import BODY_HU, blank_outside, find_body
from hanseg_shared.itk import Interpolation, from_image, resample
from hanseg_shared.organs import ORGANS, Side, counterpart, organ
from hanseg_shared.volume import Mask, Volume

PROJECT = Path(__file__).resolve().parents[1]

RESULTS = PROJECT / "benchmarks" / "results"

HELD_OUT, VALIDATION, TEST = PARTS = ("held-out", "validation", "test")
"""What of OpenKBP can be scored; the first are cases of its training part."""

LARYNX = "Larynx (Larynx_SG + Glottis + Arytenoid)"
GULLET = "Esophagus, upper end (Esophagus_S + Cricopharyngeus)"
INLET = "Cricopharyngeus"

TARGETS = {
    "Bone_Mandible": 0.82,
    "Brainstem": 0.78,
    "SpinalCord": 0.74,
    "Parotid_L": 0.74,
    "Parotid_R": 0.74,
    LARYNX: 0.68,
    GULLET: 0.50,
}
"""The mean Dice that is aimed at."""

Region = tuple[str, ...]

OPENKBP: dict[int, tuple[str, Region]] = {
    1: ("Brainstem", ("Brainstem",)),
    2: ("SpinalCord", ("SpinalCord",)),
    3: ("Parotid_R", ("Parotid_R",)),
    4: ("Parotid_L", ("Parotid_L",)),
    5: (GULLET, ("Esophagus_S", INLET)),
    6: (LARYNX, ("Larynx_SG", "Glottis", "Arytenoid")),
    7: ("Bone_Mandible", ("Bone_Mandible",)),
}
"""What OpenKBP's labels are compared with."""

EXPERT: dict[int, tuple[str, Region]] = {
    5: ("SpinalCord", ("SpinalCord",)),
    6: ("Brainstem", ("Brainstem",)),
    7: ("Bone_Mandible", ("Bone_Mandible",)),
    8: ("Parotid_L", ("Parotid_L",)),
    9: ("Parotid_R", ("Parotid_R",)),
    10: ("Glnd_Submand_L", ("Glnd_Submand_L",)),
    11: ("Glnd_Submand_R", ("Glnd_Submand_R",)),
    12: ("Eye_L (Eye_AL + Eye_PL)", ("Eye_AL", "Eye_PL")),
    13: ("Eye_R (Eye_AR + Eye_PR)", ("Eye_AR", "Eye_PR")),
    14: ("OpticNrv_L", ("OpticNrv_L",)),
    15: ("OpticNrv_R", ("OpticNrv_R",)),
    18: ("Glnd_Lacrimal_L", ("Glnd_Lacrimal_L",)),
    19: ("Glnd_Lacrimal_R", ("Glnd_Lacrimal_R",)),
    20: ("Cochlea_L", ("Cochlea_L",)),
    21: ("Cochlea_R", ("Cochlea_R",)),
}
"""What the labels of `matched/*_deepmind21` are compared with."""

TURN_DEGREES = 12.0
"""How far an oblique grid is turned about two axes."""

MATCHED_OFFSET_HU = 1024
"""The CTs of `matched` hold HU + 1024."""


@dataclass(frozen=True, slots=True)
class Case:
    """A real CT, what was drawn on it, and what the drawing is compared with.

    Attributes:
        name: Its name.
        ct: In HU.
        drawn: Label map on the CT's grid.
        regions: What each of its labels is compared with.
        sella: Where the middle of its fossa is, in mm LPS, if it was seen.
    """

    name: str
    ct: Volume
    drawn: npt.NDArray[np.uint8]
    regions: dict[int, tuple[str, Region]]
    sella: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One case's figures.

    Attributes:
        name: The case.
        dice: By region, those that were drawn.
        off_mm: How far the pituitary's middle is from the sella's; None if the one was
            not drawn or the other not seen.
        sella_seen: Whether it was.
        swapped: Paired organs whose left one lies right of the right one.
        seconds: Time of the whole pipeline.
    """

    name: str
    dice: dict[str, float]
    off_mm: float | None
    sella_seen: bool
    swapped: list[str]
    seconds: float


def read(file: Path) -> Volume:
    """Return an image file as a volume."""
    return from_image(sitk.ReadImage(str(file)))


def folder_of(data: Path, part: str) -> Path:
    """Return the folder that a part's cases lie in."""
    return data / "openkbp" / ("train" if part == HELD_OUT else part)


def openkbp_cases(data: Path, part: str) -> Iterator[Case]:
    """Yield the cases of a part of OpenKBP, by number."""
    folder = folder_of(data, part)
    found = [case for dataset in find_datasets([folder]) for case in dataset.cases]
    if part == HELD_OUT:
        held_out = read_recipe("default").held_out
        found = list(held_out_cases(found, held_out=held_out))
    for case in found:
        ct = read(folder / f"{case.name}_ct.nii.gz")
        drawn = read(folder / f"{case.name}_oars.nii.gz").array.astype(np.uint8)
        sella = sella_in(case, drawn, ct.grid)
        yield Case(f"openkbp {case.name}", ct, drawn, OPENKBP, sella)


def sella_in(
    case: DatasetCase, drawn: npt.NDArray[np.uint8], grid: Grid
) -> npt.NDArray[np.float64] | None:
    """Return where a case's sella is, in mm LPS; None if it was not seen."""
    if case.sella is None:
        return None
    outlines = [
        SampledContour(each, drawn == each.value) for each in case.declaration.labels
    ]
    origin = origin_of(outlines, grid)
    return None if origin is None else origin + case.sella


def matched_cases(data: Path) -> Iterator[Case]:
    """Yield the CTs with expert organs; two of OpenKBP's validation scans."""
    for file in sorted((data / "matched").glob("*_ct.nii.gz")):
        name = file.name.removesuffix("_ct.nii.gz")
        drawn = read(file.with_name(f"{name}_deepmind21.nii.gz")).array
        raw = read(file)
        ct = raw.with_array(raw.array.astype(np.float32) - MATCHED_OFFSET_HU)
        yield Case(f"matched {name}", ct, drawn.astype(np.uint8), EXPERT)


def flipped(ct: Volume) -> Volume:
    """Return the same CT as it is stored from left to right and from head to feet."""
    grid = ct.grid
    last = (grid.size[0] - 1, 0, grid.size[2] - 1)
    origin = tuple(float(v) for v in grid.index_to_world(last))
    turned = np.array(grid.direction) * [-1, 1, -1]
    direction = tuple(tuple(float(v) for v in row) for row in turned)
    other = Grid(grid.size, grid.spacing, origin, direction)  # type: ignore[arg-type]
    return Volume(np.ascontiguousarray(ct.array[::-1, :, ::-1]), other)


def oblique(ct: Volume) -> Volume:
    """Return the CT on a grid that is turned by `TURN_DEGREES` about x and about z."""
    grid = ct.grid
    turn = rotation_matrix((TURN_DEGREES, 0.0, TURN_DEGREES))
    turned = turn @ np.array(grid.direction)
    direction = tuple(tuple(float(v) for v in row) for row in turned)
    reach = np.abs((grid.corners() - grid.centre) @ turned).max(axis=0)
    size = np.ceil(2 * reach / grid.spacing).astype(int)
    first = grid.centre - turned @ ((size - 1) / 2 * np.array(grid.spacing))
    x, y, z = (int(n) for n in size)
    origin = tuple(float(v) for v in first)
    other = Grid((x, y, z), grid.spacing, origin, direction)  # type: ignore[arg-type]
    return resample(ct, other, background=AIR_HU)


STORED: dict[str, Callable[[Volume], Volume]] = {
    "as it is": lambda ct: ct,
    "flipped": flipped,
    "oblique": oblique,
}
"""How a CT can be stored; its contours are brought back to its own grid."""


AROUND = Surroundings(head_rest=True, mask=True, couch=True, touching=True)


def surrounded(ct: Volume) -> Volume:
    """Return a CT with couch, head rest and mask around the patient, on the skin."""
    body = find_body(ct)
    if body is None:
        return ct
    alone = blank_outside(ct, body)
    patient = [ndimage.binary_fill_holes(each) for each in alone.array > BODY_HU]
    hu = np.rint(alone.array).astype(np.int16)
    rng = np.random.default_rng(1)
    return ct.with_array(surround(hu, ~np.stack(patient), ct.grid, AROUND, rng))


def unblanked() -> AbstractContextManager[object]:
    """Return a context in which nothing outside the patient is blanked."""
    return mock.patch("hanseg_segmentation.pipeline.find_body", return_value=None)


def score(
    case: Case,
    model: LoadedModel,
    *,
    stored: str = "as it is",
    around: bool = False,
) -> Scored:
    """Segment one case, stored in some way, and compare."""
    ct = STORED[stored](surrounded(case.ct) if around else case.ct)
    start = time.perf_counter()
    found = segment(CaseImages(ct), model=model, progress=lambda _: None)
    seconds = time.perf_counter() - start
    nearest = Interpolation.NEAREST
    labels = resample(found.labels, case.ct.grid, interpolation=nearest).array
    dice = {}
    for value, (name, parts) in case.regions.items():
        drawn = case.drawn == value
        ours = np.isin(labels, [organ(part).label for part in parts])
        if name == GULLET:
            drawn, ours = comparable(drawn, ours, labels == organ(INLET).label)
        if drawn.any():
            dice[name] = round(_dice(ours, drawn), 4)
    pituitary = labels == organ("Pituitary").label
    off_mm = _distance(pituitary, case.ct.grid, case.sella)
    swapped = _swapped(labels, case.ct.grid)
    seen = case.sella is not None
    return Scored(case.name, dice, off_mm, seen, swapped, round(seconds, 2))


def _distance(
    ours: Mask, grid: Grid, place: npt.NDArray[np.float64] | None
) -> float | None:
    """Return how far a mask's centroid is from a place, None without one of them."""
    if place is None or not ours.any():
        return None
    return round(float(np.linalg.norm(_centroid(ours, grid) - place)), 1)


def _centroid(mask: Mask, grid: Grid) -> npt.NDArray[np.float64]:
    """Return a mask's centroid in mm LPS."""
    return grid.index_to_world(np.argwhere(mask).mean(axis=0)[::-1])


def comparable(drawn: Mask, ours: Mask, inlet: Mask) -> tuple[Mask, Mask]:
    """Return an oesophagus' drawing and ours, each without what the other leaves out.

    Args:
        drawn: A clinic's, slices from the feet up.
        ours: Our oesophagus with its inlet.
        inlet: The part of ours that begins higher than an oesophagus does.
    """
    if not ours.any() or not drawn.any():
        return drawn, ours
    lowest = int(np.flatnonzero(ours.any(axis=(1, 2)))[0])
    above = int(np.flatnonzero(drawn.any(axis=(1, 2)))[-1]) + 1
    drawn, ours = drawn.copy(), ours.copy()
    drawn[:lowest] = False
    ours[above:] &= ~inlet[above:]
    return drawn, ours


def _dice(a: Mask, b: Mask) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _swapped(labels: npt.NDArray[np.uint8], grid: Grid) -> list[str]:
    """Return the left organs whose centroid is not to the left of their twin's."""
    wrong = []
    for left in (o for o in ORGANS if o.side is Side.LEFT):
        right = counterpart(left)
        assert right is not None
        a, b = (labels == o.label for o in (left, right))
        if a.any() and b.any() and _centroid(a, grid)[0] <= _centroid(b, grid)[0]:
            wrong.append(left.name)
    return wrong


def means(scored: list[Scored]) -> dict[str, dict[str, float]]:
    """Return mean, standard deviation, minimum and count of each region."""
    names = list(dict.fromkeys(name for each in scored for name in each.dice))
    table = {}
    for name in names:
        values = np.array([each.dice[name] for each in scored if name in each.dice])
        table[name] = {
            "mean": round(float(values.mean()), 4),
            "sd": round(float(values.std()), 4),
            "min": round(float(values.min()), 4),
            "cases": len(values),
        }
    return table


def print_table(title: str, table: dict[str, dict[str, float]]) -> None:
    """Print a table as Markdown."""
    print(f"\n{title}\n\n| organ | Dice | sd | lowest | cases |\n|---|---|---|---|---|")
    for name, row in table.items():
        print(
            f"| {name} | {row['mean']:.3f} | {row['sd']:.3f} | {row['min']:.3f}"
            f" | {row['cases']} |"
        )


def print_distances(scored: list[Scored]) -> None:
    """Print how far pituitaries are from where the sella was seen."""
    seen = [each.off_mm for each in scored if each.sella_seen]
    off = [each for each in seen if each is not None]
    told = f": median {np.median(off):.1f} mm, at most {max(off):.1f} mm" if off else ""
    print(f"\npituitary from the sella: {len(off)} of {len(seen)} drawn{told}")


def groups_of_cases(data: Path, part: str) -> dict[str, Iterator[Case]]:
    """Return what a part is scored on; the scans of `matched` are of validation."""
    groups = {f"openkbp_{part}": openkbp_cases(data, part)}
    if part == VALIDATION:
        groups["matched_expert"] = matched_cases(data)
    return groups


def main() -> int:
    """Run, print, write the results; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--model", default="default", help="name, or package folder")
    parser.add_argument("--cases", type=int, help="only the first so many")
    parser.add_argument("--part", choices=PARTS, default=HELD_OUT)
    parser.add_argument("--stored", choices=tuple(STORED), default="as it is")
    parser.add_argument("--around", action="store_true", help="couch, rest and mask")
    parser.add_argument("--unblanked", action="store_true", help="show them to the net")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    options = parser.parse_args()
    part, out = options.part, options.out or RESULTS / f"{options.part}.json"
    folder = folder_of(options.data, part)
    if not folder.is_dir():
        print(f"there is no {folder}; name the folder above openkbp with --data")
        return 2
    named = Path(options.model)
    model = load_model(named if named.is_dir() else options.model, device="auto")
    groups = {}
    with unblanked() if options.unblanked else nullcontext():
        for title, cases in groups_of_cases(options.data, part).items():
            groups[title] = [
                _told(score(case, model, stored=options.stored, around=options.around))
                for k, case in enumerate(cases)
                if options.cases is None or k < options.cases
            ]
    summary = {title: means(scored) for title, scored in groups.items()}
    for title, table in summary.items():
        print_table(title, table)
    print_distances([each for scored in groups.values() for each in scored])
    swaps = {e.name: e.swapped for s in groups.values() for e in s if e.swapped}
    missed = [
        name
        for name, least in TARGETS.items()
        if summary[f"openkbp_{part}"].get(name, {"mean": 0.0})["mean"] < least
    ]
    print(f"\nleft-right swaps: {swaps or 'none'}\ntargets missed: {missed or 'none'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "model": model.package.summary.model_dump(),
        "summary": summary,
        "swaps": swaps,
        "cases": {e.name: e.dice for s in groups.values() for e in s},
        "pituitary_off_mm": {
            e.name: e.off_mm for s in groups.values() for e in s if e.sella_seen
        },
        "median_seconds": float(
            np.median([e.seconds for s in groups.values() for e in s])
        ),
    }
    out.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if missed or swaps else 0


def _told(scored: Scored) -> Scored:
    off = f", pituitary off by {scored.off_mm} mm" if scored.sella_seen else ""
    print(f"{scored.name}: {scored.seconds:.1f} s {scored.dice}{off}", file=sys.stderr)
    return scored


if __name__ == "__main__":
    sys.exit(main())
