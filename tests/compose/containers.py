"""The service's containers under a project name of their own, driven by the CLI."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]

COMMAND_SECONDS = 120.0
"""Longest time of a command that neither builds nor waits for health."""

RECOVERY_SECONDS = 240.0
"""Longest time until a container that died is healthy again, on a small machine."""


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
        """Return the containers' ids by service, also of those that do not run."""
        label = "com.docker.compose"
        listed = run(
            *("docker", "ps", "--all", "--no-trunc", "--filter"),
            *(f"label={label}.project={self.name}", "--format"),
            f'{{{{.Label "{label}.service"}}}} {{{{.ID}}}}',
        )
        return dict(line.split() for line in listed.splitlines())

    def volumes(self) -> list[str]:
        """Return the names of the volumes that exist."""
        label = f"label=com.docker.compose.project={self.name}"
        return run("docker", "volume", "ls", "--quiet", "--filter", label).split()

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


def wait_until_healthy(
    containers: Containers, service: str, *, restarts: int = 0
) -> None:
    """Wait until a container is healthy that was restarted so many times."""
    limit = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < limit:
        now = containers.inspect(service)
        healthy = now["State"].get("Health", {}).get("Status") == "healthy"
        if healthy and now["RestartCount"] >= restarts:
            return
        time.sleep(1)
    pytest.fail(f"{service} is not healthy after {RECOVERY_SECONDS:.0f} s")


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
