"""Networks whose last layer looks at single voxels, and can be run part by part.

Of 31 classes the logits of a tile are the largest array there is: 203 MB for 64 x 160 x
160 voxels, four times the features they are made of. Made a few planes at a time they
never exist as a whole; see `engines.PART_VOXELS` for when that is worth its time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class HeadedNetwork(nn.Module, ABC):
    """A network in two steps."""

    @abstractmethod
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the last layer sees, ``(N, F, D, H, W)``."""

    @abstractmethod
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(N, K, D, H, W)`` of features, or of a part of them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unnormalised scores of every class at every voxel."""
        return self.logits(self.features(images))
