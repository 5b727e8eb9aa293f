"""The doors that files of others come in by, each with files that go through it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hanseg_lab.evaluation.case_folders import find_case_masks
from hanseg_lab.evaluation.case_masks import read_case_masks
from hanseg_segmentation.importing.confined import LIBRARIES_BYTES
from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.packages.installed import installed_models
from hanseg_segmentation.packages.package import PACKAGE_FILE, read_package
from hanseg_segmentation.packages.weights import read_weights, write_package
from hanseg_shared.dicom.templates import parse_template
from hanseg_shared.io import DEFAULT_LIMITS, read_image
from hanseg_shared.io.check import check_case
from hanseg_shared.io.confined import Confines
from hanseg_shared.io.dicom.convert import (
    CONVERSION_CONFINES,
    convert_case,
    convert_case_in_child,
)
from hanseg_shared.io.sandbox import DEFAULT_CONFINES, check_case_in_child
from tests.dicom.organs_map import GRID
from tests.fuzz import seeds
from tests.fuzz.mutate import mutate, mutate_json
from tests.importing.trained_folders import trained_folder
from tests.inference.scenes import package
from tests.io import patients
from tests.io.dicom import raw_dicom as raw

MODEL_CONFINES = Confines(
    memory_bytes=LIBRARIES_BYTES, cpu_seconds=60, file_bytes=64 << 20, open_files=256
)


@dataclass(frozen=True, slots=True)
class Door:
    """One kind of input.

    Attributes:
        make: Writes an input into a folder, by chance.
        work: Reads it, in a process of its own.
        confines: What that process may use.
        through: Sends it through the service's own door, which starts a child.
        is_command: Whether it is one of the command line, which may say where files
            lie.
    """

    make: Callable[[Path, random.Random], None]
    work: Callable[[Path], None]
    confines: Confines = DEFAULT_CONFINES
    through: Callable[[Path], None] | None = None
    is_command: bool = False


def _put(folder: Path, files: seeds.Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@cache
def _cts() -> dict[str, bytes]:
    return seeds.images_of(patients.ct())


@cache
def _mrs() -> dict[str, bytes]:
    return seeds.images_of(patients.mr())


def _make_image(folder: Path, chance: random.Random) -> None:
    ct, mr = chance.choice(list(_cts().values())), None
    if chance.random() < 0.3:
        mr = mutate(chance.choice(list(_mrs().values())), chance)
    else:
        ct = mutate(ct, chance)
    _put(folder, {"ct": ct} | ({} if mr is None else {"mr": mr}))


def _mr_of(folder: Path) -> Path | None:
    return path if (path := folder / "mr").exists() else None


def _check_images(folder: Path) -> None:
    mr = _mr_of(folder)
    check_case(folder / "ct", mr, DEFAULT_LIMITS)
    for path in (folder / "ct", mr):
        if path is not None:
            read_image(path)


def _send_images(folder: Path) -> None:
    check_case_in_child(folder / "ct", _mr_of(folder))


def _make_study(folder: Path, chance: random.Random) -> None:
    files = dict(chance.choice(list(seeds.studies().values())))
    kind = chance.choice(("folder", "zip", "zip", "list"))
    if kind != "list":
        most = min(len(files), chance.choice((1, 1, 2)))
        for name in chance.sample(sorted(files), k=most):
            files[name] = mutate(files[name], chance)
    if kind == "folder":
        _put(folder / "study", files)
        return
    method = chance.choice((0, 8))
    packed = raw.zip_of(files, method)
    if kind == "list":  # of contents, which is at the end
        at = max(0, len(packed) - 600)
        packed = packed[:at] + mutate(packed[at:], chance)
    (folder / "study").write_bytes(packed)


def _convert(folder: Path) -> None:
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir()
    scratch.mkdir()
    done = convert_case(folder / "study", None, None, out, scratch=scratch)
    mr = None if done.mr is None else out / done.mr
    check_case(out / done.ct, mr, DEFAULT_LIMITS)


def _send_study(folder: Path) -> None:
    (out := folder / "sent").mkdir()
    done = convert_case_in_child(folder / "study", None, None, out)
    check_case_in_child(out / done.ct, None if done.mr is None else out / done.mr)


def _make_labels(folder: Path, chance: random.Random) -> None:
    content = mutate(chance.choice(list(seeds.labels().values())), chance)
    name = chance.choice(("case", "case/Parotid_L")) + chance.choice(
        (".nii", ".nii.gz", ".nrrd", ".mha", ".seg.nrrd")
    )
    _put(folder / "masks", {name: content})


def _make_object(folder: Path, chance: random.Random) -> None:
    content = mutate(chance.choice(list(seeds.objects().values())), chance)
    _put(folder / "masks", {"case.dcm": content})


def _evaluate(folder: Path) -> None:
    for source in find_case_masks(folder / "masks"):
        read_case_masks(source, GRID)


def _make_template(folder: Path, chance: random.Random) -> None:
    (folder / "template").write_bytes(mutate_json(seeds.template(), chance))


def _read_template(folder: Path) -> None:
    parse_template((folder / "template").read_bytes())


@cache
def _package() -> dict[str, bytes]:
    import torch

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "sound")
        write_package(folder, package(name="sound"), {"weight": torch.arange(12.0)})
        return {each.name: each.read_bytes() for each in folder.iterdir()}


def _make_package(folder: Path, chance: random.Random) -> None:
    files = dict(_package())
    name = chance.choice((PACKAGE_FILE, *files))
    change = mutate_json if name == PACKAGE_FILE else mutate
    files[name] = change(files[name], chance)
    _put(folder / "models" / "sound", files)


def _read_package(folder: Path) -> None:
    place = folder / "models"
    installed_models([place], whole=True)
    found = read_package(place / "sound")
    read_weights(place / "sound", found)


@cache
def _trained() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        folder = trained_folder(Path(place, "trained"))
        return {
            str(each.relative_to(folder)): each.read_bytes()
            for each in folder.rglob("*")
            if each.is_file()
        }


def _make_trained(folder: Path, chance: random.Random) -> None:
    files = dict(_trained())
    name = chance.choice(sorted(files))
    change = mutate_json if name.endswith(".json") else mutate
    files[name] = change(files[name], chance)
    _put(folder / "trained", files)


def _import(folder: Path) -> None:
    (into := folder / "into").mkdir()
    import_nnunet(folder / "trained", into=into, options=ImportOptions())


DOORS: dict[str, Door] = {
    "images": Door(_make_image, _check_images, through=_send_images),
    "studies": Door(_make_study, _convert, CONVERSION_CONFINES, through=_send_study),
    "labels": Door(_make_labels, _evaluate, is_command=True),
    "objects": Door(_make_object, _evaluate, is_command=True),
    "templates": Door(_make_template, _read_template),
    "packages": Door(_make_package, _read_package, MODEL_CONFINES, is_command=True),
    "trained": Door(_make_trained, _import, MODEL_CONFINES, is_command=True),
}
