"""The simulated patient of the self-test is the one that the phantom makes."""

import numpy as np

from hanseg_lab.phantom.self_test_case import make_self_test_case, write_self_test_case
from hanseg_segmentation.inference import self_test_case
from hanseg_segmentation.inference.self_test_case import read_self_test_case


def test_the_case_that_ships_is_the_phantoms():
    made, shipped = make_self_test_case(), read_self_test_case()
    assert np.array_equal(made.ct.array, shipped.ct.array)
    assert np.array_equal(made.t1.array, shipped.t1.array)
    assert np.allclose(made.centre, shipped.centre)
    assert made.ct.grid == shipped.ct.grid


def test_a_written_case_is_read_as_it_was(tmp_path, monkeypatch):
    write_self_test_case(tmp_path / self_test_case.FILE)
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    again = read_self_test_case.__wrapped__()
    assert np.array_equal(again.ct.array, read_self_test_case().ct.array)
