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


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("plans.json: \0 is {}", r"plans.json: \x00 is {}"),
        ("the label '\u202etxt.exe'", r"the label '\u202etxt.exe'"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("half a letter \ud800", r"half a letter \ud800"),
        ("Größe 5 µm", "Größe 5 µm"),
        ("cases:\n  one", "cases:\n  one"),
    ],
)
def test_what_cannot_be_seen_in_a_message_is_spelt_out(sent, said):
    assert HansegError(sent).message == said
    assert str(pickle.loads(pickle.dumps(HansegError(sent)))) == said


def test_a_message_that_repeats_a_long_word_is_cut():
    message = HansegError("A" * 1_000_000).message
    assert len(message) == errors.LONGEST_MESSAGE
    assert message.endswith("A ...")
