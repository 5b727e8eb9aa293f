"""A child that works on untrusted files reaches no network and starts no program."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRY = """
import errno, sys
from hanseg_shared.io import cut_off
for name in sys.argv[1:]:
    setattr(cut_off, name, lambda *_: False)
cut_off.cut_off()
import socket, subprocess

def told(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def reach():
    with socket.socket() as open_socket:
        open_socket.connect(("192.0.2.1", 9))

print(told(reach), told(lambda: subprocess.run(["/bin/true"])), told(lambda: open("/")))
"""


def outcomes(*missing: str) -> list[str]:
    """Return what a connection, a program and opening a folder end in.

    Args:
        missing: Layers of `cut_off` that this kernel is made not to have.
    """
    done = subprocess.run(
        [sys.executable, "-c", TRY, *missing], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_kernel_refuses_sockets_and_programs():
    if outcomes("_refuse_event")[1] == "done":
        pytest.skip("this kernel takes no seccomp filter")
    assert outcomes("_refuse_event") == ["EPERM", "EPERM", "EISDIR"]


def test_without_a_filter_the_network_has_no_interface():
    found = outcomes("filter_calls", "_refuse_event")
    if found[0] not in {"ENETUNREACH", "EPERM"}:
        pytest.skip("this process may not make network namespaces")
    assert found == ["ENETUNREACH", "done", "EISDIR"]


def test_where_the_kernel_allows_neither_python_refuses():
    assert outcomes("filter_calls", "leave_network") == ["EPERM", "EPERM", "EISDIR"]


def test_the_libraries_that_read_images_load_in_it():
    code = (
        "from hanseg_shared.io.cut_off import cut_off\n"
        "cut_off()\n"
        "import SimpleITK, numpy, pydicom, scipy.ndimage\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
