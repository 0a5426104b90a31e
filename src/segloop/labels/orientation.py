"""Label maps of photos that their EXIF orientation turns: drawn upright, or on the photo as its file stores it."""

import os

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..images.paths import open_file
from ..images.pillow import EXIF_ORIENTATION, UPRIGHT

ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that exchange rows and columns


def upright(labels: np.ndarray, photo: str | os.PathLike[str]) -> np.ndarray:
    """(H, W) int64 as the photo's file is stored -> int64 as the photo is seen."""
    turn = UPRIGHT.get(orientation(photo))
    if turn is None:
        return labels
    return np.array(Image.fromarray(labels.astype(np.int32)).transpose(turn)).astype(np.int64)


def orientation(photo: str | os.PathLike[str]) -> int:
    """The EXIF orientation of a photo, 1 to 8; 1 where it has none, or cannot be read."""
    try:
        with open_file(os.fspath(photo)) as stream, Image.open(stream) as image:
            return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # whoever reads the photo says what is wrong with it
        return 1


def is_turned(photo: str | os.PathLike[str]) -> bool:
    """Whether the EXIF orientation of a photo turns or mirrors it."""
    return orientation(photo) in UPRIGHT


def untold(photo: str | os.PathLike[str]) -> bool:
    """Whether a photo is turned so that the size of its label map does not tell which way that one lies."""
    turned = orientation(photo)
    if turned not in UPRIGHT:
        return False
    with Image.open(photo) as image:
        return turned not in ON_ITS_SIDE or image.width == image.height


def check_turn(
    labels: tuple[int, ...], size: tuple[int, int], photo: str | os.PathLike[str], already: bool = False
) -> None:
    """Raise ImageError where a label map of another size than its upright photo has that of the photo's file.

    `already` is whether the label map was turned; then it is the other way round.
    """
    turned = orientation(photo)
    if turned in ON_ITS_SIDE and labels == size[::-1]:
        (rows, columns), (height, width) = labels, size
        if already:
            remedy = "leave out --turn-masks, or turn the label maps that lie otherwise"
            raise ImageError("the label map, turned as its photo, lies on its side", remedy)
        what = f"the label map has {rows}x{columns} pixels (height x width) as the photo's file has, and the photo "
        what += f"{height}x{width}, turned upright by its EXIF orientation ({turned})"
        raise ImageError(what, "add --turn-masks if label maps were drawn on the photos as stored, or turn them too")
