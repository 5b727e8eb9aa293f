"""A frozen process does nothing, and goes on afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from hanseg_shared.stack.patience import cpu_seconds_of
from tests.freezing import frozen

BUSY = """
import threading

def work():
    while True:
        pass

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
print("busy", flush=True)
for line in iter(input, ""):
    print(line, flush=True)
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process of several threads that want a processor, and echo what they read."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        yield process
        process.kill()


def test_a_frozen_process_uses_no_processor_and_goes_on_afterwards(busy):
    for _ in range(5):
        with frozen(busy.pid):
            before = cpu_seconds_of([busy.pid])
            for _ in range(50):
                assert cpu_seconds_of([busy.pid]) == before
        print("again", file=busy.stdin, flush=True)
        assert busy.stdout.readline() == "again\n"


def test_one_that_ends_while_it_is_frozen_disturbs_nothing(busy):
    with frozen(busy.pid):
        busy.kill()
        busy.wait()
    with frozen(busy.pid):
        pass
