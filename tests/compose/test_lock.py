"""The lock file: what may be installed, at the tested versions, with hashes."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import distributions

import pytest
from deploy import lock
from deploy.install import prefer_wheels
from deploy.lock import (
    CONSTRAINTS,
    ENVIRONMENTS,
    LOCK,
    OF_THE_SITE,
    TOOLS,
    Locked,
    accept_torch,
    ask,
    asked_of_tools,
    check_wheels,
    choose,
    closure,
    normalise,
    parse_lock,
    read_lock,
)

from tests.compose.containers import PROJECT

CHALLENGE = PROJECT / "deploy" / "grand-challenge" / "Dockerfile"


@pytest.fixture(scope="module")
def locked():
    return parse_lock(LOCK.read_text())


def test_a_package_that_ships_is_locked_at_the_tested_version(locked):
    tested = {name: each.version for name, each in _constraints().items()}
    shipped = {
        name: each.version
        for name, each in locked.items()
        if each.environments & {"api", "bridge", "challenge", "registration", "worker"}
        and (name == "torch" or not OF_THE_SITE.match(name))
    }
    assert len(shipped) > 60
    assert shipped.items() <= tested.items()
    assert all(each.hashes for each in locked.values())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_has_all_that_its_distributions_bring(locked, environment):
    needed = closure(ask(ENVIRONMENTS[environment]))
    assert needed
    assert needed == {
        name
        for name, each in locked.items()
        if environment in each.environments
        and (name == "torch" or not OF_THE_SITE.match(name))
    }


@pytest.mark.parametrize("environment", ["dev", *TOOLS])
def test_the_tools_are_locked_with_all_that_they_bring(locked, environment):
    needed = closure(asked_of_tools()[environment])
    assert needed
    assert needed == {n for n, e in locked.items() if environment in e.environments}


def test_this_environment_is_what_is_locked(locked):
    """`make setup` installs nothing else; tests and images have the same versions."""
    installed = {normalise(d.metadata["Name"]): d.version for d in distributions()}
    odd = {
        name: (version, locked[name].version)
        for name, version in installed.items()
        if name in locked and version.partition("+")[0] != locked[name].version
    }
    assert len(installed) > 60
    assert odd == {}


def test_the_api_can_check_tokens_and_only_tests_have_tools(locked):
    assert {"api", "setup"} <= locked["pyjwt"].environments
    assert locked["pytest"].environments == {"dev"}
    assert "worker" in locked["torch"].environments
    assert "api" not in locked["torch"].environments


def test_every_dockerfile_installs_by_hash_alone():
    paths = [*PROJECT.glob("services/*/Dockerfile"), CHALLENGE]
    assert len(paths) == 4
    for path in paths:
        recipe = path.read_text().replace("\\\n", " ")
        installs = re.findall(r"python -m pip [^&\n]*", recipe)
        assert len(installs) >= 3
        assert "deploy/install.py" in recipe
        for each in installs:
            assert " check" in each or "--no-deps" in each
            assert "--no-build-isolation" in each or " wheel " not in each


def test_an_environment_that_is_not_locked_is_refused(locked):
    with pytest.raises(ValueError, match="no environment 'lab'"):
        choose(locked, ["lab"])


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    def package(name: str, content: bytes) -> str:
        found = hashlib.sha256(content).hexdigest()
        return f"{name}==1 \\\n    --hash=sha256:{found}\n    # for worker\n"

    text = package("A.b", b"whole") + package("torch", b"the index's")
    (tmp_path / "ours.txt").write_text(text)
    monkeypatch.setattr(lock, "LOCK", tmp_path / "ours.txt")
    (tmp_path / "a_b-1-py3-none-any.whl").write_bytes(b"whole")
    return tmp_path


def test_wheels_that_are_locked_files_are_sound(wheels, capsys):
    (wheels / "c-2-py3-none-any.whl").write_bytes(b"unknown")
    assert check_wheels(wheels)
    assert "c-2-py3-none-any.whl: not in" in capsys.readouterr().out


def test_only_wheels_that_are_asked_for_are_read(wheels):
    (wheels / "c-2-py3-none-any.whl").mkdir()  # reading it would fail
    assert check_wheels(wheels)
    accept_torch([wheels], wheels)
    assert prefer_wheels({"a-b": read_lock(wheels)["a-b"]}, [wheels])


def test_a_wheel_with_another_content_is_named(wheels, capsys):
    (wheels / "a_b-1-py3-none-any.whl").write_bytes(b"other")
    assert not check_wheels(wheels)
    assert "a_b-1-py3-none-any.whl has SHA-256" in capsys.readouterr().err


def test_a_build_of_torch_is_refused_until_the_site_accepts_it(wheels):
    (wheels / "torch-1-py3-none-any.whl").write_bytes(b"the site's")
    assert not check_wheels(wheels)
    accept_torch([wheels], wheels)
    assert check_wheels(wheels)
    assert len(read_lock(wheels)["torch"].hashes) == 2
    assert choose(read_lock(wheels), ["worker"]).keys() == {"a-b", "torch"}


def test_what_a_site_accepts_in_another_version_replaces_ours(wheels):
    (wheels / "lock.txt").write_text(f"torch==2 \\\n    --hash=sha256:{'0' * 64}\n")
    found = read_lock(wheels)["torch"]
    assert (found.version, found.hashes) == ("2", frozenset({"0" * 64}))
    assert found.environments == {"worker"}


def test_only_torch_is_accepted_without_being_asked(wheels):
    (wheels / "a_b-1-py3-none-any.whl").write_bytes(b"other")
    accept_torch([wheels], wheels)
    assert not check_wheels(wheels)


def test_a_locked_wheel_of_a_folder_is_taken_before_an_indexs(wheels):
    both = Locked("1", frozenset({hashlib.sha256(b"whole").hexdigest(), "0" * 64}))
    chosen = prefer_wheels({"a-b": both, "c": both}, [wheels])
    assert chosen["a-b"].hashes == both.hashes - {"0" * 64}
    assert chosen["c"] == both


@pytest.mark.parametrize("tags", ["cp39-cp39", "cp27-cp27m", "py2-none"])
def test_a_wheel_for_another_python_is_passed_over(wheels, tags):
    (wheels / "a_b-1-py3-none-any.whl").rename(wheels / f"a_b-1-{tags}-any.whl")
    both = Locked("1", frozenset({hashlib.sha256(b"whole").hexdigest(), "0" * 64}))
    assert prefer_wheels({"a-b": both}, [wheels]) == {"a-b": both}


def _constraints() -> dict[str, Locked]:
    return parse_lock(CONSTRAINTS.read_text())
