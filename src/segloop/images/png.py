"""PNG files whose pixels are whole while something beside them is not: an endless comment, a bad checksum."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
ORIENTATION = (b"Raw profile type", b"XML:com.adobe.xmp")  # texts that may hold one


def is_png(head: bytes) -> bool:
    """Whether a file that begins so is a PNG."""
    return head.startswith(SIGNATURE)


def repaired(data: bytes) -> Iterator[tuple[bytes, str]]:
    """A PNG's bytes -> the same picture with less beside it, ever less; and what of importance is left out.

    The PNG specification lets a reader skip an ancillary chunk that is damaged. Critical chunks are kept as they
    are, with their checksums, for Pillow to judge. Of the others, whole ones that say something of the picture
    stay at first (transparency, orientation), then without texts, then nothing.
    """
    parts = list(_chunks(data))
    before: bytes | None = None
    for matters in (_matters, _matters_most, _never):
        kept = [part for part in parts if not part.ancillary or (part.sound and matters(part))]
        file = SIGNATURE + b"".join(part.whole for part in kept)
        if file != before:
            yield file, _lost(parts, kept)
        before = file


def _lost(parts: list["Chunk"], kept: list["Chunk"]) -> str:
    there, here = ({part.meaning for part in some} - {""} for some in (parts, kept))
    return " and ".join(sorted(there - here))


@dataclass(frozen=True)
class Chunk:
    """A part of a PNG."""

    whole: bytes  # length, type, data, checksum
    sound: bool  # whether the checksum is right

    @property
    def kind(self) -> bytes:
        """Its type: four letters."""
        return self.whole[4:8]

    @property
    def ancillary(self) -> bool:
        """Whether a reader may do without it."""
        return self.kind[:1].islower()

    @property
    def meaning(self) -> str:
        """What of the picture it may tell; "" for all that is beside it."""
        if self.kind == b"eXIf" or (self.kind in TEXTS and self.whole[8:].startswith(ORIENTATION)):
            return "orientation"
        return "transparency" if self.kind == b"tRNS" else ""


def _matters(part: Chunk) -> bool:
    return part.meaning != ""


def _matters_most(part: Chunk) -> bool:
    return part.meaning != "" and part.kind not in TEXTS


def _never(part: Chunk) -> bool:
    return False


def _chunks(data: bytes) -> Iterator[Chunk]:
    """The parts in order; a cut one is the last."""
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4].ljust(4, b"\0"))
        whole = data[at : at + 12 + length]
        sound = len(whole) == 12 + length and zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big")
        yield Chunk(whole, sound)
        at += len(whole)
