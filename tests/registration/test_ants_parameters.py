import pytest

from hanseg_registration.engines.ants_parameters import Sampling, load_ants_parameters
from hanseg_registration.engines.interface import Step
from hanseg_registration.engines.parameter_maps import FOLDER
from hanseg_shared.errors import OptionError


@pytest.fixture
def changed(tmp_path):
    """Returns a folder whose file for the rigid step has one text replaced."""
    text = (FOLDER / "ants-rigid.toml").read_text()

    def change(old: str, new: str):
        assert old in text
        (tmp_path / "ants-rigid.toml").write_text(text.replace(old, new, 1))
        return tmp_path

    return change


@pytest.mark.parametrize("step", list(Step))
def test_the_built_in_files_end_at_full_sharpness(step):
    parameters = load_ants_parameters(step)
    assert parameters.levels[-1].shrink == 1
    assert parameters.sampling is Sampling.REGULAR


def test_a_file_becomes_options_of_antsregistration(changed):
    found = load_ants_parameters(Step.RIGID, changed("bins = 32", "bins = 48"))
    options = found.arguments()
    assert found.metric("a", "b") == "Mattes[a,b,1,48,Regular,0.2]"
    assert options[options.index("--shrink-factors") + 1] == "4x2x1"
    assert options[options.index("--smoothing-sigmas") + 1] == "4x2x1mm"
    assert options[options.index("--convergence") + 1] == "[200x100x100,1e-07,10]"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"no ants parameters at .*ants-polish\.toml"):
        load_ants_parameters(Step.POLISH, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bins = 32", "bins = 2", "bins: Input should be greater than or equal to 8"),
        ("seed = 20230", "seed = 0", "seed: "),
        (
            'sampling = "regular"',
            'sampling = "dense"',
            "sampling: Input should be 'regular' or 'random'",
        ),
        ("shrink = 4", "shrink = 0.5", r"levels\.0\.shrink: "),
        ("bins = 32", "bin = 32", "bins: Field required"),
        ("seed = 20230", "seed = 20230\nhat = 1", "hat: Extra inputs"),
        ("bins = 32", "bins", "is no TOML"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(changed, old, new, message):
    with pytest.raises(OptionError, match=message):
        load_ants_parameters(Step.RIGID, changed(old, new))
