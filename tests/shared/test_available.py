"""What a job may ask of this version, and of this installation."""

from pathlib import Path

import pytest

from hanseg_shared import available
from hanseg_shared.available import require_available, require_installed
from hanseg_shared.documents import Backend, TransformKind
from hanseg_shared.errors import OptionError


@pytest.mark.parametrize("backend", list(Backend))
@pytest.mark.parametrize(
    "kind", [k for k in TransformKind if k is not TransformKind.DEFORMABLE]
)
def test_every_backend_does_the_kinds_without_a_deformation(kind, backend):
    require_available(kind, backend)


def test_ants_is_not_asked_for_deformations():
    with pytest.raises(OptionError, match="not available with the backend ants"):
        require_available(TransformKind.DEFORMABLE, Backend.ANTS)


def test_elastix_deforms():
    require_available(TransformKind.DEFORMABLE, Backend.ELASTIX)


def test_elastix_is_always_installed(monkeypatch):
    monkeypatch.setattr(available, "find_spec", lambda _: None)
    require_installed(Backend.ELASTIX, None)


def test_without_antspyx_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(available, "find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r"not installed.*hanseg-registration\[ants"):
        require_installed(Backend.ANTS, None)


def test_a_named_interpreter_is_taken_on_trust(monkeypatch):
    monkeypatch.setattr(available, "find_spec", lambda _: None)
    require_installed(Backend.ANTS, Path("/on/another/machine/python"))
