"""Every error of the product is a problem document of its own kind."""

from __future__ import annotations

import pickle

import pytest

from hanseg_shared import errors, problems
from hanseg_shared.problems import KINDS, PREFIX, ProblemKind, kind_of, problem_of


def every_class(base: type[errors.HansegError]) -> list[type[errors.HansegError]]:
    """The class and what is derived from it, in the product's own module."""
    children = [
        found
        for child in base.__subclasses__()
        if child.__module__ == errors.__name__
        for found in every_class(child)
    ]
    return [base, *children]


CLASSES = every_class(errors.HansegError)

EVERY_KIND = [
    *KINDS.values(),
    *(kind for kind in vars(problems).values() if isinstance(kind, ProblemKind)),
]

STATUS = {
    errors.InputError: 422,
    errors.ImageTooLargeError: 413,
    errors.UnsafeImageError: 422,
    errors.OptionError: 422,
    errors.JobNotFoundError: 404,
    errors.JobStateError: 409,
    errors.JobCancelledError: 409,
    errors.LeaseLostError: 409,
    errors.ServiceUnavailableError: 503,
    errors.StoreError: 500,
    errors.ModelError: 500,
    errors.RegistrationError: 500,
    errors.HansegError: 500,
}


def test_every_error_class_has_a_kind():
    assert set(CLASSES) == set(KINDS)


def test_every_kind_has_a_type_and_a_title_of_its_own():
    distinct = set(EVERY_KIND)

    assert len({kind.type for kind in distinct}) == len(distinct)
    assert len({kind.title for kind in distinct}) == len(distinct)


@pytest.mark.parametrize(
    "kind",
    sorted(set(EVERY_KIND), key=lambda kind: kind.slug),
    ids=lambda kind: kind.slug,
)
def test_every_kind_is_a_urn_a_sentence_and_an_error_status(kind):
    assert kind.type == f"{PREFIX}{kind.slug}"
    assert kind.slug.replace("-", "").isalpha()
    assert kind.slug.islower()
    assert kind.title[0].isupper()
    assert 400 <= kind.status < 600


@pytest.mark.parametrize(("cls", "status"), STATUS.items())
def test_statuses_say_whose_fault_it_is(cls, status):
    assert kind_of(cls("x")).status == status


@pytest.mark.parametrize("cls", [c for c in CLASSES if c is not errors.InputError])
def test_what_is_the_callers_fault_is_never_a_500(cls):
    if issubclass(cls, errors.InputError):
        assert kind_of(cls("x")).status < 500


def test_the_document_tells_what_happened_and_where():
    error = errors.OptionError("registration has no value 'elastic'")
    problem = problem_of(error, instance="/v1/jobs/1")

    assert problem.type == "urn:hanseg:problem:bad-option"
    assert problem.detail == "registration has no value 'elastic'"
    assert problem.instance == "/v1/jobs/1"
    assert problem.status == 422


def test_an_error_of_a_service_has_the_kind_of_its_nearest_class():
    class TooDarkError(errors.ImageContentError):
        pass

    assert kind_of(TooDarkError("x")) is KINDS[errors.ImageContentError]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_the_way_through_a_queue(cls):
    error = pickle.loads(pickle.dumps(cls("the spacing is 0")))

    assert type(error) is cls
    assert error.message == "the spacing is 0"
