"""Runs antsRegistration; called as a program by whichever interpreter has antspyx.

    python -I ants_script.py VERSION ARGUMENT…

It imports nothing of this project, which that interpreter may not have.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = 78
"""Exit status where this interpreter has no antspyx, or another one (EX_CONFIG)."""


def main() -> int:
    """Run antsRegistration with the arguments; return its exit status."""
    wanted, *arguments = sys.argv[1:]
    try:
        found = version("antspyx")
    except PackageNotFoundError:
        found = "none"
    if found != wanted:
        sys.stderr.write(f"antspyx {wanted} is needed, {found} is installed")
        return NOT_INSTALLED
    import ants

    ants.registration(arguments, None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
