"""3D convolutions that oneDNN computes on the CPU, however small they are.

PyTorch hands a float32 convolution of one image to oneDNN only if channels x depth x
height is above 20480, a limit that was found for 2D images (``use_mkldnn`` in its
``Convolution.cpp``). A 3D network's first layer, which has one channel, and its deepest
ones fall below it, and are computed by a way that is 4 to 8 times slower and returns
its answer channels-first.

Where it is asked for (`winograd_convolutions`), layers that are worth it are computed
with fewer multiplications; see `winograd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn
from torch.nn import functional

from hanseg_segmentation.compute import switch, winograd

_by_winograd: ContextVar[bool] = ContextVar("by_winograd", default=False)


@contextmanager
def winograd_convolutions(*, wanted: bool = True) -> Iterator[None]:
    """Compute the convolutions of networks that run inside by Winograd's algorithm."""
    token = _by_winograd.set(wanted)
    try:
        yield
    finally:
        _by_winograd.reset(token)


class Conv3d(nn.Conv3d):
    """PyTorch's 3D convolution, computed by oneDNN wherever that is possible.

    In training, on a GPU, under autocast, and for whatever traces or compiles the
    network, it is PyTorch's own; see `_reads_beyond` for the one exception.
    """

    _transformed: tuple[tuple[int, ...], winograd.Weights] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the convolution of ``(N, C, D, H, W)``, in its memory format."""
        if self._reads_beyond(images):
            with torch.autocast("cpu", enabled=False):
                return super().forward(images.float())
        if torch.is_grad_enabled() or is_recorded() or not _fits(images):
            return super().forward(images)
        if self._is_pointwise and images.is_contiguous(
            memory_format=torch.channels_last_3d
        ):
            rows = images.permute(0, 2, 3, 4, 1)
            matrix = self.weight.flatten(1)
            return functional.linear(rows, matrix, self.bias).permute(0, 4, 1, 2, 3)
        if self._is_for_winograd(images):
            return winograd.convolve(images, self._weights())
        return torch.mkldnn_convolution(
            images,
            self.weight,
            self.bias,
            self.padding,  # type: ignore[arg-type] # names of paddings are for others
            self.stride,
            self.dilation,
            self.groups,
        )

    def _reads_beyond(self, images: torch.Tensor) -> bool:
        """Whether oneDNN would take an answer or a gradient from memory of others.

        For images smaller than the kernel along an axis it reads beyond their ends in
        bfloat16 (seen with PyTorch 2.13, AVX-512 and AMX): the weights' gradient of
        kernels that see one channel is wrong, by up to two thirds, after any step; of
        other kernels mostly nothing is changed by what lies there, and sometimes every
        weight of the network is NaN after the step. Where the kernel takes steps of
        two, the answer itself may be NaN.
        """
        return (
            images.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and self._is_wider_than(images)
            and (torch.is_grad_enabled() or self.stride != (1, 1, 1))
            and not is_recorded()
        )

    def _is_wider_than(self, images: torch.Tensor) -> bool:
        """Whether the kernel is, along an axis, larger than the image."""
        edges = zip(images.shape[2:], self.kernel_size, strict=True)
        return any(size < edge for size, edge in edges)

    @property
    def _is_pointwise(self) -> bool:
        """Whether each voxel's answer depends on that voxel alone: a product."""
        return (
            self.kernel_size == self.stride == (1, 1, 1)
            and self.padding == (0, 0, 0)
            and self.groups == 1
        )

    def _is_for_winograd(self, images: torch.Tensor) -> bool:
        """Whether Winograd's algorithm is asked for, possible and worth it."""
        return (
            _by_winograd.get()
            and self.stride == self.dilation == (1, 1, 1)
            and self.padding == tuple(edge // 2 for edge in self.kernel_size)
            and self.padding_mode == "zeros"
            and self.groups == 1
            and winograd.fits(images, self.weight)
        )

    def _weights(self) -> winograd.Weights:
        """Return the weights for Winograd's algorithm, made anew after a change."""
        given = [self.weight] if self.bias is None else [self.weight, self.bias]
        state = tuple(n for each in given for n in (each.data_ptr(), each._version))
        if self._transformed is None or self._transformed[0] != state:
            self._transformed = state, winograd.Weights.of(self.weight, self.bias)
        return self._transformed[1]


def is_recorded() -> bool:
    """Whether the network is run to be traced or compiled."""
    return bool(torch.jit.is_tracing() or torch.compiler.is_compiling())  # type: ignore[attr-defined]


def _fits(images: torch.Tensor) -> bool:
    return (
        switch.kernels_are_on()
        and images.device.type == "cpu"
        and images.dtype is torch.float32
        and not torch.is_autocast_enabled("cpu")
        and _has_onednn()
    )


def _has_onednn() -> bool:
    mkldnn = torch.backends.mkldnn
    available = mkldnn.is_available()
    return bool(available and mkldnn.enabled)
