"""`hanseg feedback`: corrections are kept, and their drift is seen."""

from datetime import UTC, datetime, timedelta

import pytest

from hanseg_lab.evaluation.correction_drift import drifts
from hanseg_lab.evaluation.feedback import Change, read_history
from hanseg_shared.documents import JobDocument, JobState, ModelSummary
from hanseg_shared.io import write_volume
from tests.evaluation.folders import PLACES, label_map, moved, run, write_masks

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def job(tmp_path):
    """A job's results, as `hanseg segment` leaves them."""
    folder = tmp_path / "job"
    folder.mkdir()
    document = JobDocument(
        id="job-1",
        case="anna",
        state=JobState.SUCCEEDED,
        created_at=NOW,
        model=ModelSummary(name="default", version="1", sha256="ab" * 32),
    )
    (folder / "job.json").write_text(document.model_dump_json())
    write_volume(label_map(), folder / "segmentation.nii.gz")
    return folder


@pytest.fixture
def corrected(tmp_path):
    """The clinician's label map: the left parotid smaller, the cord removed."""
    places = PLACES | {"Parotid_L": (slice(3, 7), slice(4, 12), slice(16, 19))}
    del places["SpinalCord"]
    return write_volume(label_map(places), tmp_path / "corrected.nii.gz")


def test_what_was_changed_is_kept(job, corrected, tmp_path):
    history = tmp_path / "history"
    result = run("feedback", job, corrected, "--history", history)
    assert result.exit_code == 0
    found = {change.organ: change for change in read_history(history)}
    left, right, cord = (found[n] for n in ("Parotid_L", "Parotid_R", "SpinalCord"))
    assert left.dice == pytest.approx(2 / 3)
    assert left.volume_change_ml == pytest.approx(-0.5 * left.volume_ml)
    assert (right.dice, right.surface_dice, right.added_path_mm) == (1, 1, 0)
    assert (cord.dice, cord.corrected_ml, cord.added_path_mm) == (0, 0, 0)
    assert (left.job, left.case, left.model) == ("job-1", "anna", "default 1")


def test_masks_of_organs_tell_of_those_only(job, tmp_path):
    masks = write_masks(tmp_path / "c", moved(label_map()))
    (masks / "Parotid_R.nii.gz").unlink()
    history = tmp_path / "history"
    run("feedback", job, masks, "--history", history)
    organs = {change.organ for change in read_history(history)}
    assert organs == {"Parotid_L", "SpinalCord"}


def test_a_job_is_recorded_once_unless_replaced(job, corrected, tmp_path):
    history = tmp_path / "history"
    run("feedback", job, corrected, "--history", history)
    again = run("feedback", job, corrected, "--history", history)
    assert again.exit_code == 2
    assert "--replace" in str(again.exception)
    run("feedback", job, corrected, "--history", history, "--replace")
    assert len(read_history(history)) == 3


def test_pictures_of_the_drift_lie_beside_the_history(job, corrected, tmp_path):
    history = tmp_path / "history"
    run("feedback", job, corrected, "--history", history, "--date", "2026-02-01")
    names = {path.name for path in history.iterdir() if path.name != ".lock"}
    assert names == {
        *("history.csv", "drift.html", "drift_surface_dice.png"),
        *("drift_added_path.png", "drift_volume.png"),
    }
    assert read_history(history)[0].corrected_at == datetime(2026, 2, 1, tzinfo=UTC)
    shown = run("feedback", "--history", history)
    assert "Parotid_L" in shown.stdout


def test_another_grid_is_refused(job, tmp_path):
    labels = label_map()
    corrected = write_volume(
        labels.with_array(labels.array).__class__(
            labels.array[:, :, :20], labels.grid.crop((0, 0, 0), (20, 24, 10))
        ),
        tmp_path / "c.nii.gz",
    )
    result = run("feedback", job, corrected, "--history", tmp_path / "h")
    assert result.exit_code == 2
    assert "not on the grid" in str(result.exception)
    assert not (tmp_path / "h").exists()


def test_a_folder_that_is_no_job_is_refused(job, corrected, tmp_path):
    (job / "job.json").unlink()
    result = run("feedback", job, corrected, "--history", tmp_path / "h")
    assert result.exit_code == 2
    assert "job.json is not there" in str(result.exception)


def test_a_document_that_is_no_jobs_is_refused(job, corrected, tmp_path):
    (job / "job.json").write_text('{"id": 3}')
    result = run("feedback", job, corrected, "--history", tmp_path / "h")
    assert result.exit_code == 2
    assert "no job's document" in str(result.exception)


def test_an_empty_history_cannot_be_shown(tmp_path):
    assert run("feedback", "--history", tmp_path / "h").exit_code == 2


def test_a_damaged_history_is_refused_and_left_alone(job, corrected, tmp_path):
    history = tmp_path / "h"
    history.mkdir()
    (history / "history.csv").write_text("a,b\n1,2\n")
    assert run("feedback", job, corrected, "--history", history).exit_code == 2
    assert (history / "history.csv").read_text() == "a,b\n1,2\n"


def courses(values) -> list[Change]:
    """Return corrections of one organ, ten days apart."""
    return [
        Change(
            NOW + timedelta(days=10 * n),
            f"job-{n}",
            "",
            "",
            "",
            "Lips",
            dice=0.9,
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
