"""The department's cases: found with their references, contoured, scored, pictured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hanseg_lab.commissioning.report import Picture
from hanseg_lab.evaluation.case_folders import CasePair, find_case_masks, match_cases
from hanseg_lab.evaluation.case_masks import read_pair
from hanseg_lab.evaluation.label_table import OUR_NUMBERS, LabelTable
from hanseg_lab.evaluation.pictures import contour_picture
from hanseg_lab.evaluation.scores import Score
from hanseg_lab.evaluation.structures import with_structures_of
from hanseg_shared.errors import HansegError, InputError
from hanseg_shared.io.cases import CaseFiles
from hanseg_shared.io.dicom.conversion import CT_FILE
from hanseg_shared.io.dicom.convert import convert_case_in_child
from hanseg_shared.io.names import normalise
from hanseg_shared.io.read import read_ct
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.volume import Volume

PICTURES = 6
"""How many of the worst pairs the sheet shows, each of another organ."""


def require_references(
    folder: Path, cases: Sequence[CaseFiles], labels: LabelTable | None
) -> None:
    """Refuse cases without reference contours before anything is contoured.

    Raises:
        InputError: A case has none, or it is not known what their numbers stand for.
    """
    known = {source.name for source in find_case_masks(folder, labels)}
    missing = [case.name for case in cases if normalise(case.name) not in known]
    if missing:
        raise InputError(
            f"{folder}: there are no reference contours of {', '.join(missing)}; put a "
            "label map, a mask an organ, an RTSTRUCT or a DICOM segmentation beside "
            "the CT"
        )


def pair_cases(
    results: Path,
    folder: Path,
    cases: Sequence[CaseFiles],
    labels: LabelTable | None,
) -> list[CasePair]:
    """Return results and references; those of DICOM are drawn on their own CT.

    Raises:
        InputError: One of both is missing.
    """
    images = {normalise(case.name): case.ct for case in cases}
    return [
        _on_own_ct(pair, images[pair.name])
        for pair in match_cases(results, folder, (OUR_NUMBERS, labels))
    ]


def _on_own_ct(pair: CasePair, ct: Path) -> CasePair:
    reference = pair.reference
    if reference.dicom is None or not ct.is_dir():
        return pair
    return replace(
        pair, reference=replace(reference, dicom=replace(reference.dicom, ct=ct))
    )


def worst_scores(scores: Sequence[Score]) -> list[Score]:
    """Return the lowest Dice of each organ, the lowest of all first; a few of them."""
    lowest: dict[str, Score] = {}
    for score in scores:
        if score.metric is not Metric.DSC:
            continue
        if score.organ not in lowest or score.value < lowest[score.organ].value:
            lowest[score.organ] = score
    return sorted(lowest.values(), key=lambda score: score.value)[:PICTURES]


def draw_worst(
    scores: Sequence[Score], pairs: Sequence[CasePair], cases: Sequence[CaseFiles]
) -> Iterator[Picture]:
    """Yield a picture of each of the worst pairs, on the CT if it can be read."""
    worst = worst_scores(scores)
    images = {normalise(case.name): case.ct for case in cases}
    sources = {pair.name: pair for pair in pairs}
    for name in dict.fromkeys(score.case for score in worst):
        pair = sources[name]
        reference, prediction = read_pair(pair.reference, pair.prediction)
        wanted = with_structures_of(reference.masks, prediction.masks)
        found = with_structures_of(prediction.masks, wanted)
        ct = _read_ct(images[name])
        for score in worst:
            if score.case != name:
                continue
            title = f"{score.organ}, DSC {score.value:.3f}"
            masks = wanted.get(score.organ), found.get(score.organ)
            png = contour_picture(*masks, title=title, ct=ct)
            if png is not None:
                yield Picture(f"{name}: {title}", png, score.organ)


def _read_ct(path: Path) -> Volume | None:
    """Return a CT in HU; None if what the service read cannot be read here."""
    try:
        if path.is_file() and not path.name.endswith(".zip"):
            return read_ct(path)
        with tempfile.TemporaryDirectory(prefix="hanseg-ct-") as folder:
            convert_case_in_child(path, None, None, Path(folder))
            return read_ct(Path(folder, CT_FILE))
    except HansegError:
        return None
