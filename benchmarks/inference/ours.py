"""This project's inference, as a worker runs it, in a process of its own.

    python -m benchmarks.inference.ours job MODE MODEL CACHE IMAGE OUT
    python -m benchmarks.inference.ours cases MODE MODEL CACHE OUT IMAGE ...
    python -m benchmarks.inference.ours prepare MODEL IMAGE

MODE is ``rapid``, ``fast`` or ``exact``, MODEL a package, CACHE where engines are kept,
OUT a label map: of ``job`` before the checks of organs change any, which is what
nnU-Net's is compared with; ``cases`` writes that to OUT/network, and what is delivered
to OUT. The last line that is printed is a JSON object of what was measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import torch

from hanseg_segmentation import pipeline
from hanseg_segmentation.compute.memory import ask_for_huge_pages, let_blocks_go
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import needs_localiser
from hanseg_segmentation.inference.network_engines import Engine, EngineOptions
from hanseg_segmentation.inference.nnunet_frame import place_in
from hanseg_segmentation.inference.nnunet_input import image_input
from hanseg_segmentation.packages.installed import DEFAULT_MODEL
from hanseg_segmentation.packages.package import read_package
from hanseg_segmentation.quality.check import check_organs
from hanseg_shared.documents import InferenceReport
from hanseg_shared.io import read_ct, write_volume
from hanseg_shared.settings import Settings
from hanseg_shared.volume import Volume

Measures = dict[str, float | str]

NETWORK = "network"
"""Folder of label maps before the checks."""


@dataclass(slots=True)
class ForwardTime:
    """Counts the seconds that engines compute."""

    seconds: float = 0.0

    def around(self, engine: Engine) -> Engine:
        """Return an engine whose time is counted."""

        def timed(tiles: torch.Tensor) -> torch.Tensor:
            began = time.perf_counter()
            answer = engine(tiles)
            self.seconds += time.perf_counter() - began
            return answer

        return timed

    def of(self, model: LoadedModel) -> LoadedModel:
        """Return a model whose engines' time is counted, its localiser's too."""
        if model.chosen is None:
            raise ValueError("a model without a self-test has no engines to time")
        engines = tuple(self.around(engine) for engine in model.chosen.engines)
        localiser = None if model.localiser is None else self.of(model.localiser)
        chosen = replace(model.chosen, engines=engines)
        return replace(model, chosen=chosen, localiser=localiser)


@dataclass(slots=True)
class Drawn:
    """Holds the last label map that came out of the network."""

    labels: list[Volume] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what `check_organs` is given, for as long as the block runs."""
        plain = check_organs

        def keeping(labels: Volume, *others: object, **options: object) -> object:
            self.labels = [labels]  # which it does not change
            return plain(labels, *others, **options)  # type: ignore[arg-type]

        with mock.patch.object(pipeline, "check_organs", keeping):
            yield


def load(mode: str, folder: Path, cache: Path) -> LoadedModel:
    """Return a model as a worker loads it, with the localiser that it needs."""
    model = pipeline.load_model(folder, options=_options(mode, cache))
    if not needs_localiser(model):
        return model
    coarse = _options(mode, cache).coarse
    localiser = pipeline.load_model(DEFAULT_MODEL, options=coarse, whole=False)
    return replace(model, localiser=localiser)


def _options(mode: str, cache: Path) -> EngineOptions:
    settings = Settings.model_validate({"inference": mode})
    return replace(EngineOptions.of(settings), cache=cache)


def job(mode: str, folder: str, cache: str, image: str, out: str) -> Measures:
    """Contour one image from file to file."""
    forward, drawn = ForwardTime(), Drawn()
    began = time.perf_counter()
    model = forward.of(load(mode, Path(folder), Path(cache)))
    loading = time.perf_counter() - began
    before, forward.seconds = time.process_time(), 0.0
    began = time.perf_counter()
    ct = read_ct(Path(image))
    read = time.perf_counter() - began
    with drawn.kept():
        images = CaseImages(ct)
        found = pipeline.segment(images, model=model, progress=lambda _: None)
    written = time.perf_counter()
    write_volume(found.labels, Path(out))
    ended = time.perf_counter()
    write_volume(drawn.labels[0], Path(out))
    return {
        "wall": ended - began,
        "processor": time.process_time() - before,
        "load": loading,
        "read": read,
        **found.seconds,
        "forward": forward.seconds,
        "write": ended - written,
        **_planned(found.inference),
    }


def _planned(report: InferenceReport | None) -> Measures:
    if report is None:
        return {}
    return {
        "engine": report.engine,
        "tiles": report.tiles,
        "tiles_in_all": report.tiles_in_all,
    }


def cases(mode: str, folder: str, cache: str, out: str, *images: str) -> Measures:
    """Contour several images; one that is there already is left as it is."""
    drawn, seconds = Drawn(), 0.0
    unchecked = Path(out) / NETWORK
    unchecked.mkdir(exist_ok=True)
    model = load(mode, Path(folder), Path(cache))
    for image in images:
        to = Path(out) / Path(image).name
        if to.exists():
            continue
        began = time.perf_counter()
        with drawn.kept():
            ct = read_ct(Path(image))
            case = CaseImages(ct)
            found = pipeline.segment(case, model=model, progress=lambda _: None)
        seconds += time.perf_counter() - began
        write_volume(drawn.labels[0], unchecked / to.name)
        write_volume(found.labels, to)
    return {"wall": seconds}


def prepare(folder: str, image: str) -> Measures:
    """Resample and normalise a whole image, which a job does row by row of tiles."""
    package, ct = read_package(Path(folder)), read_ct(Path(image))
    began = time.perf_counter()
    frame = place_in(CaseImages(ct), package)
    source = image_input(frame, CaseImages(ct), package)
    voxels = source.part((0, 0, 0), frame.shape)
    seconds = time.perf_counter() - began
    return {"preprocess": seconds, "mean": float(voxels.mean())}


TASKS: dict[str, Callable[..., Measures]] = {
    "job": job,
    "cases": cases,
    "prepare": prepare,
}


def main() -> None:
    """Do what is asked for and print what was measured."""
    ask_for_huge_pages()  # as a worker does
    let_blocks_go()
    found = TASKS[sys.argv[1]](*sys.argv[2:])
    print(
        "\n"
        + json.dumps(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
        )
    )


if __name__ == "__main__":
    main()
