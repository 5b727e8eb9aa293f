from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import pytest
import torch

from hanseg_segmentation.inference import self_test
from hanseg_segmentation.inference.network_engines import (
    Engine,
    EngineName,
    EngineOptions,
)
from hanseg_segmentation.inference.self_test import (
    agreement,
    choose_engine,
    phantom_tile,
)
from hanseg_segmentation.packages.package import Channel
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from tests.inference.scenes import package, threshold_network

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
FP32, BF16 = EngineName.EAGER_FP32, EngineName.EAGER_BF16
OPENVINO = EngineName.OPENVINO_FP32


@dataclass
class Machine:
    """Engines that take the seconds they are told, by a clock that only they move."""

    seconds: dict[EngineName, float]
    answers: dict[EngineName, Callable[[torch.Tensor], torch.Tensor]] = field(
        default_factory=dict
    )
    now: float = 0.0
    made: list[EngineName] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def candidates(self, *_) -> tuple[EngineName, ...]:
        return tuple(self.seconds)

    def make(self, name: EngineName, network, plan) -> Engine:
        self.made.append(name)

        def engine(tiles):
            self.now += self.seconds[name]
            return self.answers.get(name, right)(tiles)

        return engine


def right(tiles: torch.Tensor) -> torch.Tensor:
    """Call everything that is bright channel 1."""
    bright = tiles[:, :1]
    return torch.cat([torch.zeros_like(bright), bright, torch.zeros_like(bright)], 1)


def wrong(tiles: torch.Tensor) -> torch.Tensor:
    return right(tiles).roll(1, dims=1)


def broken(tiles: torch.Tensor) -> torch.Tensor:
    return right(tiles) * torch.nan


def failing(tiles: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("illegal instruction")


@pytest.fixture(autouse=True)
def tile(monkeypatch):
    """Noise, half of which is bright; a phantom is not needed for most tests."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((1, 3, 16, 16, 16), generator=generator)
    monkeypatch.setattr(self_test, "phantom_tile", lambda _: noise)
    return noise


@pytest.fixture
def run(monkeypatch):
    def choose(machine: Machine, **options):
        monkeypatch.setattr(self_test, "candidates", machine.candidates)
        monkeypatch.setattr(self_test, "make_engine", machine.make)
        return choose_engine(
            package(),
            [threshold_network(), threshold_network()],
            device=CPU,
            options=EngineOptions(**options),
            clock=machine.clock,
        )

    return choose


def test_the_fastest_engine_is_taken_for_every_fold(run):
    chosen = run(Machine({FP32: 0.3, BF16: 0.1, OPENVINO: 0.2}))
    assert chosen.name is BF16
    assert len(chosen.engines) == 2
    assert chosen.choice.seconds_per_tile == pytest.approx(0.1)
    assert chosen.choice.tried == {
        "eager-fp32": 0.3,
        "eager-bf16": 0.1,
        "openvino-fp32": 0.2,
    }


@pytest.mark.parametrize("answer", [wrong, broken, failing])
def test_a_fast_engine_that_answers_wrongly_is_not_taken(run, answer):
    chosen = run(Machine({FP32: 0.3, BF16: 0.1}, {BF16: answer}))
    assert chosen.name is FP32
    assert chosen.choice.agreement == 1.0


def test_an_engine_in_the_wrong_on_a_few_voxels_will_do_in_rapid_mode_alone(run):
    def nearly(tiles):
        logits = right(tiles)
        logits[..., 0, 0, :] = logits[..., 0, 0, :].roll(1, dims=1)
        return logits

    seconds, answers = {FP32: 0.3, OPENVINO: 0.1}, {OPENVINO: nearly}
    assert run(Machine(seconds, answers), mode=InferenceMode.RAPID).name is OPENVINO
    assert run(Machine(seconds, answers)).name is FP32
    assert run(Machine(seconds, answers), mode=InferenceMode.EXACT).name is FP32


def test_a_model_that_is_never_finite_is_refused(run):
    with pytest.raises(ModelError, match="not finite for a simulated patient"):
        run(Machine({FP32: 0.3}, {FP32: broken}))


def test_an_engine_that_would_take_long_to_prepare_is_left_out(run):
    chosen = run(Machine({FP32: 72.0, OPENVINO: 36.0}))
    assert chosen.name is FP32
    assert OPENVINO not in chosen.choice.tried


def test_the_other_precision_is_tried_on_the_busiest_machine(run):
    assert run(Machine({FP32: 54.0, BF16: 18.0})).name is BF16


def test_an_engine_that_the_site_named_is_tried_however_long_it_takes(run):
    assert run(Machine({FP32: 50.0, OPENVINO: 40.0}), library="openvino").name is (
        OPENVINO
    )


def test_a_choice_is_kept_and_not_made_again(run, tmp_path):
    run(Machine({FP32: 0.3, BF16: 0.1}), cache=tmp_path)
    again = Machine({FP32: 0.3, BF16: 0.1})
    assert run(again, cache=tmp_path).name is BF16
    assert again.made == [BF16, BF16]
    assert again.now == 0.0


@pytest.mark.parametrize("content", [b"", b"{", b'{"engine": "abacus"}', b"\xff\x00"])
def test_a_damaged_choice_is_made_anew(run, tmp_path, content):
    run(Machine({FP32: 0.3, BF16: 0.1}), cache=tmp_path)
    (kept,) = tmp_path.glob("*.json")
    kept.write_bytes(content)
    assert run(Machine({FP32: 0.1, BF16: 0.3}), cache=tmp_path).name is FP32
    assert b'"engine": "eager-fp32"' in kept.read_bytes()


def test_a_chosen_engine_that_works_no_more_is_chosen_anew(run, tmp_path):
    run(Machine({FP32: 0.3, OPENVINO: 0.1}), cache=tmp_path)

    class Without(Machine):
        def make(self, name, network, plan):
            if name is OPENVINO:
                raise ModelError("engine openvino-fp32 cannot run this network")
            return super().make(name, network, plan)

    assert run(Without({FP32: 0.3}), cache=tmp_path).name is FP32


def test_another_number_of_threads_is_another_choice(run, tmp_path):
    run(Machine({FP32: 0.3, BF16: 0.1}), cache=tmp_path, threads=1)
    assert run(Machine({FP32: 0.1, BF16: 0.3}), cache=tmp_path, threads=2).name is FP32


def test_a_cache_that_cannot_be_written_is_done_without(run, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert run(Machine({FP32: 0.3}), cache=tmp_path / "file").name is FP32
    assert "not kept" in caplog.text


def test_agreement_counts_the_voxels_that_either_calls_an_organ():
    reference = torch.zeros(10, 10, 10, dtype=torch.long)
    reference[:5] = 1
    other = reference.clone()
    other[5:6, :1] = 1
    assert agreement(other, reference) == pytest.approx(500 / 510)


def test_without_organs_all_voxels_count():
    nothing = torch.zeros(10, 10, 10, dtype=torch.long)
    speck = nothing.clone()
    speck[0, 0, 0] = 1
    assert agreement(speck, nothing) == pytest.approx(0.999)


def test_the_test_shows_a_head_in_the_networks_own_axes():
    normal = self_test.__dict__["phantom_tile"]  # replaced by the fixture above
    assert normal is not phantom_tile
    plan = package(patch=(32, 24, 40), spacing_mm=(4.0, 4.0, 6.0))
    tile = phantom_tile(plan)
    assert tile.shape == (1, 3, 32, 24, 40)
    ct = tile[0, 0]
    assert float(ct[:, 12, 20].mean()) > float(ct[:, 0, 0].mean())
    assert 0 < float((ct > 2).float().mean()) < 0.5  # bone above 200 HU
    assert torch.isfinite(tile).all()


def test_the_test_knows_every_channel_a_network_can_see():
    names = get_args(Channel)
    plan = package(patch=(16, 16, 16)).model_copy(update={"channels": names})
    tile = phantom_tile(plan)
    assert tile.shape == (1, len(names), 16, 16, 16)
    assert torch.isfinite(tile).all()
