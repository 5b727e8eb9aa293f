"""The service's containers under a project name of their own, driven by the CLI."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]

COMMAND_SECONDS = 120.0
"""Longest time of a command that neither builds nor waits for health."""


@dataclass(frozen=True, slots=True)
class Containers:
    """A Compose project.

    Attributes:
        name: The project's name, which keeps it apart from a real installation.
        variables: What `docker-compose.yml` reads beside the environment.
    """

    name: str
    variables: Mapping[str, str]

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a Compose command and return its output; fails with its errors."""
        return run(
            *("docker", "compose", "--project-name", self.name, *arguments),
            variables=self.variables,
            seconds=seconds,
        )

    def ids(self) -> dict[str, str]:
        """Return the containers' ids by service."""
        found = {}
        for service in self.compose("config", "--services").split():
            found[service] = self.compose("ps", "--quiet", service).strip()
        return found

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        found = json.loads(run("docker", "inspect", self.ids()[service]))
        return dict(found[0])

    def python(self, service: str, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in a service's container."""
        return subprocess.run(
            ["docker", "exec", self.ids()[service], "python", "-c", code],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


def run(
    *command: str,
    variables: Mapping[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
) -> str:
    """Run a command in the project's folder and return its output."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        last_lines = "\n".join(done.stderr.splitlines()[-30:])
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{last_lines}")
    return done.stdout


def answers(*command: str) -> bool:
    """Whether a command exists and ends well."""
    try:
        return not subprocess.run(
            command, capture_output=True, timeout=COMMAND_SECONDS, check=False
        ).returncode
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
