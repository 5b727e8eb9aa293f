"""Results of earlier image checks by the files' hashes: no image is checked twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from hanseg_shared.errors import CheckDiedError, ImageError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.limits import Limits

MOST_VERDICTS = 512
"""How many are remembered: a few kilobytes each."""

Key = tuple[str, str | None, Limits]
"""SHA-256 of the CT, of the MR if there is one, and the caps they were held against."""


class Verdicts:
    """The latest verdicts on images, good and bad; for threads.

    A check whose process died is not remembered: memory may have been short just then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, CaseCheck | ImageError] = OrderedDict()

    def find_or_look(self, key: Key, look: Callable[[], CaseCheck]) -> CaseCheck:
        """Return what is known of images, or what a look at them finds.

        Raises:
            ImageError: One cannot be used.
        """
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = _look_or_fault(look)
            self._remember(key, known)
        if isinstance(known, ImageError):
            raise type(known)(known.message)  # its own, not one that threads share
        return known

    def _remember(self, key: Key, found: CaseCheck | ImageError) -> None:
        with self._lock:
            self._known[key] = found
            if len(self._known) > MOST_VERDICTS:
                self._known.popitem(last=False)


def _look_or_fault(look: Callable[[], CaseCheck]) -> CaseCheck | ImageError:
    try:
        return look()
    except CheckDiedError:
        raise
    except ImageError as error:
        return error
