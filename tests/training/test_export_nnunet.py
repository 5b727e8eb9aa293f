"""The nnU-Net raw data set, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hanseg_lab.training.cli import train
from hanseg_lab.training.datasets.find import find_dataset
from hanseg_lab.training.export_nnunet import IGNORE, label_map
from hanseg_shared.documents import MrVerdict
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.io.read import read_image, read_labels
from hanseg_shared.organs import ORGANS, organ
from tests.training.layouts import (
    ct_volume,
    mask_of,
    phantom,
    set_table,
    write_han_seg,
)
from tests.training.registrations import write_result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two cases, one with MR, and where it was exported to."""
    root = tmp_path_factory.mktemp("export")
    data = write_han_seg(root / "han-seg")
    ct = ct_volume(data, "case_01")
    write_result(root / "results" / "case_01", ct, verdict=MrVerdict.USED)
    result = CliRunner().invoke(train, export_command(root, "Dataset777_Test"))
    assert result.exit_code == 0, result.output
    return root


def export_command(root: Path, out: str) -> list[str]:
    return [
        *("default", "--export", "nnunet", "--data", str(root / "han-seg")),
        *("--registered", str(root / "results"), "--out", str(root / out)),
    ]


def test_every_case_has_three_channels_on_the_cts_grid(place: Path):
    folder = place / "Dataset777_Test"
    for name in ("case_01", "case_02"):
        ct = ct_volume(place / "han-seg", name)
        for number in range(3):
            file = folder / "imagesTr" / f"phantoms_{name}_{number:04d}.nii.gz"
            assert read_image(file).grid.is_same(ct.grid)
        labels = read_labels(folder / "labelsTr" / f"phantoms_{name}.nii.gz")
        assert labels.grid.is_same(ct.grid)


def test_the_channels_are_ct_registered_mr_and_field_of_view(place: Path):
    images = place / "Dataset777_Test" / "imagesTr"
    ct, mr, view = (
        read_image(images / f"phantoms_case_01_{n:04d}.nii.gz").array for n in range(3)
    )
    truth = ct_volume(place / "han-seg", "case_01").array
    assert (ct == truth).all()
    assert set(np.unique(view)) == {0, 1}
    assert (mr == (truth + 1100) * view).all()


def test_a_case_without_mr_has_an_empty_field_of_view(place: Path):
    images = place / "Dataset777_Test" / "imagesTr"
    for number in (1, 2):
        assert not read_image(
            images / f"phantoms_case_02_{number:04d}.nii.gz"
        ).array.any()


def test_labels_are_the_phantoms_where_they_are_known(place: Path):
    labels = read_labels(
        place / "Dataset777_Test" / "labelsTr" / "phantoms_case_01.nii.gz"
    ).array
    truth = phantom(1).labels.array
    assert (labels[truth > 0] == truth[truth > 0]).all()
    assert set(np.unique(labels[truth == 0])) <= {0, IGNORE}


def test_dataset_json_is_as_nnunet_reads_it(place: Path):
    content = json.loads((place / "Dataset777_Test" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT", "1": "MR", "2": "noNorm"}
    assert content["numTraining"] == 2
    assert content["labels"]["background"] == 0
    assert [content["labels"][o.name] for o in ORGANS] == list(range(1, 31))


def test_nothing_but_the_data_set_is_left(place: Path):
    assert sorted(path.name for path in place.iterdir()) == [
        "Dataset777_Test",
        "han-seg",
        "results",
    ]


def test_an_organ_that_nobody_drew_is_ignored_where_it_may_be(tmp_path: Path):
    data = write_han_seg(tmp_path / "han-seg", seeds=(1,))
    mask_of(data, "case_01", "Bone_Mandible").unlink()
    set_table(data, "case_01", "Bone_Mandible", "0.0")
    case = find_dataset(data).cases[0]
    labels = label_map(case, case.read_ct())
    missed = phantom(1).labels.array == organ("Bone_Mandible").label
    assert (labels[missed] == IGNORE).mean() > 0.95
    assert (labels == 0).any()
    assert organ("Bone_Mandible").label not in labels


def test_what_is_there_already_is_not_replaced(place: Path):
    result = CliRunner().invoke(train, export_command(place, "Dataset777_Test"))
    assert isinstance(result.exception, OptionError)


def test_damaged_data_are_not_exported(tmp_path: Path):
    data = write_han_seg(tmp_path / "han-seg", seeds=(2,))
    mask_of(data, "case_02", "Lips").unlink()
    out = tmp_path / "Dataset777_Test"
    command = ["default", "--export", "nnunet", "--data", str(data), "--out", str(out)]
    result = CliRunner().invoke(train, command)
    assert isinstance(result.exception, InputError)
    assert [path.name for path in tmp_path.iterdir()] == ["han-seg"]
