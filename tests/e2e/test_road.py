"""A CT and an MR go in, thirty organs come out: the real service from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hanseg_shared.client import Client
from hanseg_shared.client.console import JsonReporter
from hanseg_shared.client.segment import segment_case
from hanseg_shared.documents import JobDocument, JobState, MrVerdict
from hanseg_shared.io import read_ct, read_header, read_labels
from hanseg_shared.organs import ORGANS

WITH_MR = {
    "field_of_view.nii.gz",
    "job.json",
    "preview.png",
    "registered_mr.nii.gz",
    "registration.json",
    "registration_checkerboard.png",
    "registration_edges.png",
    "segmentation.nii.gz",
    "transform.tfm",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out") / "with_mr"


@pytest.fixture
def job(client, ct_and_mr, out) -> JobDocument:
    if out.exists():
        return JobDocument.model_validate_json((out / "job.json").read_text())
    with JsonReporter() as reporter:
        return segment_case(client, ct_and_mr, out, reporter)


def test_all_files_of_the_contract_are_there(job, out):
    assert {path.name for path in out.iterdir()} >= WITH_MR


def test_all_thirty_organs_have_a_status(job):
    assert [organ.label for organ in job.organs] == list(range(1, 31))


def test_every_stage_has_its_time(job):
    assert [s.name for s in job.stages] == ["registering", "segmenting", "packaging"]
    assert all(stage.seconds >= 0 for stage in job.stages)


def test_the_masks_lie_exactly_on_the_ct(job, out, ct_and_mr):
    ct = read_header(ct_and_mr.ct).grid
    for path in [out / "segmentation.nii.gz", *(out / "masks").iterdir()]:
        assert read_header(path).grid.is_same(ct), path.name


def test_the_labels_agree_with_the_organs_of_the_record(job, out):
    labels = read_labels(out / "segmentation.nii.gz")
    for organ in job.organs:
        count = int(np.count_nonzero(labels.array == organ.label))
        assert count * labels.grid.voxel_ml == pytest.approx(organ.volume_ml, abs=0.01)
        assert (out / "masks" / f"{organ.name}.nii.gz").exists() == (count > 0)


def test_the_mr_of_a_good_case_is_used(job, out):
    assert job.mr_verdict is MrVerdict.USED, job.registration
    assert json.loads((out / "registration.json").read_text())["verdict"] == "used"


def test_the_record_of_the_api_and_of_the_file_agree(job, out, client):
    answered = client.job(job.id)
    written = JobDocument.model_validate_json((out / "job.json").read_text())
    assert written.state is answered.state is JobState.SUCCEEDED
    assert written.organs == answered.organs
    assert written.inputs == answered.inputs
    assert written.model == answered.model


def test_left_organs_lie_on_the_patients_left(job, out):
    labels = read_labels(out / "segmentation.nii.gz")

    def centre_x(label: int) -> float:
        z, y, x = np.nonzero(labels.array == label)
        index = np.stack([x, y, z], axis=-1).mean(axis=0)
        return float(labels.grid.index_to_world(index)[0])

    found = {organ.name: organ.label for organ in job.organs if organ.volume_ml > 0}
    pairs = [n[:-1] for n in found if n.endswith("L") and n[:-1] + "R" in found]
    assert pairs
    for stem in pairs:
        assert centre_x(found[stem + "L"]) > centre_x(found[stem + "R"]), stem


@pytest.fixture(scope="module")
def plain(stack, ct_alone, tmp_path_factory) -> Path:
    """What came of the CT alone."""
    out: Path = tmp_path_factory.mktemp("plain") / "out"
    stack.wait_until_ready()
    with Client(stack.url, retry=None) as client, JsonReporter() as reporter:
        segment_case(client, ct_alone, out, reporter)
    return out


def test_a_ct_alone_says_that_the_mr_is_absent(plain):
    job = JobDocument.model_validate_json((plain / "job.json").read_text())
    assert job.mr_verdict is MrVerdict.ABSENT
    assert len(job.organs) == len(ORGANS)
    assert not (plain / "registered_mr.nii.gz").exists()


def test_a_ct_stored_the_other_way_round_gives_the_same_organs(
    client, ct_alone, plain, tmp_path
):
    from hanseg_shared.client import JobRequest
    from hanseg_shared.grid import Grid
    from hanseg_shared.io import write_volume
    from hanseg_shared.volume import Volume

    ct = read_ct(ct_alone.ct)
    last = [n - 1 for n in ct.grid.size]
    x, y, z = (float(v) for v in ct.grid.index_to_world(last))
    flipped = Grid(
        ct.grid.size,
        ct.grid.spacing,
        (x, y, z),
        ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    )
    turned = Volume(ct.array[::-1, ::-1, ::-1].copy(), flipped)
    write_volume(turned, tmp_path / "turned.nii.gz")
    with JsonReporter() as reporter:
        segment_case(
            client, JobRequest(tmp_path / "turned.nii.gz"), tmp_path / "out", reporter
        )
    unturned = read_labels(plain / "segmentation.nii.gz").array
    result = read_labels(tmp_path / "out" / "segmentation.nii.gz")
    assert result.grid.is_same(flipped)
    assert np.mean(result.array[::-1, ::-1, ::-1] == unturned) > 0.9999
