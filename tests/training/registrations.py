"""Results of a registration, as `hanseg batch` leaves them, made of a phantom."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.io.write import write_volume
from hanseg_shared.result_files import FIELD_OF_VIEW, REGISTERED_MR, REPORT
from hanseg_shared.volume import Volume


def write_result(folder: Path, ct: Volume, *, verdict: MrVerdict) -> Path:
    """Write the CT as an MR of the lower half of the slices, and its report."""
    folder.mkdir(parents=True)
    view = np.zeros(ct.grid.shape, bool)
    view[: len(view) // 2] = True
    write_volume(
        ct.with_array(np.float32(ct.array + 1100) * view), folder / REGISTERED_MR
    )
    write_volume(ct.with_array(view), folder / FIELD_OF_VIEW)
    report = RegistrationReport(verdict=verdict, reason="as the test wants it")
    (folder / REPORT).write_text(report.model_dump_json())
    return folder
