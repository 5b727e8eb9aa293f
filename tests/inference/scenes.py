"""A network whose answers one can work out by hand, and scenes to show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel, make_loaded_model
from hanseg_segmentation.packages.package import (
    CtNormalisation,
    ModelPackage,
    NetworkSpec,
    Normalisation,
)
from hanseg_shared.grid import Grid, Points
from hanseg_shared.organs import Evidence
from hanseg_shared.volume import Volume

AIR, WATER, DENSE = -1000, 0, 800
"""HU of a scene: nothing, the body, and what counts as Parotid_L."""

DIM, BRIGHT = 100, 2000
"""MR values of a scene: the body, and what counts as Parotid_R."""

LABELS = {"Parotid_R": 2, "Parotid_L": 1}
"""Not in label order, which must not matter."""
BY_HU = CtNormalisation(low_hu=-1000, high_hu=1500, mean_hu=0, std_hu=100)


def package(**changes) -> ModelPackage:
    """Return a package whose network sees the CT in units of 100 HU."""
    values = {
        "name": "threshold",
        "version": "1",
        "licence": "MIT",
        "description": "Knows dense and bright.",
        "spacing_mm": (3.0, 3.0, 3.0),
        "patch": (16, 16, 16),
        "labels": LABELS,
        "normalisation": Normalisation(ct=BY_HU),
        "network": NetworkSpec(kind="unet"),
        "evidence": dict.fromkeys(LABELS, Evidence.PHANTOM),
        "sha256": "0" * 64,
    }
    return ModelPackage.model_validate({**values, **changes})


def threshold_network() -> nn.Module:
    """Return a network whose channel 1 wins from 400 HU, and 2 where the MR is bright.

    Its logits are 0, 4 (ct - 4) and 8 (mr - 2) of the normalised channels.
    """
    layer = nn.Conv3d(3, 3, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[1, 0] = 4.0
        layer.weight[2, 1] = 8.0
        layer.bias = nn.Parameter(torch.tensor([0.0, -16.0, -16.0]))
    return layer


def threshold_model(**changes) -> LoadedModel:
    return make_loaded_model(
        package(**changes), threshold_network(), device=torch.device("cpu")
    )


def world_points(grid: Grid) -> Points:
    """Return the position of every voxel, shape ``(z, y, x, 3)``."""
    z, y, x = np.indices(grid.shape)
    return grid.index_to_world(np.stack([x, y, z], axis=-1))


@dataclass(frozen=True)
class Scene:
    """A ball of water in air, seen by CT and MR, with two small balls inside.

    Attributes:
        ct: Shows the ball at `left`, in front and below.
        mr: Shows the ball at `right`, behind and above; on the CT's grid.
        everywhere: The MR's field of view: all of it.
    """

    ct: Volume
    mr: Volume
    everywhere: Volume
    left: Points
    right: Points

    @property
    def images(self) -> CaseImages:
        """CT and MR together."""
        return CaseImages(self.ct, self.mr, self.everywhere)


def scene(grid: Grid) -> Scene:
    """Return the scene in the middle of a grid, each small ball 10 mm in radius."""
    left = grid.centre + np.array([16.0, -9.0, -6.0])
    right = grid.centre + np.array([-15.0, 8.0, 7.0])
    points = world_points(grid)
    body = np.linalg.norm(points - grid.centre, axis=-1) < 40
    hu = np.where(body, WATER, AIR)
    hu[np.linalg.norm(points - left, axis=-1) < 10] = DENSE
    signal = np.where(body, DIM, 0)
    signal[np.linalg.norm(points - right, axis=-1) < 10] = BRIGHT
    return Scene(
        Volume(hu.astype(np.int16), grid),
        Volume(signal.astype(np.float32), grid),
        Volume(np.ones(grid.shape, dtype=np.uint8), grid),
        left,
        right,
    )


def enlarged(grid: Grid) -> Grid:
    """Return a grid of the same orientation that holds the scene."""
    return Grid((44, 46, 40), (2.0, 1.9, 2.2), grid.origin, grid.direction)
