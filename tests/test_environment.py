"""Facts about the installation that everything else rests on."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions, version

import pytest
import SimpleITK as sitk  # noqa: N813

LIGHT_MODULES = [
    "hanseg_dicom.bridge",
    "hanseg_shared.documents",
    "hanseg_shared.errors",
    "hanseg_shared.io",
    "hanseg_shared.io.cases",
    "hanseg_shared.io.sandbox",
    "hanseg_shared.organs",
]


def test_simpleitk_is_the_build_with_elastix():
    assert hasattr(sitk, "ElastixImageFilter")
    assert hasattr(sitk, "TransformixImageFilter")
    assert version("SimpleITK-SimpleElastix") == "3.0.0a1.post183"


def test_no_plain_simpleitk_is_installed_beside_it():
    names = {(each.metadata["Name"] or "").lower() for each in distributions()}
    assert "simpleitk" not in names


def loaded_after_importing(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return {name.split(".")[0] for name in printed.split()}


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_what_every_process_imports_stays_light(module):
    assert not {"torch", "SimpleITK"} & loaded_after_importing(module)


def test_images_are_read_without_torch():
    assert "torch" not in loaded_after_importing("hanseg_shared.io.read")
