import pytest

from hanseg_registration.engines.parameter_maps import FOLDER, load_parameters
from hanseg_shared.errors import OptionError


@pytest.mark.parametrize(
    ("name", "transform"),
    [
        ("rigid", "EulerTransform"),
        ("again", "EulerTransform"),
        ("thorough", "EulerTransform"),
        ("polish", "EulerTransform"),
        ("affine", "AffineTransform"),
    ],
)
def test_the_built_in_maps_name_their_transform(name, transform):
    assert load_parameters(name)["Transform"] == (transform,)


@pytest.mark.parametrize("name", ["rigid", "again", "thorough", "polish", "affine"])
def test_the_built_in_maps_are_reproducible(name):
    parameters = load_parameters(name)
    assert parameters["RandomSeed"]
    assert parameters["NewSamplesEveryIteration"] == ("true",)


def test_a_folder_of_a_site_replaces_the_built_in_maps(tmp_path):
    text = (FOLDER / "rigid.txt").read_text()
    changed = text.replace(
        "(MaximumNumberOfIterations 100 100 300)", "(MaximumNumberOfIterations 7)"
    )
    (tmp_path / "rigid.txt").write_text(changed)
    found = load_parameters("rigid", tmp_path)
    assert found["MaximumNumberOfIterations"] == ("7",)


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"no elastix parameters at .*rigid\.txt"):
        load_parameters("rigid", tmp_path)


def test_a_map_that_elastix_cannot_read_is_refused(tmp_path):
    (tmp_path / "rigid.txt").write_text("(Transform EulerTransform\n")
    with pytest.raises(OptionError, match=r"rigid\.txt"):
        load_parameters("rigid", tmp_path)


def test_a_text_that_is_no_map_is_refused(tmp_path):
    (tmp_path / "rigid.txt").write_text("// nothing here\n")
    with pytest.raises(OptionError, match="names no Transform"):
        load_parameters("rigid", tmp_path)
