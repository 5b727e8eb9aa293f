"""What is run, in which order, and where everything lies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inference import agreement
from benchmarks.inference.memory import available_gb
from benchmarks.inference.ours import NETWORK
from benchmarks.inference.runs import (
    PEER_MODELS,
    PEERS_CODE,
    Journal,
    PeerError,
    Row,
    has_room,
    peer_environment,
    run_ours,
    run_peer,
)
from benchmarks.inference.volumes import FIELDS, Patient

from hanseg_segmentation.importing.nnunet import ImportOptions, import_nnunet
from hanseg_segmentation.packages.package import ModelPackage, read_package
from hanseg_shared.io import read_labels

EXACT, FAST, RAPID = "ours exact", "ours fast", "ours rapid"
NNUNET, PHASES, MONAI, TILE = "nnunet", "nnunet phases", "monai", "nnunet tile"
PREPARE, EQUAL, DICE = "ours prepare", "equal", "dice"

SMALL, MIDDLE, FULL = "plain_8_96", "plain_16_160", "plain_32_320"
RESIDUAL, RARE, FINE = "residual_8_96", "rare_8_96", "fine"

SHORT, LONG, LARGE = FIELDS

NNUNET_GB = 9.0
"""What nnU-Net's process tree holds for 512 x 512 x 64 voxels and 31 classes."""

CLASSES = 31

FEW_TILES = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """One run.

    Attributes:
        way: One of the names above.
        model: Which model.
        image: A field of `FIELDS`, a patient, or nothing.
        repeat: Which of several equal runs.
    """

    way: str
    model: str
    image: str = ""
    repeat: int = 0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """As `Row.key`."""
        return self.way, self.model, self.image, self.repeat


def alternating(model: str, image: str, ways: Sequence[str]) -> Iterator[Unit]:
    """Yield both of our modes, each peer, and both of our modes once more."""
    ours = (EXACT, FAST)
    yield from (Unit(way, model, image, 0) for way in (*ours, *ways))
    yield from (Unit(way, model, image, 1) for way in ours)


PARTS: dict[str, tuple[Unit, ...]] = {
    "small": (
        *alternating(SMALL, SHORT, (NNUNET, PHASES, MONAI)),
        Unit(PREPARE, SMALL, SHORT),
        Unit(EQUAL, SMALL, SHORT),
    ),
    "rare": (
        *alternating(RARE, SHORT, (NNUNET, PHASES)),
        Unit(EQUAL, RARE, SHORT),
        Unit(EXACT, RARE, LONG),
    ),
    "middle": (
        *alternating(MIDDLE, SHORT, (NNUNET,)),
        Unit(EQUAL, MIDDLE, SHORT),
    ),
    "residual": (
        *alternating(RESIDUAL, SHORT, (NNUNET,)),
        Unit(EQUAL, RESIDUAL, SHORT),
    ),
    "long": (
        Unit(FAST, SMALL, LONG, 0),
        Unit(RAPID, SMALL, LONG, 0),
        Unit(EXACT, SMALL, LONG, 0),
        Unit(NNUNET, SMALL, LONG),
        Unit(FAST, SMALL, LONG, 1),
        Unit(RAPID, SMALL, LONG, 1),
        Unit(FAST, MIDDLE, LONG),
        Unit(RAPID, MIDDLE, LONG),
    ),
    "full": (
        Unit(TILE, FULL),
        Unit(FAST, FULL, LONG),
        Unit(RAPID, FULL, LONG),
        Unit(EXACT, FULL, SHORT),
    ),
    "large": (
        Unit(FAST, MIDDLE, LARGE),
        Unit(FAST, SMALL, LARGE),
        Unit(RAPID, SMALL, LARGE),
    ),
    "fine": (
        Unit(FAST, FINE, LONG, 0),
        Unit(EXACT, FINE, LONG),
        Unit(NNUNET, FINE, LONG),
        Unit(FAST, FINE, LONG, 1),
        Unit(EQUAL, FINE, LONG),
    ),
}
"""The runs of each part of the benchmark, in their order."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything lies.

    Attributes:
        folder: For models, images and label maps.
        python: The peers' interpreter; None leaves them out.
        fine: A trained nnU-Net folder; None leaves out what needs one.
        images: The fields of `FIELDS`, as files.
        journal: Where rows are noted.
        code: Fingerprint of our code.
    """

    folder: Path
    python: str | None
    fine: Path | None
    images: dict[str, Path]
    journal: Journal
    code: str

    def measure(self, units: Sequence[Unit]) -> None:
        """Run what is not in the journal yet, and note it."""
        for unit in units:
            done = {row.key for row in self.journal.rows(self.code)}
            if unit.key in done or not self._possible(unit):
                continue
            try:
                row = self._row(unit)
            except PeerError as error:
                print(f"{unit} failed: {error}", flush=True)
                continue
            self.journal.append(row)
            print(f"{' '.join(map(str, unit.key))}: {row.numbers}", flush=True)

    def compare_patients(self, patients: Sequence[Patient]) -> None:
        """Contour real CTs in all ways, and note all Dice."""
        done = {row.image for row in self.journal.rows(self.code) if row.way == DICE}
        left = [patient for patient in patients if patient.name not in done]
        if self.fine is None or self.python is None or not left:
            return
        folders = {}
        for way in (EXACT, FAST, RAPID, NNUNET):
            owner = PEERS_CODE if way == NNUNET else self.code
            folders[way] = self.folder / "patients" / f"{way.replace(' ', '_')}_{owner}"
            folders[way].mkdir(parents=True, exist_ok=True)
        for patient in left:
            image = str(patient.ct)
            for way in (EXACT, FAST, RAPID):
                mode = way.split()[1]
                run_ours("cases", mode, *self._ours(FINE), str(folders[way]), image)
            trained = str(self.trained(FINE))
            run_peer(self.python, "cases", trained, str(folders[NNUNET]), image)
            row = self._dice(patient, folders)
            self.journal.append(row)
            print(f"dice {patient.name}: {row.numbers}", flush=True)

    def trained(self, model: str) -> Path:
        """Return a model's nnU-Net folder; the peers make it if need be."""
        if model == FINE:
            if self.fine is None:
                raise PeerError("name a trained model with --fine-model")
            return self.fine
        models = self.folder / "models"
        folder = models / model / "nnUNetTrainer__nnUNetPlans__3d_fullres"
        if not (folder / "plans.json").exists():
            if self.python is None:
                raise PeerError(f"{folder} is missing, and no peer can make it")
            run_peer_models(self.python, models, model)
        return folder

    def package_folder(self, model: str) -> Path:
        """Return a model's package, imported if need be."""
        folder = self.folder / "packages" / model
        if not folder.exists():
            options = ImportOptions(name=model, folds=("0",))
            trained = self.trained(model)
            import_nnunet(trained, into=folder.parent, options=options)
        return folder

    def package(self, model: str) -> ModelPackage:
        """Return what a model's package says."""
        return read_package(self.package_folder(model))

    def _possible(self, unit: Unit) -> bool:
        """Whether a run can be made here, said where it cannot."""
        needs_peer = unit.way in (NNUNET, PHASES, MONAI, TILE)
        if needs_peer and self.python is None:
            return False
        if unit.model == FINE and self.fine is None:
            return False
        if unit.way == NNUNET:
            needed = nnunet_gb(unit.image, classes=len(self.package(unit.model).labels))
            if not has_room(needed):
                print(
                    f"{unit} is left out: it needs about {needed:.0f} GB, and"
                    f" {available_gb():.0f} GB are free",
                    flush=True,
                )
                return False
        return True

    def _row(self, unit: Unit) -> Row:
        if unit.way == EQUAL:
            numbers: dict[str, float | str] = dict(self._equal(unit))
        elif unit.way in (EXACT, FAST, RAPID):
            mode, package = unit.way.split()[1], self._ours(unit.model)
            image, out = str(self.images[unit.image]), str(self._labels(unit))
            numbers = run_ours("job", mode, *package, image, out)
        elif unit.way == PREPARE:
            folder, source = self.package_folder(unit.model), self.images[unit.image]
            numbers = run_ours("prepare", str(folder), str(source))
        else:
            numbers = self._peer(unit)
        engine = str(numbers.pop("engine", ""))
        values = {name: float(value) for name, value in numbers.items()}
        peers = unit.way in (NNUNET, PHASES, MONAI, TILE)
        code = PEERS_CODE if peers else self.code
        return Row(*unit.key, code, values, engine)

    def _peer(self, unit: Unit) -> dict[str, float | str]:
        if self.python is None:
            raise AssertionError("unreachable: the run was possible")
        trained = str(self.trained(unit.model))
        if unit.way == TILE:
            return run_peer(self.python, "tiles", trained, str(FEW_TILES))
        task = {NNUNET: "predict", PHASES: "phases", MONAI: "monai"}[unit.way]
        image, out = str(self.images[unit.image]), str(self._labels(unit))
        return run_peer(self.python, task, trained, image, out)

    def _equal(self, unit: Unit) -> dict[str, float]:
        package = self.package(unit.model)
        theirs = agreement.read_nnunet(
            self._labels(Unit(NNUNET, unit.model, unit.image)), package
        )
        found: dict[str, float] = {}
        for mode, way in (("exact", EXACT), ("fast", FAST)):
            path = self._labels(Unit(way, unit.model, unit.image))
            shares = agreement.same_share(agreement.read_own(path), theirs)
            found |= {f"{mode} {key}": value for key, value in shares.items()}
        return found

    def _dice(self, patient: Patient, folders: dict[str, Path]) -> Row:
        package, name = self.package(FINE), patient.ct.name
        drawn = read_labels(patient.drawn)
        numbers = agreement.compare_patient(
            agreement.read_own(folders[EXACT] / name),
            agreement.read_own(folders[FAST] / name),
            agreement.read_own(folders[RAPID] / name),
            agreement.read_nnunet(folders[NNUNET] / name, package),
            drawn.array,
            unchecked=agreement.read_own(folders[EXACT] / NETWORK / name),
            package=package,
            voxel_ml=drawn.grid.voxel_ml,
        )
        return Row(DICE, FINE, patient.name, 0, self.code, numbers)

    def _ours(self, model: str) -> tuple[str, str]:
        return str(self.package_folder(model)), str(self.folder / "engines")

    def _labels(self, unit: Unit) -> Path:
        """Return where a run's label map lies; of equal runs the same."""
        folder = self.folder / "labels"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{unit.way}_{unit.model}_{unit.image}.nii.gz".replace(" ", "_")


def run_peer_models(python: str, out: Path, *names: str) -> None:
    """Let the peers' interpreter make models."""
    command = [python, str(PEER_MODELS), str(out), *names]
    done = subprocess.run(command, env=peer_environment(), stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command)}: {done.stderr.decode()[-800:]}")


def nnunet_gb(image: str, *, classes: int) -> float:
    """Return about how much memory nnU-Net takes for an image of `FIELDS`."""
    share = FIELDS[image].voxels / FIELDS[SHORT].voxels
    return NNUNET_GB * share * (0.25 + 0.75 * (classes + 1) / CLASSES)
