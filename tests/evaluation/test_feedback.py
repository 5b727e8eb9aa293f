"""`hanseg feedback`: corrections go to the service, and their drift is read from it."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime, timedelta

import pytest

from hanseg_lab.evaluation.correction_drift import drifts
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.io import write_volume
from hanseg_shared.result_files import RECORD, SEGMENTATION
from hanseg_shared.review.documents import Correction
from tests.api.conftest import (  # noqa: F401 - fixtures
    app,
    checker,
    converter,
    models,
    publisher,
    running,
    services,
    settings,
    worker,
)
from tests.api.fakes import CT
from tests.evaluation.folders import PLACES, label_map, moved, run, write_masks

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def box_ml(place: tuple[slice, ...]) -> float:
    """Return the volume of a box of voxels of 1 x 1 x 2.5 mm."""
    return math.prod(each.stop - each.start for each in place) * 2.5e-3


@pytest.fixture
def url(running):  # noqa: F811
    return f"http://127.0.0.1:{running.port}"


@pytest.fixture
def client(url):
    with Client(url) as found:
        yield found


@pytest.fixture
def job(client, worker, tmp_path):  # noqa: F811
    """The folder of a job's results, as `hanseg segment` leaves it."""
    ct = tmp_path / "ct.nii.gz"
    ct.write_bytes(CT)
    job_id = client.submit(JobRequest(ct, case="anna")).id
    own = write_volume(label_map(), tmp_path / "own.nii.gz")
    contoured = {name: box_ml(place) for name, place in PLACES.items()}
    worker.succeed(job_id, {SEGMENTATION: own.read_bytes()}, contoured=contoured)
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / RECORD).write_text(client.job(job_id).model_dump_json())
    return folder


@pytest.fixture
def corrected(tmp_path):
    """The clinician's label map: the left parotid smaller."""
    places = PLACES | {"Parotid_L": (slice(3, 7), slice(4, 12), slice(16, 19))}
    return write_volume(label_map(places), tmp_path / "corrected.nii.gz")


def test_what_was_changed_is_kept_by_the_service(client, job, corrected, url):
    result = run("feedback", job, corrected, "--url", url)
    assert result.exit_code == 0, result.stderr
    [left] = client.corrections(limit=9)
    assert (left.organ, left.model) == ("Parotid_L", "default 1")
    assert left.dice == pytest.approx(2 / 3)
    assert left.volume_change_ml == pytest.approx(-0.5 * left.volume_ml)
    assert left.added_path_mm > 0
    assert "Parotid_L" in result.stdout
    [said] = client.review(left.job).organs
    assert (said.organ, said.verdict) == ("Parotid_L", "edited")


def test_what_was_corrected_in_the_page_is_shown_too(client, job, corrected, url):
    job_id = client.jobs(limit=1)[0][0].id
    client.send_correction(job_id, corrected)
    shown = run("feedback", "--url", url)
    assert shown.exit_code == 0
    assert "Parotid_L" in shown.stdout


def test_a_correction_sent_again_counts_once(client, job, corrected, url):
    job_id = client.jobs(limit=1)[0][0].id
    for given in (job, job_id):
        assert run("feedback", given, corrected, "--url", url).exit_code == 0
    assert len(client.corrections(limit=9)) == 1


def test_masks_of_organs_tell_of_those_only(client, job, url, tmp_path):
    masks = write_masks(tmp_path / "c", moved(label_map()))
    (masks / "Parotid_R.nii.gz").unlink()
    result = run("feedback", job, masks, "--url", url)
    assert result.exit_code == 0, result.stderr
    found = {each.organ for each in client.corrections(limit=9)}
    assert found == {"Parotid_L", "SpinalCord"}


def test_drift_and_a_table_are_written(job, corrected, url, tmp_path):
    out = tmp_path / "drift"
    run("feedback", job, corrected, "--url", url, "--out", out)
    assert {path.name for path in out.iterdir()} == {
        *("corrections.csv", "drift.html", "drift_surface_dice.png"),
        *("drift_added_path.png", "drift_volume.png"),
    }
    with (out / "corrections.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["organ"] == "Parotid_L"
    assert float(row["dice"]) == pytest.approx(2 / 3)


def test_what_the_service_refuses_is_said(job, url, tmp_path):
    path = tmp_path / "c.nii.gz"
    path.write_text("no image")
    assert run("feedback", job, path, "--url", url).exit_code == 2


def test_results_that_are_gone_are_said(client, job, corrected, url):
    client.delete(client.jobs(limit=1)[0][0].id)
    result = run("feedback", job, corrected, "--url", url)
    assert result.exit_code == 3


def test_without_a_service_nothing_is_recorded(corrected):
    result = run("feedback", "0" * 32, corrected, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 4
    assert "no contouring service answers" in result.stderr


def test_what_is_no_job_is_refused(corrected, url, tmp_path):
    result = run("feedback", tmp_path, corrected, "--url", url)
    assert result.exit_code == 2
    assert "job.json is not there" in result.stderr
    (tmp_path / RECORD).write_text('{"id": 3}')
    result = run("feedback", tmp_path, corrected, "--url", url)
    assert (result.exit_code, "no job's document" in result.stderr) == (2, True)


def test_no_corrections_make_no_page(url, tmp_path):
    assert run("feedback", "--url", url, "--out", tmp_path / "o").exit_code == 2


def courses(values) -> list[Correction]:
    """Return corrections of one organ, ten days apart."""
    return [
        Correction(
            job=f"job-{n}",
            organ="Lips",
            model="default 1",
            day=(NOW + timedelta(days=10 * n)).date(),
            judged_at=NOW + timedelta(days=10 * n),
            dice=0.9,
            hd95_mm=2.0,
            surface_dice=value,
            added_path_mm=10.0,
            volume_ml=5.0,
            corrected_ml=6.0,
        )
        for n, value in enumerate(values)
    ]


def test_contours_that_need_ever_more_correction_worsen():
    (drift,) = drifts(courses([0.95, 0.93, 0.92, 0.90, 0.87, 0.86, 0.84]))
    assert drift.worsens
    assert drift.trend == pytest.approx(-0.18, abs=0.03)
    assert drift.median_volume_change_ml == 1.0


def test_steady_contours_do_not():
    (drift,) = drifts(courses([0.91, 0.93, 0.90, 0.92, 0.93, 0.91, 0.92]))
    assert not drift.worsens


def test_a_few_corrections_make_no_trend():
    (drift,) = drifts(courses([0.9, 0.5]))
    assert drift.trend is None
    assert (drift.count, drift.last_surface_dice) == (2, 0.5)
