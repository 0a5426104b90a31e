"""Ways to damage a file: bytes that flip, ends that are lost, pieces of something else, values of another shape."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

DEEP = b"[" * 100_000
WHOLES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"1e999",
    b"NaN",
    DEEP,
    b'{"a":' * 100_000,
    b"\xff\xfe",
    b"\0" * 500,
    b"PK\x03\x04",
)
VALUES: tuple[Any, ...] = (
    None,
    "text",
    "",
    -1,
    0,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    {"a": None},
    True,
)
VALUES += ("../../x", "/", "\0", [None], [1, "a"], {"": {}})


def flipped(data: bytes, draw: np.random.Generator) -> bytes:
    """One to three bits are others."""
    changed = bytearray(data)
    for place in draw.integers(0, max(1, len(data)), draw.integers(1, 4)).tolist() if data else ():
        changed[place] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def cut(data: bytes, draw: np.random.Generator) -> bytes:
    """The end is missing."""
    return data[: int(draw.integers(0, max(1, len(data))))]


def replaced(data: bytes, draw: np.random.Generator) -> bytes:
    """A piece is noise, or zeros as after a crash of the machine."""
    start = int(draw.integers(0, max(1, len(data))))
    count = int(draw.integers(1, 200))
    noise = draw.bytes(count) if draw.random() < 0.5 else b"\0" * count
    return data[:start] + noise + data[start + count :]


def inserted(data: bytes, draw: np.random.Generator) -> bytes:
    """A piece is there twice, or something came in between."""
    start = int(draw.integers(0, max(1, len(data))))
    return data[:start] + draw.bytes(int(draw.integers(1, 40))) + data[start:]


def another(data: bytes, draw: np.random.Generator) -> bytes:
    """Something else altogether."""
    return WHOLES[int(draw.integers(len(WHOLES)))]


def reshaped(data: bytes, draw: np.random.Generator) -> bytes:
    """Of JSON, or of lines of JSON, one value is another or gone; other files have a bit flipped."""
    lines = data.splitlines() if data.count(b"\n{") else [data]
    number = int(draw.integers(max(1, len(lines))))
    try:
        tree = json.loads(lines[number])
    except (ValueError, IndexError, RecursionError):
        return flipped(data, draw)
    lines[number] = json.dumps(_changed(tree, draw)).encode()
    return b"\n".join(lines) + b"\n"


def _changed(tree: Any, draw: np.random.Generator) -> Any:
    inside = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    if not inside or draw.random() < 0.15:
        return VALUES[int(draw.integers(len(VALUES)))]
    key = inside[int(draw.integers(len(inside)))]
    if draw.random() < 0.1:
        del tree[key]
    else:
        tree[key] = _changed(tree[key], draw)
    return tree


WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (flipped, cut, replaced, inserted, another, reshaped)


def damaged(data: bytes, seed: int) -> bytes:
    """The data after a seeded mishap; `zlib` keeps the seed from being the same for every file."""
    draw = np.random.default_rng([seed, zlib.crc32(data)])
    return WAYS[int(draw.integers(len(WAYS)))](data, draw)
