"""A commissioning's sheet of all organs, with pictures, as `--register` sends it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hanseg_lab.commissioning.phantoms import POSITIONS
from hanseg_lab.commissioning.report import Picture
from hanseg_lab.evaluation.pictures import contour_picture
from hanseg_lab.phantom import make_case
from hanseg_shared.documents import ModelSummary, MrVerdict
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.signing.manifest import ManifestFile, sign
from hanseg_shared.signing.sheet import (
    CommissioningSheet,
    LimitCheck,
    OrganSheet,
    PhantomSheet,
    SheetOrigin,
    SignedSheet,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

MISSED = "OpticChiasm"
"""The organ that does not meet its limits on a sheet that failed."""

MODEL = ModelSummary(name="quick", version="1", sha256="a" * 64)

PDF = b"%PDF-1.4\n%%EOF\n"


def make_sheet(
    *,
    passed: bool = True,
    model: ModelSummary = MODEL,
    software: str | None = None,
    files: dict[str, bytes] | None = None,
) -> SignedSheet:
    """Return a signed sheet of 30 organs and 11 positions of the phantom."""
    tolerances = default_tolerances()
    rng = np.random.default_rng(5)
    organs = tuple(
        _organ(each.name, tolerances[each.name], rng, missed=not passed)
        for each in ORGANS
    )
    phantoms = tuple(_phantom(position, rng) for position in POSITIONS)
    failures = (
        () if passed else (f"{MISSED}: DSC is 0.310; the limit is at least 0.4.",)
    )
    named = tuple(
        ManifestFile(
            name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
        )
        for name, content in (files or {}).items()
    )
    sheet = CommissioningSheet(
        made_at=datetime(2026, 1, 14, 9, 30, tzinfo=UTC),
        signed_by="Dr. M. Example" if passed else None,
        passed=passed,
        failures=failures,
        remarks=("The MR was used in 11 of 12 cases that have one.",),
        cases=14,
        cases_with_mr=11,
        organs=organs,
        phantoms=phantoms,
        registration_limit_mm=2.0,
        made_of=SheetOrigin(
            model=model,
            registration_parameters_sha256="d" * 64,
            limits_sha256="b" * 64,
            images_sha256="c" * 64,
            versions={
                "hanseg-segmentation": software or version("hanseg-segmentation"),
                "python": "3.11.2",
            },
        ),
        files=named,
    )
    return SignedSheet(sheet=sheet, signature=sign(sheet.canonical(), KEY))


def draw_files(*names: str) -> dict[str, bytes]:
    """Return a PDF, and for each organ a picture of a simulated patient."""
    pictures = {
        f"worst_{number}_{each.shown}.png": each.png
        for number, each in enumerate(draw_pictures(*names), start=1)
    }
    return {"commissioning.pdf": PDF, **pictures}


def draw_pictures(*names: str) -> list[Picture]:
    """Return a picture for each organ, of a simulated patient."""
    case = make_case(4, ct_spacing=(2.0, 2.0, 3.0), mr=False)
    pictures = []
    for number, name in enumerate(names, start=1):
        mask = case.labels.array == organ(name).label
        reference = case.labels.with_array(mask.astype(np.uint8))
        shifted = reference.with_array(np.roll(reference.array, (1, 2), axis=(0, 2)))
        title = f"{name}, DSC 0.6{number}1"
        png = contour_picture(reference, shifted, title=title, ct=case.ct)
        assert png is not None
        pictures.append(Picture(f"{case.name}: {title}", png, name))
    return pictures


def _organ(
    name: str, tolerance_mm: float, rng: np.random.Generator, *, missed: bool
) -> OrganSheet:
    fails = missed and name == MISSED
    dice = 0.31 if fails else round(float(rng.uniform(0.72, 0.94)), 4)
    checks = (
        LimitCheck(metric="DSC", mean=dice, limit=0.4, passed=not fails),
        LimitCheck(
            metric="HD95_mm",
            mean=None if fails else round(float(rng.uniform(1.0, 5.0)), 4),
            limit=6.0,
            passed=not fails,
        ),
        LimitCheck(metric="surface_DSC", mean=min(1.0, dice + 0.05), passed=True),
        LimitCheck(
            metric="volume_bias_percent",
            mean=round(float(rng.uniform(-18, 18)), 4),
            limit=25.0,
            passed=True,
        ),
    )
    return OrganSheet(
        organ=name,
        cases=14,
        missed=int(fails),
        tolerance_mm=tolerance_mm,
        checks=checks,
        passed=not fails,
    )


def _phantom(position: str, rng: np.random.Generator) -> PhantomSheet:
    mean = float(rng.uniform(0.3, 1.1))
    return PhantomSheet(
        position=position,
        verdict=MrVerdict.USED,
        mean_mm=round(mean, 3),
        max_mm=round(mean * float(rng.uniform(1.3, 1.9)), 3),
        passed=True,
    )
