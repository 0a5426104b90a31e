"""Label Studio's brush strokes: a mask as the packed run lengths that its `rle` holds.

The format is rle-pack's, written from its description: 32 bits say how many words there are, 5 bits the size of a
word less one, four times 4 bits the sizes of run lengths less one. Then come runs: 1 bit (1: one word, repeated), 2
bits for which size, the length less one, and the word. The highest bit comes first, and zeros fill the last byte.
Label Studio's words are the bytes of an RGBA picture, of which it reads the fourth.
"""

import numpy as np

WORD = 8  # bits
LENGTHS = (3, 4, 8, 16)  # bits of a run's length, the sizes that Label Studio writes itself
CHANNELS = 4
LONGEST = 2 ** LENGTHS[-1]  # words of a run
INSIDE = 255


def brush(mask: np.ndarray) -> list[int]:
    """(H, W) bool -> bytes, as Label Studio's `rle` has them."""
    words = mask.ravel().astype(np.uint8) * INSIDE
    starts = np.append(0, np.flatnonzero(np.diff(words)) + 1)
    counts = np.diff(np.append(starts, words.size)) * CHANNELS
    pieces = -(-counts // LONGEST)
    values = np.repeat(words[starts], pieces).astype(np.int64)
    lengths = np.full(pieces.sum(), LONGEST, np.int64)
    lengths[np.cumsum(pieces) - 1] = counts - (pieces - 1) * LONGEST
    return _packed(_head(words.size * CHANNELS), lengths, values)


def _head(words: int) -> np.ndarray:
    """The bits before the runs."""
    sizes = "".join(f"{bits - 1:04b}" for bits in LENGTHS)
    return np.frombuffer(f"{words:032b}{WORD - 1:05b}{sizes}".encode(), np.uint8) - ord("0")


def _packed(head: np.ndarray, lengths: np.ndarray, values: np.ndarray) -> list[int]:
    """Head bits, lengths and words (n,) of the runs -> bytes."""
    size = np.searchsorted(2 ** np.array(LENGTHS), lengths)
    bits = np.array(LENGTHS)[size]
    codes = (((4 + size) << bits) + lengths - 1 << WORD) + values  # 4: the bit that says "repeated"
    total = 3 + bits + WORD
    places = np.arange(3 + LENGTHS[-1] + WORD)
    written = (codes[:, None] >> np.maximum(total[:, None] - 1 - places, 0) & 1).astype(np.uint8)
    return np.packbits(np.append(head, written[places < total[:, None]])).tolist()
