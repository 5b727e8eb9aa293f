"""elastix parameter maps: text files a physicist can read, change and commission."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from hanseg_shared.errors import OptionError

ParameterMap = Mapping[str, tuple[str, ...]]

FOLDER = Path(__file__).parent / "parameters"
"""The maps that come with this version: ``rigid.txt``, ``again.txt``,
``thorough.txt``, ``polish.txt``, ``affine.txt`` and ``deformable.txt``."""


def load_parameters(name: str, folder: Path | None = None) -> ParameterMap:
    """Return the parameter map `name` of a folder, or the one built in.

    Args:
        name: A step of `engines.interface.Step`, or ``deformable``; the file
            is ``<name>.txt``.
        folder: A site's own folder of maps; None for `FOLDER`.

    Raises:
        OptionError: There is no such file, or elastix cannot read it.
    """
    path = (folder or FOLDER) / f"{name}.txt"
    if not path.is_file():
        raise OptionError(f"there are no elastix parameters at {path}")
    try:
        read = sitk.ReadParameterFile(str(path))
    except RuntimeError as error:
        raise OptionError(
            f"elastix cannot read {path}: {_last_line(str(error))}"
        ) from error
    parameters = {key: tuple(values) for key, values in read.items()}
    if "Transform" not in parameters:
        raise OptionError(f"{path} names no Transform, so it is no elastix map")
    return parameters


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
