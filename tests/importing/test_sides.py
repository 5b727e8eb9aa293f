"""Which side of the patient a network's axes run to, by a network that marks faces.

Its three organs are where brightness rises along the first, second and third of its
axes: the faces of a bright box that a reader's first, second and third axis meet first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.inference.loaded_model import LoadedModel, load_package
from hanseg_segmentation.inference.stage import run_stage
from hanseg_shared.errors import InputError
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.grids import AXIAL, CORONAL, FLIPPED, GRIDS
from tests.importing.trained_folders import (
    ARCHITECTURES,
    INTENSITIES,
    edit_json,
    trained_folder,
    write_checkpoint,
)

pytestmark = pytest.mark.torch

ALONG = ("Brainstem", "Parotid_L", "Parotid_R")
"""The organ at the face that the network's first, second and third axis meet first."""

CHANGES = {
    "patch_size": [16, 16, 16],
    "spacing": [3.0, 3.0, 3.0],
    "architecture": {
        "network_class_name": f"{ARCHITECTURES}.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [3, 3],
            "conv_op": "torch.nn.Conv3d",
            "kernel_sizes": 3,
            "strides": [1, 2],
            "n_conv_per_stage": 1,
            "n_conv_per_stage_decoder": 1,
            "conv_bias": True,
            "norm_op": "torch.nn.InstanceNorm3d",
            "norm_op_kwargs": {"affine": True},
            "nonlin": "torch.nn.LeakyReLU",
        },
    },
}

AIR_IS_ZERO = {**INTENSITIES, "mean": INTENSITIES["percentile_00_5"]}
"""So that brightness does not rise where a convolution pads with zeros."""

UNTURNED = [(0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)]
"""Where the organs are, seen from the box's middle in LPS, along LPS axes z, y, x."""

TURNED = [(0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]
"""The same along RAS axes."""


def marking_faces() -> dict[str, torch.Tensor]:
    """Return weights of which each feature is a difference along one axis."""
    rising = torch.zeros(3, 1, 3, 3, 3)
    passed_on = torch.zeros(3, 6, 3, 3, 3)
    for axis in range(3):
        before, after = [1, 1, 1], [1, 1, 1]
        before[axis], after[axis] = 0, 2
        rising[(axis, 0, *before)], rising[(axis, 0, *after)] = -1.0, 1.0
        passed_on[axis, 3 + axis, 1, 1, 1] = 1.0
    heads = torch.zeros(4, 3, 1, 1, 1)
    for axis in range(3):
        heads[1 + axis, axis] = 1.0
    state = {
        "decoder.transpconvs.0.weight": torch.zeros(3, 3, 2, 2, 2),
        "decoder.transpconvs.0.bias": torch.zeros(3),
        "decoder.seg_layers.0.weight": heads,
        "decoder.seg_layers.0.bias": torch.tensor([3.0, 0.0, 0.0, 0.0]),
    }
    for place, kernel in (
        ("encoder.stages.0.0", rising),
        ("encoder.stages.1.0", torch.zeros(3, 3, 3, 3, 3)),
        ("decoder.stages.0", passed_on),
    ):
        state |= {
            f"{place}.convs.0.conv.weight": kernel,
            f"{place}.convs.0.conv.bias": torch.zeros(3),
            f"{place}.convs.0.norm.weight": torch.ones(3),
            f"{place}.convs.0.norm.bias": torch.zeros(3),
        }
    return state


def faces(tmp_path: Path, *, reader: str, turns: Any = None, **options: Any) -> Path:
    """Return the installed model whose plan names a reader."""
    folder = trained_folder(tmp_path / "trained", folds=(), changes=CHANGES)
    labels = {"background": 0, **{name: n for n, name in enumerate(ALONG, start=1)}}
    edit_json(folder / "dataset.json", labels=labels)
    air = {"foreground_intensity_properties_per_channel": {"0": AIR_IS_ZERO}}
    plans = {"image_reader_writer": reader, **air, **(turns or {})}
    edit_json(folder / "plans.json", **plans)
    write_checkpoint(folder / "fold_0" / "checkpoint_final.pth", marking_faces())
    chosen = ImportOptions(name="faces", **options)
    import_nnunet(folder, into=tmp_path / "models", options=chosen)
    return tmp_path / "models" / "faces"


def box_on(grid: Grid) -> tuple[Volume, np.ndarray]:
    """Return a CT of a box along the patient's axes, and the box's middle in mm."""
    size = (26, 24, 22)
    on = Grid(size, (3.0, 3.0, 3.0), grid.origin, grid.direction)
    index = np.moveaxis(np.indices(on.shape), 0, -1)[..., ::-1]
    middle = on.index_to_world((np.array(size) - 1) / 2)
    inside = (np.abs(on.index_to_world(index) - middle) < (19, 17, 15)).all(axis=-1)
    return Volume(np.where(inside, 60, -1000).astype(np.int16), on), middle


def directions(model: LoadedModel, grid: Grid) -> list[tuple[float, ...]]:
    """Return the direction in which each organ lies, rounded to the nearest axis."""
    ct, middle = box_on(grid)
    labels = run_stage(CaseImages(ct), model, progress=lambda _: None).labels
    found = []
    for name in ALONG:
        index = np.argwhere(labels.array == organ(name).label)[:, ::-1]
        away = labels.grid.index_to_world(index).mean(axis=0) - middle
        found.append(tuple(np.round(away / np.linalg.norm(away)) + 0.0))
    return found


@pytest.fixture(
    scope="module",
    params=[
        ("SimpleITKIO", UNTURNED),
        ("NibabelIO", UNTURNED),
        ("SimpleITKIOWithReorient", TURNED),
        ("NibabelIOWithReorient", TURNED),
    ],
    ids=lambda each: each[0],
)
def read(request, tmp_path_factory):
    """A model whose plan names a reader, and where its organs must be."""
    reader, expected = request.param
    folder = faces(tmp_path_factory.mktemp("faces"), reader=reader)
    return load_package(folder, device="cpu"), expected


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_reader_decides_which_side_is_which_however_an_image_is_stored(read, grid):
    model, expected = read
    assert directions(model, grid) == expected


@pytest.fixture(scope="module")
def transposed(tmp_path_factory):
    turns = {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    folder = faces(
        tmp_path_factory.mktemp("turned"), reader="NibabelIOWithReorient", turns=turns
    )
    return load_package(folder, device="cpu")


@pytest.mark.parametrize("grid", [AXIAL, CORONAL], ids=["axial", "coronal"])
def test_a_transposed_plan_turns_after_the_reader(transposed, grid):
    z, y, x = TURNED
    assert directions(transposed, grid) == [x, z, y]
    assert transposed.package.network_axes == ("x", "z", "y")


def test_a_user_may_say_how_training_images_were_stored(tmp_path):
    folder = faces(tmp_path, reader="SimpleITKIO", orientation="SAR")
    model = load_package(folder, device="cpu")
    assert model.package.network_axes == ("x", "y", "z")
    towards_left, to_the_back, down = (1.0, 0, 0), (0, 1.0, 0), (0, 0, -1.0)
    assert directions(model, FLIPPED) == [towards_left, to_the_back, down]


@pytest.mark.parametrize("orientation", ["LPI ", "LR S", "XYZ", "", "LPL", "lps"])
def test_an_orientation_that_is_none_is_refused(tmp_path, orientation):
    with pytest.raises(InputError, match="orientation must be one of L and R"):
        faces(tmp_path, reader="SimpleITKIO", orientation=orientation)


def test_a_reader_that_turns_images_leaves_no_choice(tmp_path):
    with pytest.raises(InputError, match=r"turns every image to RAS.* is LPS"):
        faces(tmp_path, reader="SimpleITKIOWithReorient", orientation="LPS")


@pytest.mark.parametrize(
    "reader", ["Tiff3DIO", "NaturalImage2DIO", "OurIO", "", "sitk"]
)
def test_another_reader_is_refused_by_name(tmp_path, reader):
    with pytest.raises(InputError, match=f"image_reader_writer {reader} is unknown"):
        faces(tmp_path, reader=reader)
