"""What becomes of MRs that lie in another frame than their CT."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.training.datasets.dataset import DatasetCase
from hanseg_lab.training.datasets.find import find_dataset
from hanseg_lab.training.datasets.registered_mr import (
    RegistrationPlan,
    read_registered_mr,
    register_mr,
)
from hanseg_lab.training.prepare import case_sample
from hanseg_shared.documents import MrVerdict, TransformKind
from hanseg_shared.errors import InputError, RegistrationError
from tests.training.layouts import write_han_seg
from tests.training.registrations import write_result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_han_seg(tmp_path_factory.mktemp("data") / "han-seg")


@pytest.fixture
def case(data: Path) -> DatasetCase:
    return find_dataset(data).cases[0]


class FakeRegister:
    """A registration that ends with the verdict it was made for."""

    def __init__(self, case: DatasetCase, verdict: MrVerdict) -> None:
        self.case, self.verdict = case, verdict
        self.calls: list[tuple[Path, Path, TransformKind]] = []

    def __call__(self, ct: Path, mr: Path, out: Path, plan: RegistrationPlan) -> None:
        self.calls.append((ct, mr, plan.kind))
        write_result(out, self.case.read_ct(), verdict=self.verdict)


def test_an_mr_is_registered_once(case, tmp_path: Path):
    register = FakeRegister(case, MrVerdict.USED)
    plan = RegistrationPlan(kind=TransformKind.AFFINE)
    first, second = (
        register_mr(case, tmp_path, plan=plan, register=register) for _ in range(2)
    )
    assert first == second
    assert first.folder is not None
    assert register.calls == [(case.ct, case.mr, TransformKind.AFFINE)]


def test_another_kind_of_registration_is_another_result(case, tmp_path: Path):
    register = FakeRegister(case, MrVerdict.USED)
    for kind in (TransformKind.RIGID, TransformKind.AFFINE):
        register_mr(case, tmp_path, plan=RegistrationPlan(kind=kind), register=register)
    assert len(register.calls) == 2


def test_a_case_with_a_rejected_mr_trains_as_ct_alone_and_says_so(case, tmp_path: Path):
    register = FakeRegister(case, MrVerdict.REJECTED)
    found = register_mr(case, tmp_path, plan=RegistrationPlan(), register=register)
    assert found.folder is None
    assert "trains as CT alone" in str(found.finding)
    assert "as the test wants it" in str(found.finding)


def test_results_of_a_batch_are_used(case, tmp_path: Path):
    write_result(tmp_path / case.name, case.read_ct(), verdict=MrVerdict.USED)
    plan = RegistrationPlan(results=tmp_path)
    found = register_mr(case, tmp_path / "cache", plan=plan)
    assert found.folder == tmp_path / case.name


def test_results_that_lack_a_case_are_refused(case, tmp_path: Path):
    with pytest.raises(InputError, match="run hanseg batch"):
        register_mr(case, tmp_path, plan=RegistrationPlan(results=tmp_path))


def test_a_case_without_mr_needs_no_registration(data: Path, tmp_path: Path):
    case = find_dataset(data).cases[1]
    found = register_mr(case, tmp_path, plan=RegistrationPlan())
    assert (found.folder, found.finding) == (None, None)


def test_a_real_mr_is_known_only_where_it_has_data(case, tmp_path: Path):
    folder = write_result(tmp_path / "a", case.read_ct(), verdict=MrVerdict.USED)
    sample = case_sample(
        case, spacing=(8.0, 8.0, 8.0), registered=read_registered_mr(folder)
    )
    assert sample.mr is not None
    assert sample.field_of_view is not None
    assert sample.field_of_view[0].all()
    assert not sample.field_of_view[-1].any()
    seen = sample.mr[sample.field_of_view].astype(float)
    assert np.percentile(seen, 99) == pytest.approx(1, abs=0.01)
    assert not sample.mr[~sample.field_of_view].any()
    sample.save(tmp_path / "sample.npz")
    again = type(sample).load(tmp_path / "sample.npz")
    assert again.field_of_view is not None
    assert (again.field_of_view == sample.field_of_view).all()


@pytest.mark.elastix
def test_the_services_registration_aligns_a_phantoms_mr(tmp_path: Path):
    case = find_dataset(write_han_seg(tmp_path / "data", seeds=(1,))).cases[0]
    found = register_mr(case, tmp_path / "cache", plan=RegistrationPlan())
    if found.folder is None:
        assert "trains as CT alone" in str(found.finding)
        return
    mr = read_registered_mr(found.folder)
    assert mr.mr.grid.is_same(case.read_ct().grid)


def test_a_failed_registration_is_reported(data: Path, tmp_path: Path):
    broken = Path(shutil.copytree(data, tmp_path / "data"))
    case = find_dataset(broken).cases[0]
    assert case.mr is not None
    case.mr.write_bytes(b"no image")
    with pytest.raises(RegistrationError, match=r"could not be registered: .*MR_T1"):
        register_mr(case, tmp_path / "cache", plan=RegistrationPlan())


def test_a_registration_that_fails_leaves_nothing_that_counts_as_a_result(
    case, tmp_path: Path
):
    def fail(*_: object) -> None:
        raise RegistrationError("out of time")

    plan = RegistrationPlan()
    with pytest.raises(RegistrationError, match="out of time"):
        register_mr(case, tmp_path, plan=plan, register=fail)
    register = FakeRegister(case, MrVerdict.USED)
    assert register_mr(case, tmp_path, plan=plan, register=register).folder
