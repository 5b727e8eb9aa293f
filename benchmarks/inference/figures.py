"""What was asked of the inference, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

from benchmarks.figure import Figure
from benchmarks.inference.bench import (
    DICE,
    EQUAL,
    EXACT,
    FAST,
    FINE,
    FULL,
    LARGE,
    LONG,
    MIDDLE,
    MONAI,
    NNUNET,
    PHASES,
    PREPARE,
    RAPID,
    RARE,
    RESIDUAL,
    SHORT,
    SMALL,
    TILE,
)
from benchmarks.inference.runs import Row
from benchmarks.inference.volumes import FIELDS

FEATURES = {
    SMALL: "8...96",
    MIDDLE: "16...160",
    FULL: "32...320",
    RESIDUAL: "residual 8...96",
    RARE: "8...96, organs rare",
    FINE: "trained, 7 organs",
}
"""How the table calls the models."""

LEAST_SAME = 0.999
LEAST_SAME_FOREGROUND = 0.995
LEAST_TIMES_EXACT = {SMALL: 4.0, MIDDLE: 4.0, FULL: 2.0}
LEAST_TIMES_FAST = 30.0
LEAST_TIMES_GRID = 300.0
LEAST_TIMES_PREPROCESS = 14.0
LEAST_TIMES_REST = 20.0
LEAST_DICE_LARGE, LEAST_DICE_SMALL = 0.995, 0.98
LARGE_ML = 1.0
MOST_GB = {LONG: 2.0, LARGE: 3.0}
MOST_SHARE_OF_PEER = 0.2

NO_WORSE = 0.001
"""Differences of a mean Dice below this are none."""

ENDS = ("read", "preprocess", "to_ct_grid", "write")
"""Phases that nnU-Net and we have alike, beside the window."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by what they are of; of equal runs the median.

    Attributes:
        rows: All that were measured.
    """

    rows: Sequence[Row]

    def get(self, way: str, model: str, image: str, name: str) -> float | None:
        """Return the median of a number over equal runs, None if there is none."""
        found = [
            row.numbers[name]
            for row in self.rows
            if row.key[:3] == (way, model, image) and name in row.numbers
        ]
        return median(found) if found else None

    def engine(self, way: str, model: str, image: str) -> str:
        """Return what computed the network; empty if nothing says so."""
        rows = [row for row in self.rows if row.key[:3] == (way, model, image)]
        return rows[-1].engine if rows else ""


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration, and whether it was measured as a whole."""

    seconds: float
    measured: bool = True

    def __str__(self) -> str:
        about = "" if self.measured else " (extrapolated)"
        return f"{self.seconds:.1f} s{about}"


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the table's lines, of what has been measured."""
    found = Table(rows)
    parts: tuple[Callable[[Table], list[Figure]], ...] = (
        _equality,
        _exact_speed,
        _fast_speed,
        _phases,
        _memory,
    )
    lines = [line for part in parts for line in part(found)]
    return lines + dice_figures([row for row in rows if row.way == DICE])


def nnunet_wall(found: Table, model: str, image: str) -> Seconds | None:
    """Return nnU-Net's time from file to file, extrapolated where it was not run.

    What is beside the window grows with the image's voxels, the window with its tiles;
    a tile of a network that was only run alone takes that, and what the bookkeeping of
    a tile takes in the smallest network's run.
    """
    whole = found.get(NNUNET, model, image, "wall")
    if whole is not None:
        return Seconds(whole)
    tiles = _tiles(found, model, image)
    tile = nnunet_tile(found, model)
    beside = _beside_window(found)
    if tiles is None or tile is None or beside is None:
        return None
    share = FIELDS[image].voxels / FIELDS[SHORT].voxels
    return Seconds(beside * share + tiles * tile, measured=False)


def nnunet_tile(found: Table, model: str) -> float | None:
    """Return nnU-Net's seconds for a tile with its bookkeeping."""
    window = found.get(NNUNET, model, SHORT, "window")
    tiles = _tiles(found, model, SHORT)
    if window is not None and tiles:
        return window / tiles
    alone = found.get(TILE, model, "", "tile")
    whole = found.get(PHASES, SMALL, SHORT, "window")
    forward = found.get(PHASES, SMALL, SHORT, "forward")
    small_tiles = _tiles(found, SMALL, SHORT)
    if alone is None or whole is None or forward is None or not small_tiles:
        return None
    return alone + (whole - forward) / small_tiles


def _beside_window(found: Table) -> float | None:
    """Return nnU-Net's seconds beside the window for the short CT."""
    for model in (SMALL, MIDDLE, RESIDUAL):
        wall = found.get(NNUNET, model, SHORT, "wall")
        window = found.get(NNUNET, model, SHORT, "window")
        if wall is not None and window is not None:
            return wall - window
    return None


def _tiles(found: Table, model: str, image: str) -> float | None:
    """Return in how many tiles nnU-Net cuts an image: as many as exact mode could."""
    for way in (EXACT, FAST):
        tiles = found.get(way, model, image, "tiles_in_all")
        if tiles is not None:
            return tiles
    return None


def nnunet_gb(found: Table, model: str, image: str) -> Seconds | None:
    """Return nnU-Net's peak in GB, extrapolated by voxels where it was not run."""
    own = found.get(NNUNET, model, image, "peak_gb")
    if own is not None:
        return Seconds(own)
    for other in (model, SMALL, MIDDLE, RESIDUAL):
        short = found.get(NNUNET, other, SHORT, "peak_gb")
        if short is not None:
            share = FIELDS[image].voxels / FIELDS[SHORT].voxels
            return Seconds(short * share, measured=False)
    return None


def _equality(found: Table) -> list[Figure]:
    lines = []
    places = (
        (SMALL, SHORT),
        (RARE, SHORT),
        (MIDDLE, SHORT),
        (RESIDUAL, SHORT),
        (FINE, LONG),
    )
    for model, image in places:
        for name, least in (
            ("same", LEAST_SAME),
            ("same_foreground", LEAST_SAME_FOREGROUND),
        ):
            share = found.get(EQUAL, model, image, f"exact {name}")
            if share is None:
                continue
            of = "voxels" if name == "same" else "foreground voxels"
            lines.append(
                Figure(
                    f"exact mode, {FEATURES[model]}, {image}: {of} as nnU-Net's",
                    f">= {100 * least:g} %",
                    f"{100 * share:.3f} %",
                    share >= least,
                )
            )
    return lines


def _exact_speed(found: Table) -> list[Figure]:
    return [
        line
        for model in (SMALL, RARE, MIDDLE, RESIDUAL, FULL)
        for line in _times(
            found, EXACT, model, SHORT, least=LEAST_TIMES_EXACT.get(model)
        )
    ]


def _fast_speed(found: Table) -> list[Figure]:
    lines = []
    for model in (SMALL, RARE, MIDDLE, RESIDUAL):
        lines += _times(found, FAST, model, SHORT, least=None)
    for model in (SMALL, MIDDLE, FULL, FINE):
        least = None if model == FINE else LEAST_TIMES_FAST
        for way in (FAST, RAPID):
            lines += _times(found, way, model, LONG, least=least)
    for model in (SMALL, MIDDLE):
        for way in (FAST, RAPID):
            lines += _times(found, way, model, LARGE, least=None)
    wall = found.get(MONAI, SMALL, SHORT, "wall")
    for way in (EXACT, FAST):
        own = found.get(way, SMALL, SHORT, "wall")
        if wall is not None and own is not None:
            lines.append(
                Figure(
                    f"{way.split()[1]} mode, {FEATURES[SMALL]}, {SHORT}, beside MONAI's"
                    " window",
                    "",
                    f"{own:.1f} s beside {wall:.1f} s: {wall / own:.1f} x",
                    None,
                )
            )
    return lines


def _times(
    found: Table, way: str, model: str, image: str, *, least: float | None
) -> list[Figure]:
    """Return the line of how many times faster than nnU-Net a mode is."""
    own, peer = found.get(way, model, image, "wall"), nnunet_wall(found, model, image)
    if own is None or peer is None:
        return []
    tiles = found.get(way, model, image, "tiles")
    times = peer.seconds / own
    spent = found.get(way, model, image, "processor")
    theirs = found.get(NNUNET, model, image, "processor")
    processor = "" if not spent or not theirs else f", {theirs / spent:.1f} x processor"
    return [
        Figure.of(
            f"{way.split()[1]} mode, {FEATURES[model]}, {image}, file to file",
            f"{own:.1f} s ({found.engine(way, model, image)}, {tiles:.0f} tiles) beside"
            f" {peer}: {times:.1f} x{processor}",
            "" if least is None else f">= {least:g} x",
            least is not None and times >= least,
        )
    ]


def _phases(found: Table) -> list[Figure]:
    """Return the lines of single phases, and of all but the network's passes."""
    lines = []
    own = found.get(PREPARE, SMALL, SHORT, "preprocess")
    peer = found.get(PHASES, SMALL, SHORT, "preprocess")
    if own is not None and peer is not None:
        lines.append(
            _ratio(f"preprocessing, {SHORT}", own, peer, LEAST_TIMES_PREPROCESS)
        )
    for model in (SMALL, RARE):
        for way in (EXACT, FAST):
            mode = f"{way.split()[1]} mode, {FEATURES[model]}, {SHORT}"
            own = found.get(way, model, SHORT, "to_ct_grid")
            peer = found.get(PHASES, model, SHORT, "to_ct_grid")
            if own is not None and peer is not None:
                label = f"back to the CT's grid, {mode}"
                lines.append(_ratio(label, own, peer, LEAST_TIMES_GRID))
            own = _beside_forward(found, way, model)
            peer = _beside_forward(found, PHASES, model)
            if own is not None and peer is not None:
                label = f"all but the forward passes, {mode}"
                lines.append(_ratio(label, own, peer, LEAST_TIMES_REST))
    return lines


def _beside_forward(found: Table, way: str, model: str) -> float | None:
    wall = found.get(way, model, SHORT, "wall")
    forward = found.get(way, model, SHORT, "forward")
    return None if wall is None or forward is None else wall - forward


def _ratio(name: str, own: float, peer: float, least: float) -> Figure:
    times = peer / own
    return Figure(
        name,
        f">= {least:g} x",
        f"{own:.2f} s beside {peer:.1f} s: {times:.0f} x",
        times >= least,
    )


def _memory(found: Table) -> list[Figure]:
    lines = []
    places = (
        (SMALL, LONG),
        (RARE, LONG),
        (MIDDLE, LONG),
        (FULL, LONG),
        (SMALL, LARGE),
        (MIDDLE, LARGE),
    )
    for model, image in places:
        for way in (EXACT, FAST, RAPID):
            own = found.get(way, model, image, "peak_gb")
            if own is None:
                continue
            name = f"memory, {way.split()[1]} mode, {FEATURES[model]}, {image}"
            limit = MOST_GB[image]
            lines.append(
                Figure(name, f"<= {limit:g} GB", f"{own:.2f} GB", own <= limit)
            )
            peer = nnunet_gb(found, model, image)
            if peer is not None and image == LONG:
                share = own / peer.seconds
                about = "" if peer.measured else " (extrapolated)"
                lines.append(
                    Figure(
                        "... of nnU-Net's process tree",
                        f"<= {100 * MOST_SHARE_OF_PEER:g} %",
                        f"{100 * share:.0f} % of {peer.seconds:.1f} GB{about}",
                        share <= MOST_SHARE_OF_PEER,
                    )
                )
    return lines


def dice_figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the lines of fast mode beside exact mode, and of both beside the truth."""
    if not rows:
        return []
    against = {
        way: _mean_drawn(rows, way) for way in ("exact", "fast", "rapid", "nnunet")
    }
    best = max(against["exact"], against["nnunet"])
    lines = []
    for way in ("fast", "rapid"):
        lines += _against_exact(rows, way)
        lines.append(
            Figure(
                f"{way} mode against the clinics' contours, {len(rows)} CTs, mean Dice",
                "no worse",
                f"{against[way]:.4f} (exact {against['exact']:.4f},"
                f" nnU-Net {against['nnunet']:.4f})",
                against[way] >= best - NO_WORSE,
            )
        )
    for name, least in (
        ("same", LEAST_SAME),
        ("same_foreground", LEAST_SAME_FOREGROUND),
    ):
        shares = [row.numbers[f"nnunet {name}"] for row in rows]
        of = "voxels" if name == "same" else "foreground voxels"
        lines.append(
            Figure(
                f"exact mode, {len(rows)} real CTs: {of} as nnU-Net's, lowest",
                f">= {100 * least:g} %",
                f"{100 * min(shares):.3f} % (mean {100 * mean(shares):.3f} %)",
                min(shares) >= least,
            )
        )
    return lines


def _against_exact(rows: Sequence[Row], way: str) -> list[Figure]:
    """Return the lines of a mode beside exact mode, large organs and small ones."""
    large: list[float] = []
    small: list[float] = []
    for row in rows:
        for name, value in row.numbers.items():
            what, _, organ = name.partition(" ")
            if what == way and not organ.startswith("drawn"):
                big = row.numbers[f"ml {organ}"] > LARGE_ML
                (large if big else small).append(value)
    return [
        _lowest(way, "organs above 1 ml", large, LEAST_DICE_LARGE, len(rows)),
        _lowest(way, "organs below 1 ml", small, LEAST_DICE_SMALL, len(rows)),
    ]


def _lowest(
    way: str, what: str, values: Sequence[float], least: float, count: int
) -> Figure:
    name = f"{way} mode against exact mode, {what} ({count} real CTs), lowest Dice"
    if not values:
        return Figure(name, f">= {least:g}", "there are none", None)
    reached = sum(value >= least for value in values)
    return Figure(
        name,
        f">= {least:g}",
        f"{min(values):.4f} (mean {mean(values):.4f};"
        f" {reached} of {len(values)} reach it)",
        min(values) >= least,
    )


def _mean_drawn(rows: Sequence[Row], way: str) -> float:
    """Return the mean over organs of the mean over those patients where it is drawn."""
    by_organ: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.numbers.items():
            if name.startswith(f"{way} drawn "):
                by_organ.setdefault(name, []).append(value)
    return mean(mean(values) for values in by_organ.values()) if by_organ else 0.0


def phase_table(rows: Sequence[Row]) -> str:
    """Return seconds by phase of every way on the short CT, as a Markdown table."""
    found = Table(rows)
    names = ("read", "preprocess", "localise", "forward", "window", *ENDS[2:], "wall")
    lines = [
        "| s | " + " | ".join(names) + " | processor | peak GB |",
        "|---" * (len(names) + 3) + "|",
    ]
    for way in (PHASES, NNUNET, MONAI, EXACT, FAST):
        if found.get(way, SMALL, SHORT, "wall") is None:
            continue
        values = [
            found.get(way, SMALL, SHORT, name)
            for name in (*names, "processor", "peak_gb")
        ]
        cells = ["" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
