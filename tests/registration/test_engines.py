"""What the pipeline makes of the poses that an engine finds, whichever engine it is."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from hanseg_registration.engines.ants import AntsEngine
from hanseg_registration.engines.backends import make_engine
from hanseg_registration.engines.elastix import ElastixEngine
from hanseg_registration.engines.interface import Step
from hanseg_registration.engines.parameter_maps import FOLDER
from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.geometry.motions import (
    apply,
    distances_mm,
    from_transform,
    translation,
)
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_registration.pipeline import register
from hanseg_registration.registration import Registration
from hanseg_shared.documents import Backend, MrVerdict, TransformKind
from hanseg_shared.errors import OptionError, RegistrationError
from tests.registration.conftest import Pair
from tests.registration.fakes import Answer, FakeEngine


def registered(
    pair: Pair, answer: Answer, kind: TransformKind = TransformKind.RIGID
) -> Registration:
    return register(pair.ct, pair.mr, kind=kind, engine=FakeEngine(answer))


def error_mm(found: Registration, pair: Pair) -> float:
    points = apply(
        translation(pair.ct.grid.centre),
        find_ct_head(centre_at_origin(pair.ct)).points(500),
    )
    motion = from_transform(found.transform)
    return float(distances_mm(motion, pair.mr_from_ct, points).mean())


def test_a_pose_that_both_runs_find_is_handed_out(pair, aligned):
    found = registered(pair, lambda *_: aligned.pose)
    assert found.report.verdict is MrVerdict.USED
    assert found.report.measures["agreement_mean_mm"] == 0.0
    assert error_mm(found, pair) < 1e-6


def test_runs_that_end_apart_are_rejected(pair, aligned):
    aside = aligned.pose @ translation((3.0, 0.0, 0.0))
    found = registered(pair, lambda _, __, seed: aside if seed else aligned.pose)
    assert found.report.verdict is MrVerdict.REJECTED
    assert found.report.measures["agreement_mean_mm"] == pytest.approx(3.0)


def test_runs_that_end_apart_are_made_once_more_thoroughly(pair, aligned):
    aside = aligned.pose @ translation((3.0, 0.0, 0.0))
    hasty = (Step.RIGID, Step.AGAIN)

    def answer(step, _, seed):
        return aside if seed and step in hasty else aligned.pose

    found = registered(pair, answer)
    assert found.report.verdict is MrVerdict.USED
    assert found.report.measures["agreement_mean_mm"] == 0.0


def test_an_engine_that_gives_up_is_a_verdict(pair):
    def fail(*_):
        raise RegistrationError("the library gave up: no samples")

    found = registered(pair, fail)
    assert found.report.verdict is MrVerdict.REJECTED
    assert found.report.reason == "MR rejected: the library gave up: no samples."


def test_an_affine_step_that_goes_astray_leaves_the_rigid_pose(pair, aligned):
    """5 mm off, as a library's own affine defaults end on such images."""
    scaled = aligned.pose @ np.diag([1.05, 1.0, 1.05, 1.0])

    def answer(step, start, seed):
        return scaled if step is Step.AFFINE else aligned.pose

    found = registered(pair, answer, TransformKind.AFFINE)
    assert found.report.measures["affine_kept"] == 0.0
    assert "The rigid pose is kept" in found.report.reason
    assert error_mm(found, pair) < 1e-6


def test_no_affine_step_is_tried_where_two_starts_do_not_agree(pair, aligned):
    aside = aligned.pose @ translation((3.0, 0.0, 0.0))

    def answer(step, _, seed):
        assert step is not Step.AFFINE
        return aside if seed else aligned.pose

    found = registered(pair, answer, TransformKind.AFFINE)
    assert found.report.verdict is MrVerdict.REJECTED
    assert found.report.measures["affine_kept"] == 0.0


def test_a_folder_that_lacks_a_map_is_refused_at_once(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "maps")
    (tmp_path / "maps" / "thorough.txt").unlink()
    with pytest.raises(OptionError, match=r"no elastix parameters at .*thorough\.txt"):
        make_engine(Backend.ELASTIX, parameters=tmp_path / "maps")


def test_so_is_one_that_lacks_a_file_of_ants(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "maps")
    (tmp_path / "maps" / "ants-thorough.toml").unlink()
    python = Path(sys.executable)
    with pytest.raises(OptionError, match=r"ants-thorough\.toml"):
        make_engine(Backend.ANTS, parameters=tmp_path / "maps", ants_python=python)


def test_a_backend_names_its_engine():
    python = Path(sys.executable)
    named = make_engine(Backend.ANTS, parameters=FOLDER, ants_python=python)
    assert named == AntsEngine(FOLDER, python)
    found = make_engine(Backend.ELASTIX, parameters=FOLDER)
    assert found == ElastixEngine(FOLDER)


def test_an_interpreter_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match=r"no interpreter /nowhere/python; install"):
        make_engine(Backend.ANTS, ants_python=Path("/nowhere/python"))


def test_the_report_names_the_backend_that_ran(pair, aligned):
    engine = FakeEngine(lambda *_: aligned.pose, Backend.ANTS)
    found = register(pair.ct, pair.mr, engine=engine)
    assert found.report.backend is Backend.ANTS
