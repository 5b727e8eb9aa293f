"""Valid files of every kind that the service and the laboratory read, made by us."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from pydicom.dataset import FileDataset

from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case
from tests.dicom.organs_map import GRID, MODEL, ORGANS, organs_map
from tests.io import files, patients
from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.made_series import made_volume, make_enhanced, make_series
from tests.io.dicom.test_flipped_bits import KINDS, literal_rle

Files = Mapping[str, bytes]
"""The files of one input, by name."""


def nifti_of(volume: Volume, **changes: object) -> bytes:
    """Return a plain NIfTI file of a volume whose axes are the patient's."""
    grid, array = volume.grid, volume.array
    x, y, z = grid.size
    code = {"u1": 2, "i2": 4, "f4": 16}[array.dtype.str[1:]]
    dx, dy, dz = grid.spacing
    ox, oy, oz = grid.origin
    return files.nifti(
        array.tobytes(),
        **{
            "dim": (3, x, y, z, 1, 1, 1, 1),
            "datatype": (code, 8 * array.itemsize),
            "pixdim": (1.0, dx, dy, dz, 0.0, 0.0, 0.0, 0.0),
            "qform": (0.0, 0.0, 1.0, -ox, -oy, oz),
            "sform": (-dx, 0, 0, -ox, 0, -dy, 0, -oy, 0, 0, dz, oz),
            **changes,
        },
    )


def _text_fields(volume: Volume) -> tuple[str, str, tuple[float, float, float]]:
    grid = volume.grid
    return (
        " ".join(str(n) for n in grid.size),
        "(" + ",".join(str(v) for v in grid.origin) + ")",
        grid.spacing,
    )


def nrrd_of(volume: Volume, *, encoding: str = "raw") -> bytes:
    """Return an NRRD file of a volume, its data raw or compressed."""
    sizes, origin, (dx, dy, dz) = _text_fields(volume)
    data = volume.array.tobytes()
    kinds = {"u1": "uchar", "i2": "short", "f4": "float"}
    return files.nrrd(
        files.gzipped(data) if encoding == "gzip" else data,
        type=kinds[volume.array.dtype.str[1:]],
        sizes=sizes,
        space_origin=origin,
        space_directions=f"({dx},0,0) (0,{dy},0) (0,0,{dz})",
        encoding=encoding,
    )


def mha_of(volume: Volume, *, compressed: bool = False) -> bytes:
    """Return an MHA file of a volume."""
    sizes, origin, spacing = _text_fields(volume)
    data = volume.array.tobytes()
    kinds = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}
    return files.mha(
        files.zlibbed(data) if compressed else data,
        DimSize=sizes,
        Offset=origin.strip("()").replace(",", " "),
        ElementSpacing=" ".join(str(v) for v in spacing),
        ElementType=kinds[volume.array.dtype.str[1:]],
        CompressedData=str(compressed),
    )


def images_of(volume: Volume) -> dict[str, bytes]:
    """Return a volume in every form in which an image may come."""
    plain = nifti_of(volume)
    return {
        "nifti": plain,
        "nifti with both forms": nifti_of(volume, codes=(1, 1)),
        "nifti with the qform": nifti_of(volume, codes=(1, 0)),
        "nifti.gz": gzip.compress(plain, 1, mtime=0),
        "nrrd": nrrd_of(volume),
        "nrrd, gzip": nrrd_of(volume, encoding="gzip"),
        "mha": mha_of(volume),
        "mha, compressed": mha_of(volume, compressed=True),
    }


def _saved(dataset: FileDataset) -> bytes:
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


@cache
def studies() -> dict[str, Files]:
    """Return the files of one CT, in each of the forms of DICOM."""
    volume = made_volume()
    sound: dict[str, Files] = {
        kind: {f"s{k}": make(k) for k in range(raw.SIZE[2])}
        for kind, make in KINDS.items()
    }
    classic = {f"c{k}": _saved(each) for k, each in enumerate(make_series(volume))}
    mr = {f"m{k}": _saved(e) for k, e in enumerate(make_series(volume, "MR"))}
    return {
        **sound,
        "classic": classic,
        "classic CT and MR": classic | mr,
        "enhanced": {"e": _saved(make_enhanced(volume))},
        "enhanced MR": classic | {"m": _saved(make_enhanced(volume, "MR"))},
        "RLE": {
            f"s{k}": raw.ct_slice(
                k,
                pixels=raw.fragments(literal_rle(raw.stored_pixels(k))),
                syntax=raw.RLE,
            )
            for k in range(raw.SIZE[2])
        },
    }


@cache
def objects() -> dict[str, bytes]:
    """Return organs as DICOM objects: contours, segments, a label map."""
    case, labels = dicom_case(GRID), organs_map()

    def contours(path: Path) -> None:
        write_rtstruct(
            path, labels, case=case, template=default_template(), organs=(), model=MODEL
        )

    def segments(kind: DicomOutput) -> Callable[[Path], None]:
        return lambda path: write_segmentation(
            path, labels, case=case, organs=ORGANS, model=MODEL, kind=kind
        )

    writers = {
        "rtstruct": contours,
        "seg": segments(DicomOutput.SEG),
        "labelmap": segments(DicomOutput.LABELMAP),
    }
    return {name: _made_by(write) for name, write in writers.items()}


def _made_by(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(path := Path(folder, "a.dcm"))
        return path.read_bytes()


@cache
def labels() -> dict[str, bytes]:
    """Return label maps, and masks of one organ."""
    whole = patients.labels()
    one = whole.with_array((whole.array == 3).astype("u1"))
    maps = images_of(whole)
    return maps | {f"one organ, {name}": each for name, each in images_of(one).items()}


def template() -> bytes:
    """Return the template that ships, as JSON."""
    return json.dumps(default_template().model_dump(mode="json")).encode()
