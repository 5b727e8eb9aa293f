"""The cases in the input folder: which CT belongs to which MR, and what comes of it.

CTs lie in ``images/ct``, T1 MRs in ``images/t1-mri``; the first CT by name belongs to
the first MR by name, and so on, as in the challenge's own container.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.file_hash import file_sha256

CT_FOLDER = Path("images", "ct")
MR_FOLDER = Path("images", "t1-mri")

SUFFIXES = (".mha", ".nrrd")
"""What an image is called; the label map keeps the CT's."""


@dataclass(frozen=True, slots=True)
class ChallengeCase:
    """The images of one case.

    Attributes:
        ct: The planning CT's file.
        mr: The T1 MR's file; None to contour the CT alone.
    """

    ct: Path
    mr: Path | None = None

    @property
    def label_map(self) -> str:
        """The name of the label map: the CT's, with ``_CT`` as ``_seg``."""
        return self.ct.name.replace("_CT", "_seg")


def find_cases(input_folder: Path, *, ct_alone: bool = False) -> list[ChallengeCase]:
    """Return the cases of an input folder, sorted by the names of their CTs.

    Args:
        input_folder: Holds ``images/ct`` and ``images/t1-mri``.
        ct_alone: Whether MRs are left where they are, and none has to be there.

    Raises:
        InputError: There is no case, a CT has no MR or the other way round, two images
            are the same, or two label maps would have one name.
    """
    cts = _images_in(input_folder / CT_FOLDER)
    if not cts:
        raise InputError(f"there is no CT in {input_folder / CT_FOLDER}")
    if ct_alone:
        cases = [ChallengeCase(ct) for ct in cts]
    else:
        mrs = _images_in(input_folder / MR_FOLDER)
        _require_as_many(cts, mrs, input_folder)
        cases = [ChallengeCase(ct, mr) for ct, mr in zip(cts, mrs, strict=True)]
    _require_own_names(cases)
    _require_unlike(each for case in cases for each in (case.ct, case.mr) if each)
    return cases


def _images_in(folder: Path) -> list[Path]:
    """Return a folder's images by name; none of a folder that is not there.

    Raises:
        InputError: Something else lies there.
    """
    if not folder.is_dir():
        return []
    found = sorted(each for each in folder.iterdir() if each.name[:1] != ".")
    for each in found:
        if not each.is_file() or each.suffix not in SUFFIXES:
            raise InputError(
                f"{each} is no image file: their names end in {' or '.join(SUFFIXES)}"
            )
    return found


def _require_as_many(
    cts: Sequence[Path], mrs: Sequence[Path], input_folder: Path
) -> None:
    if len(cts) == len(mrs):
        return
    raise InputError(
        f"{len(cts)} CT in {input_folder / CT_FOLDER}, but {len(mrs)} MR in"
        f" {input_folder / MR_FOLDER}: which belong together is not to be guessed; give"
        " each CT its MR, or set HANSEG_CHALLENGE_CT_ALONE=true to use no MR"
    )


def _require_own_names(cases: Iterable[ChallengeCase]) -> None:
    known: dict[str, Path] = {}
    for case in cases:
        other = known.setdefault(case.label_map, case.ct)
        if other is not case.ct:
            raise InputError(
                f"the label maps of {other.name} and {case.ct.name} would both be"
                f" called {case.label_map}"
            )


def _require_unlike(images: Iterable[Path]) -> None:
    known: dict[str, Path] = {}
    for each in images:
        other = known.setdefault(file_sha256(each), each)
        if other is not each:
            raise InputError(f"{other} and {each} are the same image")
