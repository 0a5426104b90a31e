"""The numbers of a TIFF page: by tifffile, and where that would need a package of codecs, by Pillow's libtiff."""

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError
from .levels import quiet

NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
FLOATING = 3  # predictor
WHOLE_BYTES = (8, 16, 32, 64)
CODECS = "pip install imagecodecs, or save it with LZW, deflate or no compression"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def pixels(page: Any, name: str) -> np.ndarray:
    """A page of tifffile's -> its numbers, of shape `page.shaped`, in this machine's byte order.

    Raises ImageError for compressions that need the optional package imagecodecs, and whatever broken data makes
    the decoders raise.
    """
    compression, predictor = int(page.compression), int(page.predictor)
    bits = page.bitspersample
    if compression in (NONE, PACKBITS):
        page.predictor = predictor = 1  # the specification knows it with compressions only, and so does libtiff
    plain = compression in (NONE, DEFLATE, OLD_DEFLATE, LZMA) and predictor in (1, 2) and bits in WHOLE_BYTES
    usual = bits in WHOLE_BYTES or (isinstance(bits, int) and bits < 16 and predictor == 1)
    ours = compression in DECODERS and predictor in (1, 2, FLOATING) and usual
    if plain or (find_spec("imagecodecs") and not ours):
        return page.asarray(maxworkers=1)
    if not ours:
        how = getattr(page.compression, "name", compression)
        what = f"{name} has numbers of {bits} bits, compressed by {how} with predictor {predictor}"
        raise ImageError(f"{what}, which cannot be read here", CODECS)
    return _by_segments(page)


def _by_segments(page: Any) -> np.ndarray:
    """Strips or tiles, decoded one by one and laid where tifffile says."""
    whole = np.full(page.shaped, page.nodata, page.dtype)
    for raw, index in _segments(page):
        part, (separate, _, top, left, _), _ = page.decode(raw, index)
        if part is not None:
            rows, columns = (min(whole.shape[i] - at, part.shape[i - 1]) for i, at in ((2, top), (3, left)))
            whole[separate, 0, top : top + rows, left : left + columns] = part[0, :rows, :columns]
    return whole


def _segments(page: Any) -> Iterator[tuple[bytes | None, int]]:
    """Each segment's bytes as if they had not been compressed, and its number; `page` is told so."""
    decode, bits = DECODERS[int(page.compression)], page.bitspersample
    order, floating, reverse = page.parent.byteorder, int(page.predictor) == FLOATING, page.fillorder == 2
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width = (page.tilewidth or page.imagewidth) * samples
    page.compression, page.fillorder = NONE, 1
    if floating:
        page.predictor = 1
    if bits not in WHOLE_BYTES:
        page.bitspersample = 8 if bits < 8 else 16
    file = page.parent.filehandle
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        if not count:
            yield None, index  # left out: no data there
            continue
        file.seek(offset)
        data = file.read(count)
        size = (_rows(page, index), -(-width * bits // 8))
        raw = decode(data.translate(REVERSED) if reverse else data, *size)
        if floating:
            raw = _undo_floating(raw, *size, samples, bits // 8, order)
        yield (raw if bits in WHOLE_BYTES else _unpacked(raw, *size, width, bits, order)), index


def _rows(page: Any, index: int) -> int:
    if page.is_tiled:
        return int(page.tilelength)
    strips = -(-page.imagelength // page.rowsperstrip)
    return min(page.rowsperstrip, page.imagelength - index % strips * page.rowsperstrip)


def _undo_floating(raw: bytes, rows: int, width: int, samples: int, size: int, order: str) -> bytes:
    """Predictor 3 (Adobe's technical note 3): bytes of equal weight lie together, each row differenced."""
    summed = np.frombuffer(raw, np.uint8).reshape(rows, -1, samples).cumsum(axis=1, dtype=np.uint8)
    big_endian = summed.reshape(rows, size, width // size).transpose(0, 2, 1)
    return (big_endian if order == ">" else big_endian[..., ::-1]).tobytes()


def _unpacked(raw: bytes, rows: int, bytes_: int, width: int, bits: int, order: str) -> bytes:
    """Numbers of `bits` bits, rows beginning with a byte, as bytes or 16-bit ones."""
    ones = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(rows, bytes_), axis=1)[:, : width * bits]
    weights = 1 << np.arange(bits)[::-1]
    return (ones.reshape(rows, width, bits) @ weights).astype(f"{order}u{1 if bits < 8 else 2}").tobytes()


def _by_libtiff(compression: int) -> Callable[[bytes, int, int], bytes]:
    """A decoder that gives Pillow the segment as a grey picture of bytes."""

    def decode(data: bytes, rows: int, width: int) -> bytes:
        tags = {256: width, 257: rows, 258: 8, 259: compression, 262: 1, 273: 122, 277: 1, 278: rows, 279: len(data)}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        file = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data
        with quiet(), Image.open(io.BytesIO(file)) as image:
            return image.tobytes()

    return decode


def _by_zlib(data: bytes, rows: int, width: int) -> bytes:
    return zlib.decompressobj().decompress(data, rows * width)


def _by_lzma(data: bytes, rows: int, width: int) -> bytes:
    return lzma.LZMADecompressor().decompress(data, rows * width)


DECODERS: dict[int, Callable[[bytes, int, int], bytes]] = {
    NONE: lambda data, rows, width: data[: rows * width],
    DEFLATE: _by_zlib,
    OLD_DEFLATE: _by_zlib,
    LZMA: _by_lzma,
    **{compression: _by_libtiff(compression) for compression in (LZW, PACKBITS, ZSTD)},
}
