"""Instances that were stored for a job to come: kept once, together, for their time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hanseg_shared.jobs.record import DicomInstance, study_owner
from hanseg_shared.jobs.sweeper import UPLOAD_SECONDS

FIRST = DicomInstance("1.2.3", "1.2.3.1", "1.2.840", "a" * 64, 100)
SECOND = replace(FIRST, sop_instance_uid="1.2.3.2", sha256="b" * 64)
ELSEWHERE = replace(FIRST, study_uid="1.2.4")


def test_a_study_has_its_instances_by_their_uids(tables):
    for each in (SECOND, FIRST, ELSEWHERE):
        tables.dicom_instances.add(each)
    listed = tables.dicom_instances.list_study("1.2.3")
    assert [each.sop_instance_uid for each in listed] == ["1.2.3.1", "1.2.3.2"]
    assert tables.dicom_instances.count_study("1.2.3") == (2, 200)
    assert tables.dicom_instances.count_study("1.2.5") == (0, 0)


def test_the_first_file_of_an_instance_counts(tables):
    tables.dicom_instances.add(FIRST)
    other = replace(FIRST, sha256="c" * 64)
    assert tables.dicom_instances.add(other).sha256 == FIRST.sha256
    assert len(tables.dicom_instances.list_study("1.2.3")) == 1


def test_a_study_is_kept_until_its_last_instance_is_old(services, sweeper, clock):
    tables, file = services.tables.dicom_instances, Path(services.settings.data, "file")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"an instance")
    owner = study_owner("1.2.3")
    services.store.put(owner, file)
    tables.add(FIRST)
    clock.advance(0.9 * UPLOAD_SECONDS)
    tables.add(SECOND)
    clock.advance(0.9 * UPLOAD_SECONDS)
    sweeper.run_once()
    assert owner in services.store.owners()
    assert owner in services.tables.jobs.owners().kept
    clock.advance(0.2 * UPLOAD_SECONDS)
    sweeper.run_once()
    assert tables.list_study("1.2.3") == []
    assert services.store.owners() == []


def test_a_study_is_called_by_a_hash_in_the_store():
    assert "1.2.3" not in study_owner("1.2.3")
