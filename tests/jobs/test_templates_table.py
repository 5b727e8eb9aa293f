"""Templates: versions are counted, never lost, never come back with other content."""

from __future__ import annotations

import threading

import pytest

from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database

CLINIC = Template(
    name="clinic", structures=(Structure(name="Brainstem", organs=("Brainstem",)),)
)
OTHER = CLINIC.model_copy(update={"label": "Another"})


def test_versions_are_counted_and_kept(tables):
    first = tables.templates.save(CLINIC, known=None)
    second = tables.templates.save(OTHER, known=first)
    assert (first.version, second.version) == (1, 2)
    assert tables.templates.get("clinic") == second
    assert tables.templates.get("clinic", 1) == first
    assert tables.templates.list_latest() == [second]


def test_the_same_again_is_no_version(tables):
    first = tables.templates.save(CLINIC, known=None)
    assert tables.templates.save(CLINIC, known=first) == first


def test_a_save_that_knows_an_older_version_is_refused(tables):
    first = tables.templates.save(CLINIC, known=None)
    tables.templates.save(OTHER, known=first)
    for known in (None, first):
        with pytest.raises(JobStateError, match="meanwhile"):
            tables.templates.save(CLINIC, known=known)


def test_a_deleted_name_goes_on_counting(tables):
    tables.templates.save(CLINIC, known=None)
    tables.templates.delete("clinic")
    assert tables.templates.list_latest() == []
    for version in (None, 1):
        with pytest.raises(JobNotFoundError):
            tables.templates.get("clinic", version)
    with pytest.raises(JobNotFoundError):
        tables.templates.delete("clinic")
    assert tables.templates.save(OTHER, known=None).version == 2


def test_two_who_save_at_once_do_not_lose_a_version(database):
    """Each process has connections of its own."""
    opened = [Tables.of(open_database(database), retention_seconds=1) for _ in range(2)]
    ready = threading.Barrier(2)
    refused: list[Exception] = []

    def save(tables: Tables, template: Template) -> None:
        ready.wait()
        try:
            tables.templates.save(template, known=None)
        except JobStateError as error:
            refused.append(error)

    threads = [
        threading.Thread(target=save, args=each)
        for each in zip(opened, (CLINIC, OTHER), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert len(opened[0].templates.list_latest()) == 1
    for tables in opened:
        tables.close()
