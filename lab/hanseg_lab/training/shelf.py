"""Prepared samples on disk, read when they are needed and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import overload

from hanseg_lab.training.sample import Sample

MOST_BYTES = 6 * 2**30
"""What a process keeps of its samples."""


class Shelf(Sequence[Sample]):
    """The samples of some files, in their order; safe to use from several threads.

    Args:
        files: Prepared samples.
        most_bytes: What is kept in memory at most; what was used least recently goes
            first.
    """

    def __init__(self, files: Sequence[Path], *, most_bytes: int = MOST_BYTES) -> None:
        self.files = tuple(files)
        self.most_bytes = most_bytes
        self._kept: OrderedDict[int, Sample] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Shelf: ...
    def __getitem__(self, index: int | slice) -> Sample | Shelf:
        if isinstance(index, slice):
            return Shelf(self.files[index], most_bytes=self.most_bytes)
        number = range(len(self.files))[index]
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        sample = Sample.load(self.files[number])
        with self._lock:
            self._keep(number, sample)
        return sample

    def _keep(self, number: int, sample: Sample) -> None:
        if number in self._kept:
            return
        self._kept[number] = sample
        self._bytes += _size(sample)
        while self._bytes > self.most_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)


def _size(sample: Sample) -> int:
    arrays = (sample.ct_hu, sample.mr, sample.codes, sample.sets)
    return sum(each.nbytes for each in arrays if each is not None)
