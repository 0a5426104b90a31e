"""Photos as arrays: find, read, orient, resize, normalise."""

from .paths import expand_photos
from .read import read_image
from .sizes import MEAN, STD, normalise, resize_uint8, resized_size

__all__ = ["MEAN", "STD", "expand_photos", "normalise", "read_image", "resize_uint8", "resized_size"]
