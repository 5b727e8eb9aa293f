"""Structure sets go through dcmtk: dumped, and sent from one program to another."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.dicom.cases import dicom_case
from tests.dicom.test_rtstruct import GRID, labels_of, write
from tests.dicom.tools import program

pytestmark = pytest.mark.dicom

LONGEST_START_S = 20.0


@contextlib.contextmanager
def receiver(folder: Path) -> Iterator[int]:
    """Run storescp, which stores what it is sent in a folder; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(
        [program("storescp"), "--output-directory", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, running)
        yield port
    finally:
        running.kill()
        running.wait()


def wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LONGEST_START_S
    while running.poll() is None and time.monotonic() < end:
        echo = [program("echoscu"), "127.0.0.1", str(port)]
        if subprocess.run(echo, capture_output=True, check=False).returncode == 0:
            return
    raise AssertionError("storescp did not start")


def test_dcmdump_reads_the_whole_structure_set(tmp_path):
    labels = labels_of("Lips", "Eye_AL", "Eye_PL")
    written, _ = write(tmp_path, labels, case=dicom_case(GRID))
    dump = subprocess.run(
        [program("dcmdump"), "+L", str(tmp_path / "rtstruct.dcm")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert dump.stderr == ""
    contours = sum(each.contours for each in written.structures)
    assert dump.stdout.count("[CLOSED_PLANAR]") == contours > 0
    assert "[UNAPPROVED]" in dump.stdout


def test_a_structure_set_arrives_as_it_was_sent(tmp_path):
    _, sent = write(tmp_path, labels_of("Lips"), case=dicom_case(GRID))
    folder = tmp_path / "received"
    folder.mkdir()
    with receiver(folder) as port:
        command = [program("storescu"), "-R", "127.0.0.1", str(port)]
        subprocess.run([*command, str(tmp_path / "rtstruct.dcm")], check=True)
    (received,) = folder.iterdir()
    assert pydicom.dcmread(received) == sent
