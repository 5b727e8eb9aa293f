"""The road through the pipeline runs twice: with the compiled kernels and their twins.

That each kernel gives its twin's answers is held by tests/compute; here, that the
pipeline takes either.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from hanseg_segmentation.compute.switch import plain_kernels


@pytest.fixture(params=["compiled", "plain"])
def kernels(request):
    with plain_kernels() if request.param == "plain" else nullcontext():
        yield request.param
