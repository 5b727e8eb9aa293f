"""Valid files spoiled by chance, but repeatably: bytes, words of a header, JSON."""

from __future__ import annotations

import gzip
import json
import random
import re
import struct
from copy import deepcopy
from typing import Any

HEAD_BYTES = 600
"""Most changes fall where headers are; what lies behind are mostly voxels."""

NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF,
           0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
"""Where arithmetic of fixed width goes wrong."""

FLOATS = (0.0, -0.0, 1e-30, 1e30, -1.0, float("nan"), float("inf"), float("-inf"))

WORDS = (b"0", b"-1", b"1", b"3", b"4096", b"65536", b"99999999999", b"1e9", b"1e-9",
         b"1e309", b"nan", b"inf", b"(", b")", b"none", b"\n", b"\n\n", b"", b"\0",
         b"../../etc/passwd", b"LOCAL", b"LIST", b"%s%n", b"\xff\xfe", b"A" * 3000,
         b"1 " * 400)  # fmt: skip

_WORD = re.compile(rb"[^\s=:(),]+")

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1e-300, -1e308, "", "\0",
    "../..", "A" * 3000, "Z\u0301\u202e", [], {}, [[]], [None], {"": None}, "1", "nan",
)  # fmt: skip

KINDS = ("bit", "byte", "number", "number", "float", "word", "word", "cut", "twice",
         "lost", "grow")  # fmt: skip

GZIP = b"\x1f\x8b"


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return a file with one to six changes of the kind that suits it."""
    if content.startswith(GZIP) and chance.random() < 0.7:
        inner = mutate(gzip.decompress(content), chance)
        return gzip.compress(inner, 1, mtime=0)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        _change(changed, chance)
    return bytes(changed)


def _change(content: bytearray, chance: random.Random) -> None:
    size = len(content)
    if size < 2:
        content += b"\0"
        return
    within = size if chance.random() < 0.2 else min(size, HEAD_BYTES)
    at, length = chance.randrange(within), chance.randrange(1, 90)
    kind = chance.choice(KINDS)
    if kind == "word":
        _change_word(content, chance)
    elif kind == "cut":
        del content[chance.randrange(size) :]
    elif kind == "lost":
        del content[at : at + length]
    elif kind in {"twice", "grow"}:
        piece = bytes(content[at : at + length])
        content[at:at] = piece if kind == "twice" else piece[:1] * 5000
    else:
        field = _field(kind, content[at], chance)
        content[at : at + len(field)] = field


def _field(kind: str, byte: int, chance: random.Random) -> bytes:
    if kind == "bit":
        return bytes([byte ^ 1 << chance.randrange(8)])
    if kind == "byte":
        return bytes([chance.randrange(256)])
    return _number(chance) if kind == "number" else _float(chance)


def _number(chance: random.Random) -> bytes:
    order, form = chance.choice("<>"), chance.choice("BHIQ")
    most = (1 << 8 * struct.calcsize(form)) - 1
    return struct.pack(f"{order}{form}", chance.choice(NUMBERS) & most)


def _float(chance: random.Random) -> bytes:
    return struct.pack(f"{chance.choice('<>')}{chance.choice('fd')}",
                       chance.choice(FLOATS))  # fmt: skip


def _change_word(content: bytearray, chance: random.Random) -> None:
    words = list(_WORD.finditer(bytes(content[: 4 * HEAD_BYTES])))
    if words:
        found = chance.choice(words)
        content[found.start() : found.end()] = chance.choice(WORDS)


def mutate_json(text: bytes, chance: random.Random) -> bytes:
    """Return a JSON document with members changed, lost, doubled or nested deep."""
    if chance.random() < 0.15:
        return mutate(text, chance)
    document = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change_node(document, chance)
    written = json.dumps(document)
    if chance.random() < 0.03:
        return written.replace(":", ":" + "[" * 3000, 1).encode()
    return written.encode("utf-8", "surrogatepass")


def _change_node(node: Any, chance: random.Random) -> None:
    """Walk down by chance, and change a member of where that ends."""
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chance.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and chance.random() < 0.7:
            node = node[key]
            continue
        match chance.choice(("odd", "odd", "odd", "lost", "other", "many")):
            case "odd":
                node[key] = deepcopy(chance.choice(_ODD))
            case "lost":
                del node[key]
            case "other" if isinstance(node, dict):
                node[chance.choice(("", "extra", "A" * 300, "\0"))] = chance.choice(
                    _ODD
                )
            case _ if isinstance(node, list):
                node.extend([node[key]] * chance.choice((1, 5000)))
            case _:
                node[key] = [node[key]] * 100
        return
