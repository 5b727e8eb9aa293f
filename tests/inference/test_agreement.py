import numpy as np
import pytest
import torch

from hanseg_segmentation.inference.agreement import Agreement

pytestmark = pytest.mark.torch


def answers(*rows: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(row, dtype=torch.uint8) for row in rows]


def test_two_answers_agree_by_their_dice():
    agreement = Agreement(3)
    agreement.add(answers([1, 1, 1, 0, 2], [1, 1, 0, 0, 2]))
    assert agreement.of_channels().tolist() == pytest.approx([2 / 3, 4 / 5, 1.0])


def test_tiles_are_pooled():
    agreement = Agreement(2)
    agreement.add(answers([1, 1], [1, 1]))
    agreement.add(answers([1, 0], [0, 1]))
    assert agreement.of_channels()[1] == pytest.approx(4 / 6)


def test_three_answers_agree_by_the_mean_of_their_pairs():
    rows = [[1, 1, 0], [1, 0, 0], [1, 1, 0]]
    three = Agreement(2)
    three.add(answers(*rows))
    pairs = Agreement(2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pairs.add(answers(rows[i], rows[j]))
    assert three.of_channels() == pytest.approx(pairs.of_channels())


def test_one_answer_says_nothing():
    agreement = Agreement(2)
    agreement.add(answers([0, 1]))
    assert np.isnan(agreement.of_channels()).all()


def test_a_channel_that_nobody_voted_for_has_no_agreement():
    agreement = Agreement(3)
    agreement.add(answers([0, 1], [0, 1]))
    assert np.isnan(agreement.of_channels()[2])


def test_the_number_of_answers_must_not_change():
    agreement = Agreement(2)
    agreement.add(answers([0], [0]))
    with pytest.raises(ValueError, match="3 answers after 2"):
        agreement.add(answers([0], [0], [0]))
