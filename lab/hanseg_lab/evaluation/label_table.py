"""What the numbers and names of given masks stand for, in terms of our organs.

A "label 1" is never assumed to be ours: a declaration in the folder or the user states
what numbers mean. A label stands for a structure: an organ, or several of ours as one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_lab.declaration import (
    Declaration,
    Extent,
    Label,
    known_declaration,
    known_declarations,
    our_labels,
    read_declaration,
)
from hanseg_lab.evaluation.csv_file import read_text
from hanseg_lab.evaluation.structures import organs_in, structure
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.io.names import normalise
from hanseg_shared.organ_names import nearest_organs, organ_of

FORMAT = "a CSV file with the columns value,organ"
"""What a table is, for messages."""

_VALUE_COLUMNS = {"value", "label", "number"}
_ORGAN_COLUMNS = {"organ", "organs"}
_NOT_OURS = {"", "-", "none", "background", "ignore"}
_LARGEST_VALUE = 255


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What numbers and names stand for: a structure, or None for nothing of ours.

    Attributes:
        source: Who says so, for messages.
        by_value: By the number in a label map.
        by_name: By the name of a segment or of a file, in lower case.
        not_scored: Labels that hold organs of ours, but are contoured by other rules.
        maps: Where a case has several label maps: the table of each, by the word that
            the file's name ends in. The attributes above are empty then.
    """

    source: str
    by_value: Mapping[int, str | None] = field(default_factory=dict)
    by_name: Mapping[str, str | None] = field(default_factory=dict)
    not_scored: tuple[str, ...] = ()
    maps: Mapping[str, LabelTable] = field(default_factory=dict)

    def of_file(self, stem: str, file: Path) -> LabelTable:
        """Return the table of one label map.

        Raises:
            InputError: There are several, and the file's name ends in none's word.
        """
        if not self.maps:
            return self
        if len(self.maps) == 1:
            return next(iter(self.maps.values()))
        word = stem.rpartition("_")[2].lower()
        if word not in self.maps:
            raise InputError(
                f"{file}: {self.source} has several label maps a case; the file's name "
                f"must end in one of {', '.join(f'_{each}' for each in self.maps)}"
            )
        return self.maps[word]

    def names(self, name: str) -> bool:
        """Whether the table has a segment's or file's name."""
        return normalise(name).lower() in self.by_name

    def structure_of(self, name: str) -> str | None:
        """Return what a segment's or file's name stands for; None for nothing of ours.

        Raises:
            InputError: Neither this table nor the list of organs has the name.
        """
        for table in (self, *self.maps.values()):
            if table.names(name):
                return table.by_name[normalise(name).lower()]
        found = organ_of(name)
        if found is None:
            raise InputError(f"{name!r} is no organ by its name")
        return found


def table_of_declaration(declaration: Declaration, source: str) -> LabelTable:
    """Return what a data set's declaration says of its labels."""
    if declaration.maps:
        tables = {
            each: _table_of([x for x in declaration.labels if x.map == each], source)
            for each in declaration.maps
        }
        return LabelTable(source, maps=tables)
    return _table_of(declaration.labels, source)


def _table_of(labels: Sequence[Label], source: str) -> LabelTable:
    stands_for = {each.name: _structure_of_label(each) for each in labels}
    return LabelTable(
        source,
        {each.value: stands_for[each.name] for each in labels if each.value},
        {normalise(name).lower(): what for name, what in stands_for.items()},
        tuple(
            each.name
            for each in labels
            if each.organs and stands_for[each.name] is None
        ),
    )


def _structure_of_label(label: Label) -> str | None:
    exact = label.extent is Extent.EXACT and not label.also and label.organs
    return structure(label.organs) if exact else None


OUR_NUMBERS = _table_of(our_labels(), "the HaN-Seg numbers 1 to 30")
"""Labels 1 to 30 as this product writes them."""


def read_label_table(given: str) -> LabelTable:
    """Return the table that a user names: a file, or a built-in declaration.

    Args:
        given: A CSV file (value or name, our organ or organs), a data set's
            declaration (.json), or the name of one that comes with this package.

    Raises:
        InputError: The file cannot be used.
        OptionError: There is neither such a file nor such a declaration.
    """
    path, name = Path(given), given.lower().replace("-", "_")
    known = {each.replace("_", ""): each for each in known_declarations()}
    if path.is_file():
        if path.suffix.lower() == ".json":
            return table_of_declaration(read_declaration(path), str(path))
        return _read_table(path)
    if name.replace("_", "") in known:
        found = known[name.replace("_", "")]
        return table_of_declaration(
            known_declaration(found), f"the declaration {found}"
        )
    raise OptionError(
        f"--labels {given}: there is no such file; {FORMAT}, or one of "
        f"{', '.join(known.values())} is needed"
    )


def _read_table(path: Path) -> LabelTable:
    by_value: dict[int, str | None] = {}
    by_name: dict[str, str | None] = {}
    for line, first, organs in _lines(path):
        where = f"{path}, line {line}"
        stands_for = _parse_structure(organs, where)
        if first.isascii() and first.isdigit():
            value = int(first[:6])
            if not 1 <= value <= _LARGEST_VALUE:
                raise InputError(
                    f"{where}: a value must be 1 to {_LARGEST_VALUE}, got {first[:20]}"
                )
            if value in by_value:
                raise InputError(f"{where}: the value {value} is there twice")
            by_value[value] = stands_for
        elif normalise(first).lower() in by_name:
            raise InputError(f"{where}: the name {first!r} is there twice")
        else:
            by_name[normalise(first).lower()] = stands_for
    if not by_value and not by_name:
        raise InputError(f"{path}: there are no labels in it; {FORMAT} is needed")
    _require_separate([*by_value.values(), *by_name.values()], path)
    return LabelTable(str(path), by_value, by_name)


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each line's number, its value or name, and the cells of organs."""
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, [c.strip() for c in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    lone = [cells[0] for _, cells in rows if len(cells) == 1]
    if lone and len(lone) == len(rows) and re.search(r"[;\t]", lone[0]):
        raise InputError(
            f"{path} is separated by semicolons or tabs; save it as 'CSV UTF-8', "
            "separated by commas"
        )
    if rows and rows[0][1][0].lower() in _VALUE_COLUMNS:
        _require_header(rows.pop(0)[1], path)
    for line, cells in rows:
        if not cells[0]:
            raise InputError(f"{path}, line {line}: the value is missing")
        if len(cells) == 1:
            raise InputError(f"{path}, line {line}: {FORMAT} is needed, got one cell")
        yield line, cells[0], cells[1:]


def _require_header(header: list[str], path: Path) -> None:
    if len(header) < 2 or header[1].lower() not in _ORGAN_COLUMNS:
        raise InputError(
            f"{path}: the columns value, organ are needed, got {', '.join(header)}"
        )


def _parse_structure(cells: Sequence[str], where: str) -> str | None:
    names = [name.strip() for cell in cells for name in re.split(r"[+;|,]", cell)]
    wanted = [name for name in names if name.lower() not in _NOT_OURS]
    return structure(_our_organ(name, where) for name in wanted) if wanted else None


def _our_organ(name: str, where: str) -> str:
    found = organ_of(name)
    if found is None:
        near = ", ".join(nearest_organs(name)) or "none of the 30"
        raise InputError(f"{where}: no organ is called {name!r} (nearest: {near})")
    return found


def _require_separate(structures: Iterable[str | None], path: Path) -> None:
    """Refuse an organ that is one label alone and part of another."""
    seen: dict[str, str] = {}
    for each in structures:
        for name in organs_in(each) if each else ():
            if seen.setdefault(name, each or "") != each:
                raise InputError(
                    f"{path}: {name} is in {seen[name]} and in {each}; a label stands "
                    "for an organ, or for several of which no other label has one"
                )
