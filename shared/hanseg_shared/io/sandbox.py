"""Untrusted images checked in a child process that can be killed and starved.

``python -m hanseg_shared.io.sandbox REQUEST`` is the child: it limits itself, checks
the case and prints one JSON object, ``{"case": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hanseg_shared.errors import CheckDiedError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.confined import Confines, answer_request, run_confined
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits

_MODULE = "hanseg_shared.io.sandbox"

DEFAULT_CONFINES = Confines()
"""Enough, several times over, for a CT of 1024 x 1024 x 200 voxels."""


def check_case_in_child(
    ct_path: Path | str,
    mr_path: Path | str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    halt: Halt | None = None,
    *,
    confines: Confines = DEFAULT_CONFINES,
) -> CaseCheck:
    """Do what `check_case` does, in a process of its own.

    Args:
        ct_path: The planning CT: a NIfTI, NRRD or MHA file.
        mr_path: The T1 MR, or None.
        limits: Caps on each image.
        halt: Kills the child when it is told to.
        confines: What the child may use.

    Returns:
        The facts of the case's images.

    Raises:
        CheckDiedError: The child died, met a limit, or gave no answer.
        ServiceUnavailableError: It was killed from outside, and again: nothing is
            known of the images then.
        ImageError: As `check_case`, with the same class and message.
    """
    request = {
        "ct": str(Path(ct_path).absolute()),
        "mr": None if mr_path is None else str(Path(mr_path).absolute()),
        "limits": asdict(limits),
    }
    answer = run_confined(_MODULE, request, confines=confines, halt=halt or Halt())
    if "case" in answer:
        return CaseCheck.model_validate(answer["case"])
    names = " and ".join(Path(p).name for p in (ct_path, mr_path) if p is not None)
    raise CheckDiedError(
        f"{names} could not be read safely: the check ran out of memory or time, or "
        "crashed on damaged data; save the image again as compressed NIfTI"
    )


def _check(request: dict[str, Any]) -> dict[str, Any]:
    from hanseg_shared.io.check import check_case  # after the limits are in force

    case = check_case(request["ct"], request["mr"], Limits(**request["limits"]))
    return {"case": case.model_dump(mode="json")}


if __name__ == "__main__":
    answer_request(_check)
