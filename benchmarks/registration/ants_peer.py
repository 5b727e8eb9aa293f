"""antsRegistration's rigid mode, called by an interpreter that has antspyx.

    python ants_peer.py FIXED MOVING TRANSFORM START

Writes the transform that maps points of FIXED to points of MOVING, and prints the
seconds that the registration alone took, wall and processor. START is ``identity``
(the headers put the images together) or ``centres`` (antspyx's own default). It
imports nothing of this project, since antspyx lives apart from it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time


def main() -> None:
    """Register two files."""
    import ants

    fixed, moving = (ants.image_read(path) for path in sys.argv[1:3])
    start = ["Identity"] if sys.argv[4] == "identity" else None
    wall, processor = time.perf_counter(), time.process_time()
    found = ants.registration(
        fixed,
        moving,
        type_of_transform="Rigid",
        initial_transform=start,
        random_seed=1,
    )
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    shutil.copy(found["fwdtransforms"][0], sys.argv[3])
    print("\n" + json.dumps({"wall_s": wall, "processor_s": processor}))


if __name__ == "__main__":
    main()
