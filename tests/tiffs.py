"""TIFF files byte by byte, of any kind that tests ask for: strips or tiles, planes, bits, predictors, codecs."""

import io
import lzma
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = {5: "tiff_lzw", 32773: "packbits", 50000: "zstd"}
LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 13: "I"}  # of TIFF's types


def libtiff(data: bytes, compression: int) -> bytes:
    """Bytes as Pillow's libtiff packs them, in one strip."""
    stream = io.BytesIO()
    image = Image.frombytes("L", (len(data), 1), data)
    try:
        image.save(stream, "TIFF", compression=NAMES[compression])
    except OSError:
        pytest.skip(f"this Pillow cannot write {NAMES[compression]}")
    with Image.open(stream) as made:
        (offset,), (count,) = made.tag_v2[273], made.tag_v2[279]
    return stream.getvalue()[offset : offset + count]


def packed(data: bytes, compression: int) -> bytes:
    if compression in NAMES:
        return libtiff(data, compression)
    return {1: bytes, 8: zlib.compress, 32946: zlib.compress, 34925: lzma.compress}[compression](data)


def segment(values: np.ndarray, order: str, bits: int, predictor: int) -> bytes:
    """(rows, columns, samples) as stored bytes, before compression."""
    rows, _, samples = values.shape
    if predictor == 2:
        values = np.diff(values, axis=1, prepend=np.zeros_like(values[:, :1]))
    if bits % 8:
        flat = values.reshape(rows, -1).astype(np.int64)
        ones = flat[..., None] >> np.arange(bits)[::-1] & 1
        return np.packbits(ones.reshape(rows, -1).astype(np.uint8), axis=1).tobytes()
    if predictor == 3:
        size = values.dtype.itemsize
        planes = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, -1, size).transpose(0, 2, 1)
        across = planes.reshape(rows, -1, samples)
        return np.diff(across, axis=1, prepend=np.zeros_like(across[:, :1])).tobytes()
    return values.astype(values.dtype.newbyteorder(order)).tobytes()


def segments(values: np.ndarray, tile: int, rows: int) -> list[np.ndarray]:
    height, width, _ = values.shape
    if not tile:
        return [values[top : top + rows] for top in range(0, height, rows)]
    down, right = -height % tile, -width % tile
    whole = np.pad(values, ((0, down), (0, right), (0, 0)), mode="edge")
    return [
        whole[top : top + tile, left : left + tile] for top in range(0, height, tile) for left in range(0, width, tile)
    ]


def page_tags(
    values: np.ndarray,
    *,
    photometric: int | None = None,
    planar: int = 1,
    compression: int = 1,
    predictor: int = 1,
    bits: int = 0,
    order: str = "<",
    tile: int = 0,
    rows: int = 5,
    extras: tuple[int, ...] = (),
    more: dict | None = None,
    reverse: bool = False,
) -> tuple[dict, list[bytes]]:
    """An image of shape (H, W, C) as tags {tag: (type, values)} and segments; offsets are still missing."""
    height, width, samples = values.shape
    bits = bits or values.dtype.itemsize * 8
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    planes = [values] if planar == 1 else [values[..., i : i + 1] for i in range(samples)]
    parts = [
        packed(segment(part, order, bits, predictor), compression) for p in planes for part in segments(p, tile, rows)
    ]
    if reverse:
        parts = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in part) for part in parts]
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [compression]),
        262: (3, [photometric if photometric is not None else (2 if samples == 3 else 1)]),
        266: (3, [2 if reverse else 1]),
        277: (3, [samples]),
        284: (3, [planar]),
        317: (3, [predictor]),
        339: (3, [sample_format] * samples),
    }
    tags |= {322: (4, [tile]), 323: (4, [tile])} if tile else {278: (4, [rows])}
    tags |= {338: (3, list(extras))} if extras else {}
    return tags | (more or {}), parts


def write(path: Path, *pages: tuple[dict, list[bytes]], order: str = "<", below: dict | None = None) -> Path:
    """Pages of `page_tags` as a file; `below[i]` are SubIFDs of page i."""
    file = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))

    def add(page: tuple[dict, list[bytes]], subs: list[int]) -> int:
        tags, parts = dict(page[0]), page[1]
        offsets = []
        for part in parts:
            file.extend(bytes(len(file) % 2))
            offsets.append(len(file))
            file.extend(part)
        first, second = (324, 325) if 322 in tags else (273, 279)
        tags |= {first: (4, offsets), second: (4, [len(part) for part in parts])}
        tags |= {330: (13, subs)} if subs else {}
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            data = struct.pack(order + LETTERS[kind] * len(values), *values)
            if len(data) > 4:
                file.extend(bytes(len(file) % 2))
                place = struct.pack(f"{order}I", len(file))
                file.extend(data)
            else:
                place = data.ljust(4, b"\0")
            entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
        file.extend(bytes(len(file) % 2))
        at = len(file)
        file.extend(struct.pack(f"{order}H", len(tags)) + entries + bytes(4))
        return at

    link = 4
    for number, page in enumerate(pages):
        subs = [add(sub, []) for sub in (below or {}).get(number, [])]
        at = add(page, subs)
        struct.pack_into(f"{order}I", file, link, at)
        link = len(file) - 4
    path.write_bytes(file)
    return path
