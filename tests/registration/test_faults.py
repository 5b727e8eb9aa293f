"""What is the machine's fault is told apart from what the images are like."""

import shutil
from collections import namedtuple

import pytest

from hanseg_registration.faults import as_fault, death_by_signal, library_fault
from hanseg_shared.errors import (
    ImageContentError,
    ProcessLostError,
    RegistrationError,
    StoreError,
)

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (MemoryError(), ProcessLostError),
        (RuntimeError("std::bad_alloc"), ProcessLostError),
        (
            RuntimeError("itk::ERROR: Failed to allocate memory for image."),
            ProcessLostError,
        ),
        (OSError(28, "No space left on device"), StoreError),
        (RuntimeError("too many samples map outside"), RegistrationError),
        (ZeroDivisionError(), RegistrationError),
    ],
)
def test_a_surprise_is_told_by_whose_fault_it_is(error, fault):
    assert type(as_fault(error)) is fault


def test_an_error_of_ours_stays_as_it_is():
    error = ImageContentError("no head")
    assert as_fault(error) is error


def test_what_a_library_says_of_two_images_is_a_verdict(tmp_path):
    fault = library_fault("elastix", "no samples", tmp_path)
    assert type(fault) is RegistrationError
    assert fault.message == "elastix gave up: no samples"


def test_a_library_without_memory_says_nothing_of_the_images(tmp_path):
    fault = library_fault("elastix", "Failed to allocate memory for image", tmp_path)
    assert type(fault) is ProcessLostError


def test_a_library_on_a_full_disk_says_nothing_of_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 0))
    assert type(library_fault("elastix", "anything", tmp_path)) is StoreError


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (9, "it was killed by signal 9 (SIGKILL); memory may have run out"),
        (7, "it was killed by signal 7 (SIGBUS)"),
        (40, "it was killed by signal 40"),
    ],
)
def test_a_killed_process_is_told_by_its_signal(number, sentence):
    assert death_by_signal("it", number).message == sentence
