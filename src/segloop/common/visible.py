"""Text that can be shown: what could move a cursor, colour a screen or turn a line around is spelled out."""

import os
import re
from collections.abc import Mapping

# C0, DEL and C1 controls; marks and overrides of direction; line and paragraph separators; invisible operators and
# blanks; annotation marks; halves of characters, which bytes of a file name become that are no text
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
LONGEST = 160  # letters of a path in a sentence
NAME = 40  # letters of a class in a line of shares


def visible(text: str, keep: str = "") -> str:
    """The text with every hidden sign as its code, such as `\\u001b`; signs in `keep` stay.

    The codes are JSON's, so that a line of JSON says the same after it.
    """
    return HIDDEN.sub(lambda sign: sign[0] if sign[0] in keep else f"\\u{ord(sign[0]):04x}", text)


def counted(number: int, noun: str) -> str:
    """ "1 photo", "3 photos"."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def plain(value: object) -> str:
    """A value as the command line would have it: none, on, 3,2,1, a word without quotes."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else ("off", "on")[value]
    if isinstance(value, (list, tuple)):
        return ",".join(plain(item) for item in value)
    return str(value)


def largest(share: Mapping[str, float], most: int = 4) -> str:
    """The largest classes of a photo: "grass 61 %, sand 30 %"; of a very long name the beginning."""
    first = sorted(share.items(), key=lambda item: -item[1])[:most]
    names = {name: name if len(name) <= NAME else f"{name[:NAME]}..." for name, _ in first}
    return ", ".join(f"{names[name]} {part:.0%}" for name, part in first if part > 0) or "no class is left"


def shortened(path: object, most: int = LONGEST) -> str:
    """A path (text, bytes, Path) for a sentence: of a very long one, both ends, of `most` letters together."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-(most // 2) :]}"
