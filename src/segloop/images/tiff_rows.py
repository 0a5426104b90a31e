"""Some rows of a TIFF of JPEG tiles or strips, decoded by Pillow as it decodes the whole file.

JPEG's decoders differ in the last bits, so that rows from another one would not be those of the photo. Tiles share
nothing but tables: some rows of them, with the tags that tell how they are coded, are a small TIFF.
"""

import io
import struct
from dataclasses import dataclass
from itertools import accumulate
from typing import IO, Any

import numpy as np
from PIL import Image

from .levels import quiet

WIDTH, LENGTH, STRIP_OFFSETS, STRIP_ROWS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 256, 257, 273, 278, 279, 324, 325
CODING = (258, 259, 262, 277, 284, 322, 323, 338, 347, 530, 531, 532)  # tags: bits, compression, tables, colours ...
LONG = 4  # type of a tag's numbers

Value = tuple[int, int, bytes]  # of a tag: type, how many, their bytes


@dataclass(frozen=True)
class Segments:
    """Where the tiles or strips of a page lie, and how they are coded."""

    size: tuple[int, int]  # (H, W)
    high: int  # rows of a tile or strip
    across: int  # tiles side by side
    tiled: bool
    places: tuple[tuple[int, int], ...]  # offset and length of each
    coding: dict[int, Value]
    order: str  # of bytes, "<" or ">"

    def rows(self, stream: IO[bytes], start: int, stop: int) -> np.ndarray:
        """(r, W, C) uint8; `start` and, but for the last row, `stop` are multiples of `high`.

        Raises ValueError where the file ends before, and what Pillow does.
        """
        parts = []
        for offset, length in self.places[start // self.high * self.across : -(-stop // self.high) * self.across]:
            stream.seek(offset)
            parts.append(stream.read(length))
            if len(parts[-1]) < length:
                raise ValueError("parts of the picture are missing")
        with quiet(), Image.open(io.BytesIO(self._file(parts, stop - start))) as image:
            return np.asarray(image).reshape(stop - start, self.size[1], -1)

    def _file(self, parts: list[bytes], rows: int) -> bytes:
        lengths = [len(part) for part in parts]
        offsets = list(accumulate(lengths[:-1], initial=8))
        body = b"".join(parts) + bytes(sum(lengths) % 2)
        at, size = (TILE_OFFSETS, TILE_COUNTS) if self.tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        numbers = {WIDTH: [self.size[1]], LENGTH: [rows], at: offsets, size: lengths}
        numbers |= {} if self.tiled else {STRIP_ROWS: [self.high]}
        tags = self.coding | {tag: self._value(value) for tag, value in numbers.items()}
        after = 8 + len(body) + 2 + 12 * len(tags) + 4
        entries, more = b"", b""
        for tag, (kind, count, value) in sorted(tags.items()):
            short = len(value) <= 4
            cell = value.ljust(4, b"\0") if short else struct.pack(f"{self.order}I", after + len(more))
            more += b"" if short else value + bytes(len(value) % 2)
            entries += struct.pack(f"{self.order}HHI", tag, kind, count) + cell
        head = struct.pack(f"{self.order}2sHI", b"II" if self.order == "<" else b"MM", 42, 8 + len(body))
        return head + body + struct.pack(f"{self.order}H", len(tags)) + entries + bytes(4) + more

    def _value(self, numbers: list[int]) -> Value:
        return LONG, len(numbers), struct.pack(f"{self.order}{len(numbers)}I", *numbers)


def segments_of(page: Any) -> Segments:
    """Those of a page of tifffile's, whose file is open."""
    file, coding = page.parent.filehandle, {}
    for tag in (page.tags.get(number) for number in CODING):
        if tag is not None:
            file.seek(tag.valueoffset)
            coding[tag.code] = (int(tag.dtype), tag.count, file.read(tag.valuebytecount))
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
    places = tuple(zip(page.dataoffsets, page.databytecounts, strict=True))
    size = (page.imagelength, page.imagewidth)
    return Segments(size, high, across, page.is_tiled, places, coding, page.parent.byteorder)
