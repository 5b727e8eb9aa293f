"""nnU-Net's predictor and MONAI's sliding window, called by an interpreter with both.

    python peer.py predict FOLDER IMAGE OUT     what nnU-Net's users run
    python peer.py phases FOLDER IMAGE OUT      the same in one process, phases apart
    python peer.py monai FOLDER IMAGE OUT       MONAI's window instead of nnU-Net's
    python peer.py tiles FOLDER COUNT           seconds of a forward pass alone
    python peer.py cases FOLDER OUT IMAGE ...   several images, one after the other

FOLDER is a trained nnU-Net v2 folder, OUT a label map or, for ``cases``, a folder. The
last line that is printed is a JSON object of seconds. Step 0.5, no mirroring, all else
as nnU-Net's command line has it on a CPU. It imports nothing of this project, since
nnunetv2 brings another SimpleITK.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from nnunetv2.inference import export_prediction
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

ENDING = ".nii.gz"
TO_THE_GRID = "convert_predicted_logits_to_segmentation_with_correct_shape"

Numbers = dict[str, float]


class Phases:
    """Wall seconds of named phases; a phase within another counts in both."""

    def __init__(self) -> None:
        self.seconds: Numbers = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of what happens inside to a phase."""
        began = time.perf_counter()
        yield
        taken = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + taken

    def watch(self, owner: object, method: str, name: str) -> None:
        """Count every call of an object's, class's or module's function as a phase."""
        plain = getattr(owner, method)

        @functools.wraps(plain)
        def timed(*args: object, **kwargs: object) -> object:
            with self.phase(name):
                return plain(*args, **kwargs)

        setattr(owner, method, timed)


def predictor(folder: str) -> nnUNetPredictor:
    """Return nnU-Net's predictor for a trained folder, as its command line makes it."""
    torch.set_num_threads(os.cpu_count() or 1)
    made = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    made.initialize_from_trained_model_folder(folder, ("0",), "checkpoint_final.pth")
    return made


def predict(folder: str, image: str, out: str) -> Numbers:
    """Run what nnU-Net's users run."""
    made, found = predictor(folder), Phases()
    found.watch(made, "predict_logits_from_preprocessed_data", "window")
    with ready(found):
        made.predict_from_files([[image]], [out.removesuffix(ENDING)])
    return found.seconds


def phases(folder: str, image: str, out: str) -> Numbers:
    """Run nnU-Net in one process, and take its phases apart."""
    made, found = predictor(folder), Phases()
    _watch_ends(made, found)
    found.watch(made, "predict_logits_from_preprocessed_data", "window")
    found.watch(made, "_internal_maybe_mirror_and_predict", "forward")
    found.watch(export_prediction, TO_THE_GRID, "to_ct_grid")
    with ready(found):
        made.predict_from_files_sequential([[image]], [out.removesuffix(ENDING)])
    return found.seconds


def monai(folder: str, image: str, out: str) -> Numbers:
    """Run MONAI's window between nnU-Net's preprocessing and an interpolation."""
    from monai.inferers import sliding_window_inference

    made, found = predictor(folder), Phases()
    _watch_ends(made, found)
    configuration = made.configuration_manager
    network = made.network.eval()
    network.load_state_dict(made.list_of_parameters[0])

    def forward(tile: torch.Tensor) -> torch.Tensor:
        with found.phase("forward"):
            answer: torch.Tensor = network(tile)
        return answer

    with ready(found), torch.inference_mode():
        preprocessor = configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [image], None, made.plans_manager, configuration, made.dataset_json
        )
        with found.phase("window"):
            logits = sliding_window_inference(
                torch.from_numpy(data)[None],
                configuration.patch_size,
                1,
                forward,
                overlap=0.5,
                mode="gaussian",
            )
        with found.phase("to_ct_grid"):
            labels = _interpolated(logits, properties)
        writer = made.plans_manager.image_reader_writer_class()
        writer.write_seg(labels, out, properties)
    return found.seconds


def tiles(folder: str, count: str) -> Numbers:
    """Run the network alone over tiles of noise."""
    made = predictor(folder)
    network = made.network.eval()
    network.load_state_dict(made.list_of_parameters[0])
    tile = torch.randn(1, 1, *made.configuration_manager.patch_size)
    taken = []
    with torch.inference_mode():
        for _ in range(int(count)):
            began = time.perf_counter()
            network(tile)
            taken.append(time.perf_counter() - began)
    return {"tile": median(taken[1:] or taken), "tile_at_best": min(taken)}


def cases(folder: str, out: str, *images: str) -> Numbers:
    """Contour several images; one that is there already is left as it is."""
    made, found = predictor(folder), Phases()
    for image in images:
        to = Path(out) / Path(image).name.removesuffix(ENDING)
        if to.with_name(to.name + ENDING).exists():
            continue
        with found.phase("wall"):
            made.predict_from_files_sequential([[image]], [str(to)])
    return found.seconds


@contextlib.contextmanager
def ready(found: Phases) -> Iterator[None]:
    """Time the work, and note the processor time that came before it."""
    found.seconds["processor_before"] = time.process_time()
    with found.phase("wall"):
        yield


def _watch_ends(made: nnUNetPredictor, found: Phases) -> None:
    """Time what comes before the window and after the grid."""
    reader = made.plans_manager.image_reader_writer_class
    preprocessor = made.configuration_manager.preprocessor_class
    found.watch(reader, "read_images", "read")
    found.watch(preprocessor, "run_case_npy", "preprocess")
    found.watch(reader, "write_seg", "write")


def _interpolated(logits: torch.Tensor, properties: dict[str, Any]) -> np.ndarray:
    """Return labels on the image's grid, of an image that nothing is transposed in."""
    shape = properties["shape_after_cropping_and_before_resampling"]
    whole = torch.nn.functional.interpolate(logits, tuple(shape), mode="trilinear")
    labels = np.zeros(properties["shape_before_cropping"], dtype=np.uint8)
    box = tuple(slice(*ends) for ends in properties["bbox_used_for_cropping"])
    labels[box] = whole[0].argmax(dim=0).numpy()
    return labels


TASKS: dict[str, Callable[..., Numbers]] = {
    "predict": predict,
    "phases": phases,
    "monai": monai,
    "tiles": tiles,
    "cases": cases,
}


def main() -> None:
    """Do what is asked for and print what was measured."""
    numbers = TASKS[sys.argv[1]](*sys.argv[2:])
    print("\n" + json.dumps({name: round(n, 4) for name, n in numbers.items()}))


if __name__ == "__main__":
    main()
