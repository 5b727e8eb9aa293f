"""Folders of small cases, as predictions and references come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from hanseg_lab.evaluation import cli
from hanseg_shared.cli import exit_status
from hanseg_shared.errors import HansegError
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

SHAPE = (10, 24, 26)
GRID = Grid((26, 24, 10), (1.0, 1.0, 2.5), (-12.0, 3.0, 40.0))
PLACES = {
    "Parotid_L": (slice(3, 7), slice(4, 12), slice(16, 22)),
    "Parotid_R": (slice(3, 7), slice(4, 12), slice(3, 9)),
    "SpinalCord": (slice(0, 10), slice(15, 19), slice(11, 15)),
}


def label_map(places: Mapping[str, tuple[slice, ...]] = PLACES) -> Volume:
    """Return a label map with organs as boxes."""
    array = np.zeros(SHAPE, dtype=np.uint8)
    for name, place in places.items():
        array[place] = organ(name).label
    return Volume(array, GRID)


def moved(labels: Volume, steps: int = 1) -> Volume:
    """Return a label map moved to the left."""
    return labels.with_array(np.roll(labels.array, steps, axis=2))


def write_label_maps(
    folder: Path, cases: Iterable[str], labels: Volume, suffix: str = ".nii.gz"
) -> Path:
    """Write the same label map for several cases, in a folder that declares ours."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text('{"name": "ours"}')
    for case in cases:
        write_volume(labels, folder / f"{case}{suffix}")
    return folder


def write_masks(folder: Path, labels: Volume, *, pattern: str = "{}.nii.gz") -> Path:
    """Write one mask an organ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLACES:
        mask = labels.with_array(labels.array == organ(name).label)
        write_volume(mask, folder / pattern.format(name))
    return folder


def run(command: str, *arguments: object) -> Result:
    """Run a command as the shell would; its status is that of `hanseg`."""
    runner = CliRunner()
    with _narrow():
        result = runner.invoke(getattr(cli, command), [str(a) for a in arguments])
    if isinstance(result.exception, HansegError):
        result.exit_code = exit_status(result.exception)
        result.stderr_bytes = result.exception.message.encode()
    elif result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class _narrow:  # noqa: N801 - reads as a word
    """Give rich a terminal of a known width."""

    def __enter__(self) -> None:
        self._before = os.environ.get("COLUMNS")
        os.environ["COLUMNS"] = "220"

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = self._before
