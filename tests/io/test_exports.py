"""The package's public names."""

from __future__ import annotations

import pytest

from hanseg_shared import io


@pytest.mark.parametrize("name", io.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(io, name).__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'read_dicom'"):
        io.read_dicom  # noqa: B018
