"""A registration that was sent along is used instead of a search, and judged alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hanseg_registration import child
from hanseg_registration.child import register_files
from hanseg_registration.geometry.motions import from_transform, translation
from hanseg_registration.pipeline import register
from hanseg_registration.tasks import find_sent_registration
from hanseg_shared.documents import MrVerdict, RegistrationReport, TransformKind
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.source import SOURCE_FILE, DicomSource, SentRegistration
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.volume import Volume
from tests.dicom.cases import series_source
from tests.registration.fakes import FakeEngine


def refuse_to_search(*_):
    raise AssertionError("nothing is to be searched for")


ENGINE = FakeEngine(refuse_to_search)


def judged(pair, given) -> RegistrationReport:
    return register(pair.ct, pair.mr, given=given, engine=ENGINE).report


@pytest.fixture(scope="module")
def right(pair):
    return register(pair.ct, pair.mr, given=pair.mr_from_ct, engine=ENGINE)


def test_a_right_one_is_used(right):
    assert right.report.verdict is MrVerdict.USED


def test_its_transform_is_handed_out(right, pair):
    found = from_transform(right.transform)
    np.testing.assert_allclose(found, pair.mr_from_ct, atol=1e-9)


def test_the_report_says_whose_it_is(right):
    assert right.report.sent
    assert right.report.kind is TransformKind.RIGID
    assert right.report.backend is None
    assert "is the one that was sent along" in right.report.reason


def test_one_15_mm_off_is_rejected_with_its_numbers(pair):
    report = judged(pair, pair.mr_from_ct @ translation((9.0, 0.0, 12.0)))

    assert report.verdict is MrVerdict.REJECTED
    assert report.measures["drift_mm"] == pytest.approx(15.0, abs=2.0)
    assert "limit 4" in report.reason
    assert "send the case without it" in report.reason
    assert "swapped" not in report.reason


def test_one_that_stretches_too_much_is_rejected(pair):
    stretched = pair.mr_from_ct @ np.diag([1.0, 1.0, 1.12, 1.0])
    report = judged(pair, stretched)
    assert report.kind is TransformKind.AFFINE
    assert report.verdict is MrVerdict.REJECTED
    assert "stretched by 12 %" in report.reason


def test_images_without_a_head_reject_it(pair):
    empty = Volume(np.zeros((8, 8, 8), np.float32), Grid((8, 8, 8)))
    report = register(pair.ct, empty, given=np.eye(4)).report
    assert report.verdict is MrVerdict.REJECTED
    assert report.sent


def test_it_reaches_the_child(tmp_path, monkeypatch):
    asked = []

    def run(body, request, **_):
        asked.append(request)
        return RegistrationReport(verdict=MrVerdict.USED, reason="MR used.")

    monkeypatch.setattr(child, "run_in_child", run)
    register_files(Path("ct"), Path("mr"), tmp_path, given=np.eye(4))
    (request,) = asked
    np.testing.assert_array_equal(request.given, np.eye(4))


@dataclass
class FakePlace:
    """A workplace whose job came from that source."""

    file: Path | None

    def fetch_intermediate(self, name: str) -> Path | None:
        assert name == SOURCE_FILE
        return self.file


def place_of(file: Path | None) -> Workplace:
    return cast("Workplace", FakePlace(file))


def source_file(tmp_path: Path, registration: SentRegistration | None) -> Path:
    series = series_source(Grid((2, 2, 2)))
    source = DicomSource(ct=series, registration=registration)
    path = tmp_path / SOURCE_FILE
    path.write_text(source.model_dump_json())
    return path


def test_a_job_without_dicom_has_none():
    assert find_sent_registration(place_of(None)) is None


def test_a_job_whose_dicom_has_no_registration_has_none(tmp_path):
    assert find_sent_registration(place_of(source_file(tmp_path, None))) is None


def test_a_job_brings_the_one_that_was_sent(tmp_path):
    rows = tuple(tuple(row) for row in translation((1.0, 2.0, 3.5)).tolist())
    sent = SentRegistration(sop_instance_uid="1.2", mr_from_ct=rows)
    found = find_sent_registration(place_of(source_file(tmp_path, sent)))
    np.testing.assert_array_equal(found, translation((1.0, 2.0, 3.5)))
