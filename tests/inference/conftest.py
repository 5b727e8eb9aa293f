"""The pipeline's tests run twice: with the compiled kernels and with their twins."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from hanseg_segmentation.compute.switch import plain_kernels


@pytest.fixture(params=["compiled", "plain"])
def kernels(request):
    with plain_kernels() if request.param == "plain" else nullcontext():
        yield request.param
