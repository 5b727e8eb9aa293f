"""What arrives in Orthanc becomes a job, once, and its results arrive in Orthanc."""

from __future__ import annotations

import errno
import logging
import os

import pytest

from hanseg_dicom import work
from hanseg_dicom.archive import write_archive
from hanseg_dicom.errors import OrthancAccessError, OrthancUnavailableError
from hanseg_dicom.records import CaseState
from hanseg_shared.documents import DicomOutput, JobState
from hanseg_shared.errors import OptionError
from tests.bridge.conftest import SLICES, World, series
from tests.bridge.dicom_files import dicom_file, uid_of
from tests.bridge.fake_service import files_in

FRAMES = (uid_of("study", "CT", "frame"), uid_of("study", "MR", "frame"))


def pair(study: str = "study") -> list[bytes]:
    return [*series("CT", study=study), *series("MR", study=study)]


def sop_uids(archive: bytes) -> list[str]:
    return [str(each.SOPInstanceUID) for each in files_in(archive)]


@pytest.fixture
def begun(world: World) -> World:
    """A world whose bridge has begun with an empty Orthanc."""
    world.round()
    return world


def test_ct_and_mr_come_back_as_structure_set_and_registration(begun: World):
    begun.orthanc.receive(*pair())
    begun.run()
    (job,) = begun.jobs
    assert job.options.outputs == (DicomOutput.RTSTRUCT, DicomOutput.REG)
    assert set(begun.sent()) == {"ct", "mr"}
    assert len(begun.orthanc.of_modality("RTSTRUCT")) == 1
    assert len(begun.orthanc.of_modality("REG")) == 1
    assert begun.states == [CaseState.DONE]


def test_the_whole_series_is_sent_in_an_order_of_its_own(begun: World):
    begun.orthanc.receive(*reversed(pair()))
    begun.run()
    expected = sorted(uid_of("study", "CT", n) for n in range(1, SLICES + 1))
    assert sop_uids(begun.sent()["ct"]) == expected


def test_a_study_sent_twice_makes_one_job(begun: World):
    begun.orthanc.receive(*pair())
    begun.run()
    begun.orthanc.receive(*pair())
    begun.run()
    assert len(begun.jobs) == 1


def test_one_instance_sent_again_makes_no_job(begun: World):
    begun.orthanc.receive(*pair())
    begun.run()
    begun.orthanc.receive(series("CT")[1])
    begun.run()
    assert len(begun.jobs) == 1
    assert len(begun.cases) == 1


def test_what_arrives_while_a_series_is_incomplete_waits(begun: World):
    ct, mr = series("CT"), series("MR")
    begun.orthanc.receive(*ct)
    begun.orthanc.receive(*mr[:1], stable=False)
    begun.bridge.round()  # type: ignore[union-attr]
    assert not begun.cases
    begun.orthanc.receive(*mr[1:])
    begun.run()
    assert len(files_in(begun.sent()["mr"])) == SLICES


def test_a_ct_waits_for_its_mr_and_is_done_alone_after_the_deadline(begun: World):
    begun.orthanc.receive(*series("CT"))
    begun.run()
    assert not begun.jobs
    assert begun.bridge.ledger.waiting() == 1  # type: ignore[union-attr]
    begun.now += 600
    begun.run()
    (job,) = begun.jobs
    assert set(begun.sent()) == {"ct"}
    assert job.options.outputs == (DicomOutput.RTSTRUCT,)


def test_the_deadline_counts_from_when_the_ct_was_complete(begun: World):
    begun.orthanc.receive(*series("CT"))
    begun.run()
    begun.now += 300
    begun.start()  # the bridge was away for a while
    begun.orthanc.receive(series("CT")[0])
    begun.run()
    begun.now += 300
    begun.run()
    assert len(begun.jobs) == 1


def test_an_mr_within_the_deadline_makes_one_job_of_both(begun: World):
    begun.orthanc.receive(*series("CT"))
    begun.run()
    begun.now += 500
    begun.orthanc.receive(*series("MR"))
    begun.run()
    begun.now += 500
    begun.run()
    assert [set(begun.service.sent[job.id]) for job in begun.jobs] == [{"ct", "mr"}]


def test_an_mr_after_the_deadline_makes_another_job_of_both(begun: World):
    begun.orthanc.receive(*series("CT"))
    begun.run()
    begun.now += 600
    begun.run()
    begun.orthanc.receive(*series("MR"))
    begun.run()
    assert [set(begun.service.sent[job.id]) for job in begun.jobs] == [
        {"ct"},
        {"ct", "mr"},
    ]
    assert begun.states == [CaseState.DONE, CaseState.DONE]


@pytest.mark.parametrize(
    "unfit",
    [
        series("MR", "t2", description="T2 tra"),
        series("MR", "few", slices=SLICES - 1),
        series("MR", "own", manufacturer="hanseg"),
    ],
    ids=["another weighting", "too few slices", "our own"],
)
def test_an_mr_that_is_none_for_us_is_not_sent(begun: World, unfit: list[bytes]):
    begun.orthanc.receive(*series("CT"), *unfit)
    begun.run()
    assert not begun.jobs
    begun.now += 600
    begun.run()
    assert set(begun.sent()) == {"ct"}


def test_a_localiser_alone_makes_no_case(begun: World):
    begun.orthanc.receive(*series("CT", slices=2))
    begun.run()
    begun.now += 600
    begun.run()
    assert not begun.cases


def test_the_series_with_the_most_slices_is_the_planning_ct(begun: World):
    begun.orthanc.receive(*series("CT", "thick", slices=3))
    begun.orthanc.receive(*series("CT", "thin", slices=5))
    begun.orthanc.receive(*series("MR"))
    begun.run()
    assert len(files_in(begun.sent()["ct"])) == 5


def test_of_equal_series_the_newest_is_taken(begun: World):
    begun.orthanc.receive(*series("CT", "b", date="20260101"))
    begun.orthanc.receive(*series("CT", "a", date="20260102"), *series("MR"))
    begun.run()
    assert {e.SeriesDate for e in files_in(begun.sent()["ct"])} == {"20260102"}


def test_the_description_chooses_the_ct(begun: World):
    begun.settings["ct_description"] = "^plan"
    begun.start()
    begun.orthanc.receive(*series("CT", "a", slices=5, description="Lung"))
    begun.orthanc.receive(*series("CT", "b", description="Planning"), *series("MR"))
    begun.run()
    assert len(files_in(begun.sent()["ct"])) == SLICES


def test_an_enhanced_instance_counts_its_frames(begun: World):
    from io import BytesIO

    import pydicom

    file = pydicom.dcmread(BytesIO(dicom_file("CT", "enhanced")))
    file.NumberOfFrames = 40
    sink = BytesIO()
    file.save_as(sink)
    begun.orthanc.receive(sink.getvalue(), *series("MR"))
    begun.run()
    assert len(begun.jobs) == 1


def test_a_registration_of_the_pair_is_sent_along(begun: World):
    reg = dicom_file("REG", "reg", frames=FRAMES)
    begun.orthanc.receive(*pair(), reg)
    begun.run()
    assert sop_uids(begun.sent()["reg"]) == [uid_of("study", "reg", 1)]
    assert len(begun.jobs) == 1  # ours, which came back, makes no other set


def test_a_registration_of_other_frames_is_not_sent(begun: World):
    begun.orthanc.receive(*pair(), dicom_file("REG", "reg", frames=(FRAMES[0], "1.2")))
    begun.run()
    assert set(begun.sent()) == {"ct", "mr"}


@pytest.mark.parametrize("about_mr", [True, False])
def test_of_images_with_one_frame_it_must_list_the_mr(begun: World, *, about_mr):
    frames = FRAMES[:1]
    begun.orthanc.receive(*series("CT", frames=frames), *series("MR", frames=frames))
    listed = uid_of("study", "MR" if about_mr else "PET", 1)
    reg = dicom_file("REG", "reg", frames=(*frames, *frames), images=(listed,))
    begun.orthanc.receive(reg)
    begun.run()
    assert set(begun.sent()) == ({"ct", "mr", "reg"} if about_mr else {"ct", "mr"})


def test_the_newest_registration_is_sent(begun: World):
    old = dicom_file("REG", "b", frames=FRAMES, date="20260101")
    new = dicom_file("REG", "a", frames=FRAMES, date="20260102")
    begun.orthanc.receive(*pair(), new, old)
    begun.run()
    assert sop_uids(begun.sent()["reg"]) == [uid_of("study", "a", 1)]


def test_two_studies_that_arrive_mixed_make_a_job_each(begun: World):
    one, other = pair("one"), pair("other")
    for files in zip(one, other, strict=True):
        begun.orthanc.receive(*files, stable=False)
    begun.orthanc.settle()
    begun.run()
    assert len(begun.jobs) == 2
    assert begun.states == [CaseState.DONE] * 2
    studies = {
        begun.orthanc.instances[i].study for i in begun.orthanc.of_modality("REG")
    }
    assert len(studies) == 2
    for job in range(2):
        of = {e.StudyInstanceUID for e in files_in(begun.sent(job)["ct"])}
        assert of == {e.StudyInstanceUID for e in files_in(begun.sent(job)["mr"])}


def test_a_ct_that_is_replaced_before_it_was_sent_is_not_sent(begun: World):
    begun.service.away = True
    begun.orthanc.receive(*pair())
    begun.round()
    begun.orthanc.receive(*series("CT", "better", slices=5))
    begun.round()
    begun.service.away = False
    begun.now += 60
    begun.run()
    assert begun.states == [CaseState.SUPERSEDED, CaseState.DONE]
    assert [len(files_in(begun.sent()["ct"]))] == [5]


def test_images_that_are_gone_before_they_were_sent_end_the_case(begun: World):
    begun.service.away = True
    begun.orthanc.receive(*pair())
    begun.round()
    begun.orthanc.delete(*begun.orthanc.of_modality("CT"))
    begun.service.away = False
    begun.now += 60
    begun.run()
    assert begun.states == [CaseState.SUPERSEDED]
    begun.orthanc.receive(*series("CT"))
    begun.run()
    assert begun.states == [CaseState.DONE]


def test_what_orthanc_had_before_the_first_start_is_left_alone(world: World):
    world.orthanc.receive(*pair("old"))
    world.run()
    world.orthanc.receive(*pair("new"))
    world.run()
    assert len(world.jobs) == 1


def test_the_backlog_is_done_where_it_is_wanted(world: World):
    world.settings["backlog"] = True
    world.orthanc.receive(*pair("one"), *pair("other"))
    world.run()
    assert len(world.jobs) == 2


def test_what_arrives_while_the_bridge_is_away_is_done(begun: World):
    begun.stop()
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.DONE]


def test_a_series_that_orthanc_never_told_to_be_stable_is_done(begun: World):
    begun.orthanc.receive(*pair(), stable=False)
    begun.bridge.round()  # type: ignore[union-attr]
    begun.orthanc.restart()
    begun.run()
    assert begun.states == [CaseState.DONE]


def test_slices_added_before_orthanc_restarts_are_done(begun: World):
    begun.orthanc.receive(*pair())
    begun.run()
    begun.orthanc.receive(*series("CT", slices=5), stable=False)
    begun.orthanc.restart()
    begun.orthanc.away = True
    with pytest.raises(OrthancUnavailableError):
        begun.round()
    begun.orthanc.away = False
    begun.run()
    assert [len(files_in(begun.sent(n)["ct"])) for n in range(2)] == [3, 5]


@pytest.mark.parametrize("new_changes", [0, 1, 200])
def test_nothing_is_lost_when_orthanc_loses_its_changes(begun: World, new_changes: int):
    begun.orthanc.receive(*pair("one"))
    begun.run()
    begun.orthanc.receive(*pair("other"))
    begun.orthanc.lose_changes()
    for number in range(new_changes):
        begun.orthanc.receive(dicom_file("CT", f"scout {number}"), stable=False)
    begun.run()
    assert len(begun.jobs) == 2


def test_results_are_sent_on_to_the_destinations_that_are_configured(begun: World):
    begun.orthanc.modalities.update({"TPS": [], "ARCHIVE": [], "OTHER": []})
    begun.settings["destinations"] = "TPS, ARCHIVE"
    begun.start()
    begun.orthanc.receive(*pair())
    begun.run()
    results = {
        *begun.orthanc.of_modality("RTSTRUCT"),
        *begun.orthanc.of_modality("REG"),
    }
    assert set(begun.orthanc.modalities["TPS"]) == results
    assert set(begun.orthanc.modalities["ARCHIVE"]) == results
    assert begun.orthanc.modalities["OTHER"] == []


def test_a_destination_that_is_away_holds_up_no_other(begun: World):
    begun.orthanc.modalities.update({"ARCHIVE": [], "TPS": []})
    begun.orthanc.refusing.add("ARCHIVE")
    begun.settings["destinations"] = "ARCHIVE,TPS"
    begun.start()
    begun.orthanc.receive(*pair())
    begun.run()
    assert len(begun.orthanc.modalities["TPS"]) == 2
    assert begun.states == [CaseState.FAILED]
    assert "ARCHIVE did not take them" in begun.cases[0].reason
    assert begun.orthanc.of_modality("RTSTRUCT")


def test_a_destination_that_comes_back_gets_the_results(begun: World):
    begun.orthanc.modalities["TPS"] = []
    begun.orthanc.refusing.add("TPS")
    begun.settings["destinations"] = "TPS"
    begun.start()
    begun.orthanc.receive(*pair())
    for _ in range(5):
        begun.round()
    begun.orthanc.refusing.clear()
    begun.run()
    assert len(begun.orthanc.modalities["TPS"]) == 2
    assert begun.states == [CaseState.DONE]


def test_a_destination_that_orthanc_does_not_know_is_refused(world: World):
    world.orthanc.modalities["PACS"] = []
    world.settings["destinations"] = "TPS"
    with pytest.raises(OptionError, match=r"names TPS, .* it knows PACS"):
        world.round()


def test_a_wrong_password_ends_the_bridge(world: World):
    world.orthanc.password = "secret"
    with pytest.raises(OrthancAccessError, match="HANSEG_BRIDGE_ORTHANC_PASSWORD"):
        world.round()


def test_a_study_at_which_orthanc_fails_holds_up_no_other(begun: World):
    begun.orthanc.receive(*pair("bad"))
    begun.orthanc.damaged.add(next(iter(begun.orthanc.instances.values())).study)
    begun.orthanc.receive(*pair("good"))
    for _ in range(8):
        begun.round()
    assert begun.states == [CaseState.DONE]
    begun.orthanc.damaged.clear()
    begun.now += 600
    begun.run()
    assert begun.states == [CaseState.DONE] * 2


def test_a_damaged_file_in_orthanc_fails_its_case_alone(begun: World):
    begun.orthanc.receive(*pair("bad"))
    damaged = next(iter(begun.orthanc.instances))
    begun.orthanc.damaged.add(f"{damaged}/file")
    begun.orthanc.receive(*pair("good"))
    begun.run()
    assert set(begun.states) == {CaseState.FAILED, CaseState.DONE}
    (failed,) = (e for e in begun.cases if e.state is CaseState.FAILED)
    assert "500 to /instances/.../file: The file is damaged" in failed.reason


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let the disk have no room for the next so many archives."""
    left = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) for _ in range(times)]

    def write(orthanc, instances, path) -> None:
        if left:
            raise left.pop()
        write_archive(orthanc, instances, path)

    monkeypatch.setattr(work, "write_archive", write)


def test_a_full_disk_puts_off_its_case_alone(begun: World, monkeypatch):
    fill_disk(monkeypatch, times=1)
    begun.orthanc.receive(*pair("one"), *pair("other"))
    begun.round()
    late, sent = sorted(begun.cases, key=lambda each: -each.attempts)
    assert [late.state, sent.state] == [CaseState.FOUND, CaseState.SUBMITTED]
    assert late.reason.endswith("cannot be used: No space left on device")
    begun.run()
    assert begun.states == [CaseState.DONE] * 2


def test_a_disk_that_stays_full_is_given_up_after_a_while(begun: World, monkeypatch):
    fill_disk(monkeypatch, times=100)
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.FAILED]
    assert begun.cases[0].reason.startswith("given up after 4 times: the data folder")


def test_a_service_that_comes_back_gets_the_case(begun: World):
    begun.service.away = True
    begun.orthanc.receive(*pair())
    begun.round()
    begun.round()
    begun.service.away = False
    begun.run()
    assert begun.states == [CaseState.DONE]


def test_a_service_that_stays_away_is_given_up_after_a_while(begun: World):
    begun.service.ready = False
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.FAILED]
    assert begun.cases[0].reason.startswith("given up after 4 times: no service")
    assert not any("file" in path for path in begun.orthanc.asked)


def test_refused_images_are_not_sent_again(begun: World):
    from hanseg_shared.errors import ImageError
    from hanseg_shared.problems import kind_of

    begun.service.refusal = kind_of(ImageError("")).problem("ct.zip: tilted")
    begun.orthanc.receive(*pair())
    begun.run()
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.FAILED]
    assert begun.cases[0].reason == "ct.zip: tilted"


def test_a_job_that_failed_by_its_images_is_recorded(begun: World):
    from hanseg_shared.errors import ImageError
    from hanseg_shared.problems import kind_of

    begun.service.road = (JobState.QUEUED, JobState.FAILED)
    begun.service.error = kind_of(ImageError("")).problem("the CT shows no head")
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.FAILED]
    assert "failed: the CT shows no head" in begun.cases[0].reason
    assert not begun.service.retried


def test_a_job_that_failed_by_the_service_is_done_again_a_few_times(begun: World):
    from hanseg_shared.problems import WORKER_LOST

    begun.service.road = (JobState.QUEUED, JobState.FAILED)
    begun.service.error = WORKER_LOST.problem("lost")
    begun.orthanc.receive(*pair())
    begun.run()
    assert len(begun.service.retried) == 2
    assert begun.states == [CaseState.FAILED]


def test_a_case_whose_job_the_service_forgot_is_sent_again(begun: World):
    begun.service.road = (JobState.QUEUED,)
    begun.orthanc.receive(*pair())
    begun.round()
    begun.service.jobs.clear()
    begun.service.keys.clear()
    begun.service.road = (JobState.QUEUED, JobState.SUCCEEDED)
    begun.run()
    assert begun.states == [CaseState.DONE]


def test_a_job_without_a_structure_set_is_a_failure(begun: World):
    begun.service.results = lambda *_: {"job.json": b"{}"}
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.FAILED]
    assert begun.cases[0].reason.endswith("has no rtstruct.dcm")


def test_a_rejected_mr_gives_a_structure_set_alone(begun: World):
    from tests.bridge.fake_service import made_results

    def without_reg(job, sent):
        found = made_results(job, sent)
        del found["reg.dcm"]
        return found

    begun.service.results = without_reg
    begun.orthanc.receive(*pair())
    begun.run()
    assert begun.states == [CaseState.DONE]
    assert not begun.orthanc.of_modality("REG")


def test_no_file_of_a_patient_is_left_behind(begun: World):
    begun.orthanc.receive(*pair())
    begun.run()
    assert not list(begun.data.rglob("*.dcm"))
    assert not list(begun.data.rglob("*.zip"))


def test_nothing_of_the_patient_is_logged(begun: World, caplog):
    caplog.set_level(logging.DEBUG)
    begun.orthanc.modalities["TPS"] = []
    begun.settings["destinations"] = "TPS"
    begun.start()
    begun.orthanc.receive(*pair())
    begun.run()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("hanseg")]
    assert any("are in Orthanc" in line for line in ours)
    for word in ("Secret", "SECRET7", "2.25.", begun.cases[0].study):
        assert not [line for line in ours if word in line]
    stored = (begun.data / "bridge.sqlite").read_bytes()
    assert b"SECRET7" not in stored
