"""A case that was sent as DICOM, made into volumes and a record of their source.

``python -m hanseg_shared.io.dicom.convert REQUEST`` is the child of
`convert_case_in_child`; see `hanseg_shared.io.confined`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanseg_shared.errors import CheckDiedError, NotAnImageError
from hanseg_shared.io.confined import Confines, answer_request, run_confined
from hanseg_shared.io.dicom.archive import Unpacked, unpack
from hanseg_shared.io.dicom.conversion import (
    CT_FILE,
    MR_FILE,
    Conversion,
    SeriesChoice,
)
from hanseg_shared.io.dicom.preflight import check_files
from hanseg_shared.io.dicom.source import (
    IDENTITY_FILE,
    SOURCE_FILE,
    DicomSource,
)
from hanseg_shared.io.formats import is_dicom_input
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from hanseg_shared.io.dicom.case import ReadCase

_VOXEL_BYTES = 2
"""Of a CT, and of most MRs."""

_MODULE = "hanseg_shared.io.dicom.convert"

CONVERSION_CONFINES = Confines(
    memory_bytes=6 << 30,
    cpu_seconds=180,
    wall_seconds=240.0,
    file_bytes=2 << 30,
)
"""Enough, twice over, for a CT of 1024 x 1024 x 400 voxels."""


def convert_case_in_child(
    ct: Path,
    mr: Path | None,
    reg: Path | None,
    out: Path,
    limits: Limits = DEFAULT_LIMITS,
    choice: SeriesChoice | None = None,
    halt: Halt | None = None,
    *,
    confines: Confines = CONVERSION_CONFINES,
) -> Conversion:
    """Do what `convert_case` does, in a process of its own.

    Args:
        ct: What was sent as CT; see `convert_case`.
        mr: What was sent as MR, or None.
        reg: The registration that was sent, or None.
        out: An empty folder for the results. The child works in it too, so that its
            disk must have room for what an archive holds.
        limits: Caps on archives, headers and images.
        choice: Which series to take.
        halt: Kills the child when it is told to.
        confines: What the child may use.

    Returns:
        The files that are in `out` now.

    Raises:
        CheckDiedError: The child died, met a limit, or gave no answer.
        ServiceUnavailableError: It was killed from outside, and again, or the disk is
            full: nothing is known of the files then.
        InputError: As `convert_case`, with the same class and message.
    """
    request = {
        "ct": str(ct.absolute()),
        "mr": None if mr is None else str(mr.absolute()),
        "reg": None if reg is None else str(reg.absolute()),
        "out": str(out.absolute()),
        "limits": asdict(limits),
        "choice": (choice or SeriesChoice()).model_dump(),
    }
    answer = run_confined(
        _MODULE, request, confines=confines, halt=halt or Halt(), scratch=out
    )
    if "conversion" in answer:
        return Conversion.model_validate(answer["conversion"])
    names = " and ".join(path.name for path in (ct, mr, reg) if path is not None)
    raise CheckDiedError(
        f"{names} could not be read safely: reading the DICOM files ran out of memory "
        "or time, or crashed on damaged data; export the series again, uncompressed"
    )


def convert_case(
    ct: Path,
    mr: Path | None,
    reg: Path | None,
    out: Path,
    limits: Limits = DEFAULT_LIMITS,
    choice: SeriesChoice | None = None,
    *,
    scratch: Path | None = None,
) -> Conversion:
    """Make volumes of DICOM files, and a record of their source.

    Args:
        ct: A zip archive, a folder or a DICOM file with the CT, and perhaps an MR and
            a registration.
        mr: Another one with the MR. A file that is no DICOM is left alone; it is then
            the case's MR, and an MR among the CT's files is not looked for.
        reg: A DICOM registration of the two.
        out: An empty folder for the results, which appear in it complete.
        limits: Caps on archives, headers and images.
        choice: Which series to take.
        scratch: Where archives are unpacked, on the disk of `out`; `out` if None.

    Raises:
        InputError: The files cannot be used; the message names file, tag and remedy.
    """
    _require_dicom(ct, mr, reg)
    with tempfile.TemporaryDirectory(
        prefix=".converting-", dir=scratch or out
    ) as folder:
        received = {
            role: _receive(path, Path(folder, role), limits)
            for role, path in (("ct", ct), ("mr", mr), ("reg", reg))
            if path is not None and not _is_plain(path)
        }
        tight = _tighten(limits, received)
        case = _read(received, choice or SeriesChoice(), tight, mr=mr)
        remarks = [remark for each in received.values() for remark in each.remarks]
        written = _write(case, Path(folder), limits, remarks)
        for name in (written.ct, written.mr, written.source, written.identity):
            if name is not None:
                Path(folder, name).replace(out / name)
    return written


def _require_dicom(ct: Path, mr: Path | None, reg: Path | None) -> None:
    if _is_plain(ct):
        raise NotAnImageError(
            f"{ct.name}: it is no DICOM, but what was sent with it is; send the CT as "
            "DICOM too, or the other image as NIfTI, NRRD or MHA"
        )
    if reg is not None and mr is not None and _is_plain(mr):
        raise NotAnImageError(
            f"{reg.name}: a DICOM registration can only be used with an MR that is "
            "DICOM too; send the MR's series, or leave the registration out"
        )


def _is_plain(path: Path) -> bool:
    return not path.is_dir() and not is_dicom_input(path)


def _receive(path: Path, folder: Path, limits: Limits) -> Unpacked:
    folder.mkdir()
    return check_files(unpack(path, folder, limits), path.name, limits)


def _tighten(limits: Limits, received: dict[str, Unpacked]) -> Limits:
    """Return limits of which a volume may have no more voxels than its files warrant.

    A few uneven slices would else become hundreds.
    """
    packed_bytes = sum(each.packed_bytes for each in received.values())
    allowed = max(limits.free_ratio_bytes, limits.max_ratio * packed_bytes)
    return replace(limits, max_voxels=min(limits.max_voxels, allowed // _VOXEL_BYTES))


def _read(
    received: dict[str, Unpacked],
    choice: SeriesChoice,
    limits: Limits,
    *,
    mr: Path | None,
) -> ReadCase:
    """Return the case; the libraries that read it load once archives have passed."""
    from hanseg_shared.io.dicom.case import read_case

    files = {role: each.files for role, each in received.items()}
    no_mr = () if mr is None else None
    return read_case(
        files["ct"], files.get("mr", no_mr), files.get("reg", ()), choice, limits
    )


def _write(
    case: ReadCase, folder: Path, limits: Limits, remarks: Sequence[str]
) -> Conversion:
    from hanseg_shared.io.dicom.nrrd_file import write_nrrd

    write_nrrd(case.ct, folder / CT_FILE, limits)
    if case.mr is not None:
        write_nrrd(case.mr, folder / MR_FILE, limits)
    Path(folder, SOURCE_FILE).write_text(case.source.model_dump_json())
    Path(folder, IDENTITY_FILE).write_text(case.identity.model_dump_json())
    return Conversion(
        mr=None if case.mr is None else MR_FILE,
        remarks=(*remarks, *_remarks(case.source)),
    )


def _remarks(source: DicomSource) -> tuple[str, ...]:
    mr = () if source.mr is None else source.mr.remarks
    return (
        *source.remarks,
        *(f"the CT: {remark}" for remark in source.ct.remarks),
        *(f"the MR: {remark}" for remark in mr),
    )


def _convert(request: dict[str, Any]) -> dict[str, Any]:
    mr, reg = (
        None if request[name] is None else Path(request[name]) for name in ("mr", "reg")
    )
    done = convert_case(
        Path(request["ct"]),
        mr,
        reg,
        Path(request["out"]),
        Limits(**request["limits"]),
        SeriesChoice.model_validate(request["choice"]),
        scratch=Path.cwd(),  # the parent removes it, whatever becomes of this process
    )
    return {"conversion": done.model_dump(mode="json")}


if __name__ == "__main__":
    answer_request(_convert)
