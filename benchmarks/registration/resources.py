"""Memory of the resampling, and whether the same input gives the same result."""

from __future__ import annotations

import threading
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from benchmarks.figure import Figure
from benchmarks.registration.cases import rire, simulated
from benchmarks.registration.groups import Group
from benchmarks.registration.peers import regridded

from hanseg_registration.pipeline import register
from hanseg_shared.documents import TransformKind
from hanseg_shared.volume import Volume

LARGE_CT = (1024, 1024, 200)
MOST_MEMORY_GB = 1.0
"""What resampling onto the large CT may take above the arrays themselves."""

LARGEST_DIFFERENCE_MM = 0.05
"""How far another number of threads may move a point."""

THREADS = (1, 2, 4)


def measure() -> dict[str, object]:
    """Return peak memory and differences, each measured in a process of its own."""
    context = get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        memory = pool.apply(_memory)
        print(f"onto {LARGE_CT}: {memory}", flush=True)
        repeated = {
            group.value: pool.apply(_repeated, (group,))
            for group in (Group.RIRE, Group.SIMULATED)
        }
        print(f"repeated: {repeated}", flush=True)
    return {"memory": memory, "repeated": repeated}


def _memory() -> dict[str, float]:
    """Register by the headers onto a large CT; return GB above the arrays."""
    case = rire(0)
    ct = regridded(case.ct, LARGE_CT, background=-1000.0)
    ct = Volume(ct.array.astype(np.int16), ct.grid)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    before, began = _status_gb("VmRSS"), time.perf_counter()
    found = register(ct, case.mr, kind=TransformKind.NONE)
    seconds = time.perf_counter() - began
    arrays = (found.registered_mr.array, found.field_of_view.array)
    own = sum(array.nbytes for array in arrays) / 1e9
    return {
        "above_arrays_gb": round(_status_gb("VmHWM") - before - own, 3),
        "arrays_gb": round(own, 3),
        "seconds": round(seconds, 2),
        "threads": float(threading.active_count()),
    }


def _status_gb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e9


def _repeated(group: Group) -> dict[str, float | bool]:
    """Register the same twice, and with several numbers of threads."""
    case = rire(1) if group is Group.RIRE else simulated(0)
    found = []
    for threads in (*THREADS, THREADS[0]):
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        found.append(register(case.ct, case.mr))
    first, last = found[0], found[-1]
    same = first.transform.GetParameters() == last.transform.GetParameters()
    same = same and np.array_equal(first.registered_mr.array, last.registered_mr.array)
    points = case.region.tolist()
    put = [[f.transform.TransformPoint(p) for p in points] for f in found]
    apart = np.linalg.norm(np.array(put) - np.array(put[0]), axis=2)
    return {"same_bits": bool(same), "threads_mm": float(apart.max())}


def figures(document: dict[str, dict[str, object]]) -> list[Figure]:
    """Return the table's lines for what `measure` returned."""
    above = float(str(document["memory"]["above_arrays_gb"]))
    repeated = [dict(each) for each in document["repeated"].values()]  # type: ignore[call-overload]
    same = all(each["same_bits"] for each in repeated)
    apart = max(float(each["threads_mm"]) for each in repeated)
    return [
        Figure(
            "memory to bring an MR onto 1024 x 1024 x 200, above the arrays",
            f"<= {MOST_MEMORY_GB:g} GB",
            f"{above:.2f} GB",
            above <= MOST_MEMORY_GB,
        ),
        Figure("the same input twice", "the same bits", "yes" if same else "no", same),
        Figure(
            "1, 2 or 4 threads",
            f"<= {LARGEST_DIFFERENCE_MM:g} mm apart",
            f"{apart:.3f} mm",
            apart <= LARGEST_DIFFERENCE_MM,
        ),
    ]
