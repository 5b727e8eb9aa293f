"""The container's program, from the input folder to files and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hanseg_challenge import entry
from hanseg_challenge.cases import ChallengeCase
from hanseg_challenge.entry import AT_FAULT, DONE, FAILED, Run, StoppedError
from hanseg_challenge.models import choose_model
from hanseg_challenge.plan import Answer, Order
from hanseg_lab.quick_model import NAME, write_quick_model
from hanseg_shared.documents import TransformKind
from hanseg_shared.errors import ModelError
from hanseg_shared.settings import OF_CHALLENGE

BAD_IMAGE = Answer(error="a_CT.mha: no image", at_fault=True)
BROKEN = Answer(error="the model cannot run")


def cases(names: str) -> list[ChallengeCase]:
    return [ChallengeCase(Path(f"{n}_CT.mha"), Path(f"{n}.mha")) for n in names]


class FakeContour:
    """Answers orders in turn, and writes the label map where there is no error."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.orders: list[Order] = []

    def __call__(self, order: Order) -> Answer:
        self.orders.append(order)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer.error is None:
            order.label_map.write_text("labels")
        return answer


def run(output: Path, carry_out: FakeContour) -> Run:
    (output / "images/head_neck_oar").mkdir(parents=True, exist_ok=True)
    return Run(output, Path("model"), TransformKind.AFFINE, 880.0, carry_out)


def results(output: Path) -> list[dict[str, Any]]:
    return json.loads((output / "results.json").read_text())


def test_every_case_has_its_label_map_and_its_entry(tmp_path):
    fake = FakeContour(Answer(organs=30), Answer(organs=30))
    assert run(tmp_path, fake).contour(cases("ab")) == DONE
    names = sorted(p.name for p in (tmp_path / "images/head_neck_oar").iterdir())
    assert names == ["a_seg.mha", "b_seg.mha"]
    assert results(tmp_path)[0] == {
        "outputs": [{"type": "metaio_image", "filename": "a_seg.mha"}],
        "inputs": [
            {"type": "metaio_ct_image", "filename": "a_CT.mha"},
            {"type": "metaio_mrt1_image", "filename": "a.mha"},
        ],
        "error_messages": [],
    }


def test_a_case_that_fails_stops_none_of_the_others(tmp_path):
    fake = FakeContour(BROKEN, Answer())
    assert run(tmp_path, fake).contour(cases("ab")) == FAILED
    first, second = results(tmp_path)
    assert (first["outputs"], first["error_messages"]) == ([], [BROKEN.error])
    assert second["outputs"]


@pytest.mark.parametrize(
    ("answers", "status"),
    [([BAD_IMAGE, Answer()], AT_FAULT), ([BAD_IMAGE, BROKEN], FAILED)],
)
def test_the_exit_status_is_that_of_the_worst_case(tmp_path, answers, status):
    assert run(tmp_path, FakeContour(*answers)).contour(cases("ab")) == status


def test_a_label_map_of_an_earlier_run_is_no_answer(tmp_path):
    work = run(tmp_path, FakeContour(BROKEN))
    old = tmp_path / "images/head_neck_oar/a_seg.mha"
    old.write_text("old")
    work.contour(cases("a"))
    assert not old.exists()


def test_what_was_not_finished_is_written_down_as_such(tmp_path):
    fake = FakeContour(Answer(), StoppedError())
    assert run(tmp_path, fake).contour(cases("abc")) == FAILED
    done, *others = results(tmp_path)
    assert done["error_messages"] == []
    assert all("was not finished" in each["error_messages"][0] for each in others)


def test_each_case_has_a_scratch_folder_of_its_own_for_its_time(tmp_path):
    fake = FakeContour(Answer(), Answer())
    run(tmp_path, fake).contour(cases("ab"))
    first, second = (order.scratch for order in fake.orders)
    assert first != second
    assert not first.exists()


def start(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(entry.main, [str(each) for each in arguments])
    return done.exit_code, done.output


def test_an_input_that_is_refused_is_written_down_too(tmp_path):
    status, _ = start("--input", tmp_path, "--output", tmp_path / "out")
    (refusal,) = results(tmp_path / "out")
    assert status == AT_FAULT
    assert refusal["outputs"] == refusal["inputs"] == []
    assert "there is no CT" in refusal["error_messages"][0]


def test_a_model_that_is_not_there_is_refused(tmp_path):
    status, _ = start("--input", tmp_path, "--output", tmp_path, "--model", "other")
    assert status == AT_FAULT
    assert "no model is called 'other'" in results(tmp_path)[0]["error_messages"][0]


def test_an_output_folder_that_cannot_be_made_ends_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    status, _ = start("--input", tmp_path, "--output", tmp_path / "file")
    assert status == AT_FAULT


def test_every_variable_of_the_program_is_known_to_the_settings():
    named = {each.envvar for each in entry.main.params if each.envvar}
    assert named == OF_CHALLENGE


def chosen(folder: Path, name: str | None = None) -> str:
    return choose_model(name, uploaded=folder, installed=None).package.name


def test_without_an_upload_the_default_model_runs(tmp_path):
    assert chosen(tmp_path / "nothing") == "default"


def test_an_uploaded_model_runs_without_being_named(tmp_path):
    package = write_quick_model(tmp_path)
    assert chosen(tmp_path) == chosen(package) == NAME
    assert chosen(tmp_path, "default") == "default"


def test_of_several_uploaded_models_one_must_be_named(tmp_path):
    write_quick_model(tmp_path)
    write_quick_model(tmp_path, name="other")
    with pytest.raises(ModelError, match="name one of other, quick in"):
        chosen(tmp_path)
    assert chosen(tmp_path, "other") == "other"


def test_an_uploaded_model_that_is_damaged_is_not_passed_over(tmp_path):
    package = write_quick_model(tmp_path)
    (package / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be used"):
        chosen(tmp_path)
