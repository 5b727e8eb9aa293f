"""A model package that runs in milliseconds, to try the service and not its contours.

It is a package like any other, and nothing in the service knows it: a network of two
levels whose weights are set by hand, on a grid of 12 mm. It calls each band of
Hounsfield units an organ. So it finds organs in every patient, other voxels in every
other patient, the same ones each time, and an MR shifts them a little; where an organ
really is, it does not know.

    python -m hanseg_lab.quick_model FOLDER     then HANSEG_MODELS=FOLDER, --model quick
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanseg_segmentation.packages.package import ModelPackage, NetworkSpec
from hanseg_shared.organs import Evidence

if TYPE_CHECKING:
    import torch

NAME = "quick"
"""What a job calls it, unless another name is given."""

BANDS = ("SpinalCord", "Bone_Mandible")
"""The organ of each band, from the lowest on. Each more costs packaging a fifth of a
second of a processor, to draw what the checks flag in it."""

LOWEST_HU = -75.0
"""Where the first band begins: below it lie fat and air, which are background."""

BAND_HU = 200.0
"""Width of a band; the last one is open above."""

MR_HU = 10.0
"""What a deviation of the MR counts for in the CT."""

FEATURES = 2
"""Channels of every layer, of which the first carries the image."""

SHARPNESS = 8.0
"""Scores are so much apart that every voxel is sure of its band."""

_NORMALISED_HU = 400.0
"""One unit of the network's input; see `CtNormalisation`."""

_ABOVE_ZERO = 4.0
"""Added to the image, whose least value is -2.25, so that no activation bends it."""


def write_quick_model(
    models: Path,
    *,
    name: str = NAME,
    version: str = "1",
    bands: Sequence[str] = BANDS,
) -> Path:
    """Write the package into a folder of models, and return its own folder.

    Args:
        models: What `Settings.models` names; created if need be.
        name: What jobs call the model.
        version: Of the weights, which are the same for as many bands.
        bands: The organ of each band.
    """
    from hanseg_segmentation.network.build import build
    from hanseg_segmentation.packages.weights import write_package

    spec = NetworkSpec(
        kind="unet",
        config={
            "features": [FEATURES, FEATURES],
            "head_features": FEATURES,
            "out_channels": len(bands) + 1,
        },
    )
    package = ModelPackage(
        name=name,
        version=version,
        licence="MIT",
        description="Bands of Hounsfield units by names of organs: to try the service.",
        spacing_mm=(12.0, 12.0, 12.0),
        patch=(40, 32, 40),
        step=1.0,
        labels={organ: channel for channel, organ in enumerate(bands, start=1)},
        evidence=dict.fromkeys(bands, Evidence.UNSTATED),
        network=spec,
        sha256="0" * 64,  # replaced by what is written
    )
    weights = _weights(build(spec).state_dict(), len(bands))
    write_package(models / name, package, weights)
    return models / name


def _weights(blank: dict[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Return the network's state: a smoothed image, then the nearest band's centre."""
    import torch

    state = {key: torch.zeros_like(each) for key, each in blank.items()}
    for key, each in state.items():
        if key.endswith(("running_var", "1.weight")):  # batch norm changes nothing
            each.fill_(1.0)
    middle = (0, slice(None), 1, 1, 1)
    share = torch.tensor([1.0, MR_HU / _NORMALISED_HU, 0.0])  # CT, MR, field of view
    state["stem.0.weight"][middle] = share
    state["stem.1.bias"][0] = _ABOVE_ZERO
    state["down.0.0.0.weight"][0, 0] = 1.0 / 27.0  # the mean of 3 x 3 x 3
    state["down.0.1.0.weight"][0, 0, 1, 1, 1] = 1.0
    state["head.reduce.weight"][0, 0] = 1.0
    state["head.join.0.weight"][middle] = torch.tensor([0.5, 0.0, 0.5, 0.0])
    bands = torch.arange(count + 1, dtype=torch.float32)
    slope = _NORMALISED_HU / BAND_HU
    # h HU are (h + 100) / 400 + 4 here, and 1 in the first band's centre.
    centre = (LOWEST_HU + BAND_HU / 2 + 100.0) / _NORMALISED_HU + _ABOVE_ZERO
    offset = 1.0 - slope * centre
    # The nearest whole number k to t has the largest k t - k^2 / 2.
    state["classify.weight"][:, 0, 0, 0, 0] = SHARPNESS * bands * slope
    state["classify.bias"][:] = SHARPNESS * (bands * offset - bands**2 / 2)
    return state


if __name__ == "__main__":
    sys.stdout.write(f"{write_quick_model(Path(sys.argv[1]))}\n")
