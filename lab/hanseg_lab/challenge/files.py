"""Files that are there whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

PAGE, PICTURES = "challenge.md", "pictures"
"""The page, and the folder of its pictures beside it."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file by rename; its folder is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def copy_folder(source: Path, target: Path) -> None:
    """Put a copy of a folder in the place of `target`, which is replaced."""
    partial = target.with_name(f".{target.name}.part")
    remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, partial)
    remove(target)
    partial.rename(target)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def copy_page(report: Path, docs: Path) -> None:
    """Put the page and its pictures among the project's documentation.

    Args:
        report: Folder of `PAGE` and its `PICTURES`.
        docs: The documentation's; gets ``lab/challenge.md`` and
            ``pictures/challenge/``.
    """
    copy_folder(report / PICTURES, docs / PICTURES / "challenge")
    page = (report / PAGE).read_text(encoding="utf-8")
    moved = page.replace(f"]({PICTURES}/", f"](../{PICTURES}/challenge/")
    write_atomically(docs / "lab" / PAGE, moved)
