"""Models of others imported in a process of their own, starved and cut off.

A trained folder is data, and never run; but what reads it may have faults, and its
numbers may ask for any amount of memory. Run by ``python -m``, this module is the
child: it reads the folder and writes the package beside its place, and nothing of it
reaches this process but `model.json` and the SHA-256 of weights that are safetensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hanseg_segmentation.importing.checkpoint import CHECKPOINTS
from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.packages.package import ModelPackage, read_package
from hanseg_segmentation.packages.weights import verify_weights
from hanseg_shared.errors import InputError
from hanseg_shared.io.confined import Confines, answer_request, run_confined
from hanseg_shared.io.halt import Halt

_MODULE = "hanseg_segmentation.importing.confined"
_OPTIONS = TypeAdapter(ImportOptions)

LIBRARIES_BYTES = 8 << 30
"""Address space that the libraries may take; PyTorch for the CPU has 0.7 GB, a build
for GPUs maps several."""

TIMES_CHECKPOINTS = 4
"""How often the weights may be in memory: as read, chosen, checked and written."""

CPU_SECONDS, WALL_SECONDS = 900, 1800.0
"""Five networks of 250 MB take half a minute."""


def confines_for(folder: Path) -> Confines:
    """Return what an import may use, by the size of the checkpoints in a folder."""
    size = sum(
        path.stat().st_size
        for name in CHECKPOINTS
        for path in folder.glob(f"**/fold_*/{name}")
    )
    return Confines(
        memory_bytes=LIBRARIES_BYTES + TIMES_CHECKPOINTS * size,
        cpu_seconds=CPU_SECONDS,
        wall_seconds=WALL_SECONDS,
        open_files=256,
        file_bytes=size + (1 << 20),
    )


def import_confined(
    folder: Path,
    *,
    into: Path,
    options: ImportOptions,
    installed_in: Sequence[Path] = (),
    confines: Confines | None = None,
) -> ModelPackage:
    """Do what `import_nnunet` does, in a process of its own.

    Args:
        folder: The trained folder, or the data set's that holds one.
        into: The folder of models it is put in; created if need be.
        options: What the user says about it.
        installed_in: Further folders of models, whose names are taken.
        confines: What the child may use; None for `confines_for`.

    Raises:
        InputError: As `import_nnunet`; or the child met a limit, or died.
        ServiceUnavailableError: It was killed from outside, or the disk is full.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=into) as scratch:
            request = {
                "folder": str(folder.absolute()),
                "into": str(Path(scratch).absolute()),
                "options": _OPTIONS.dump_python(options, mode="json"),
                "installed_in": [
                    str(each.absolute()) for each in (into, *installed_in)
                ],
            }
            name = _ask(request, folder, confines or confines_for(folder))
            return _take(Path(scratch) / name, into / name)
    except OSError as error:
        raise InputError(
            f"{into} cannot take the model: {error.strerror}; nothing was installed"
        ) from error


def _ask(request: dict[str, Any], folder: Path, confines: Confines) -> str:
    answer = run_confined(_MODULE, request, confines=confines, halt=Halt())
    if "name" not in answer:
        raise InputError(
            f"{folder} could not be read safely: reading it ran out of memory or time,"
            " or crashed on damaged data; take it from its source again"
        )
    return str(answer["name"])


def _take(new: Path, place: Path) -> ModelPackage:
    """Check what the child wrote, and move it to its place."""
    package = read_package(new)
    verify_weights(new, package)
    if place.exists():
        raise InputError(f"{place} exists; give another --name")
    new.rename(place)
    return package


def _import(request: dict[str, Any]) -> dict[str, Any]:
    package = import_nnunet(
        Path(request["folder"]),
        into=Path(request["into"]),
        options=_OPTIONS.validate_python(request["options"]),
        installed_in=[Path(each) for each in request["installed_in"]],
    )
    return {"name": package.name}


if __name__ == "__main__":
    answer_request(_import)
