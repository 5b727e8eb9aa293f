"""Results of earlier image checks by the files' hashes: no image is checked twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from hanseg_shared.errors import CheckDiedError, ImageError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.limits import Limits

MOST_CHECKS_KEPT = 512
"""How many results are remembered: a few kilobytes each."""

Key = tuple[str, str | None, Limits]
"""SHA-256 of the CT and of the MR, if there is one, and the caps they were held to."""


class CheckCache:
    """The latest results of checks, good and bad; safe to use from several threads.

    A check whose process died is not remembered: memory may have been short just then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, CaseCheck | ImageError] = OrderedDict()

    def find_or_check(self, key: Key, check: Callable[[], CaseCheck]) -> CaseCheck:
        """Return the known result of a check, or the result of checking now.

        Raises:
            ImageError: An image cannot be used.
        """
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = _check_or_fault(check)
            self._remember(key, known)
        if isinstance(known, ImageError):
            raise type(known)(known.message)  # a new one: threads must not share it
        return known

    def _remember(self, key: Key, found: CaseCheck | ImageError) -> None:
        with self._lock:
            self._known[key] = found
            if len(self._known) > MOST_CHECKS_KEPT:
                self._known.popitem(last=False)


def _check_or_fault(check: Callable[[], CaseCheck]) -> CaseCheck | ImageError:
    try:
        return check()
    except CheckDiedError:
        raise
    except ImageError as error:
        return error
