"""Facts about the tree of errors."""

from __future__ import annotations

import inspect
import pickle

import pytest

from hanseg_shared import errors
from hanseg_shared.errors import HansegError

EVERY = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, HansegError)
]


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.__name__)
def test_an_error_survives_a_pickle(each):
    error = pickle.loads(pickle.dumps(each("spacing must be positive, got 0")))
    assert type(error) is each
    assert str(error) == error.message == "spacing must be positive, got 0"


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.__name__)
def test_an_error_says_in_a_sentence_when_it_is_raised(each):
    assert each.__doc__
    assert each.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.__name__)
def test_the_module_draws_every_error(each):
    assert errors.__doc__
    assert each.__name__ in errors.__doc__


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.__name__)
def test_every_error_but_the_base_is_named_error(each):
    assert each.__name__.endswith("Error")


def test_what_a_caller_did_wrong_is_an_input_error():
    for each in (errors.ImageError, errors.GridMismatchError, errors.OptionError):
        assert issubclass(each, errors.InputError)
    assert not issubclass(errors.ServiceUnavailableError, errors.InputError)
