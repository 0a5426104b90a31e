"""Photos as arrays: find, read, orient, resize, normalise."""

from .levels import PLAIN, STRETCHES, Reading, reading, recorded
from .paths import SUFFIXES, expand_photos, photos_below
from .read import Elsewhere, read_image
from .scene import Scene, scene_of
from .sizes import (
    CLIP,
    IMAGENET,
    Normalisation,
    normalise,
    patched_size,
    resize_bands,
    resize_smoothly,
    resize_uint8,
    resized_size,
)

__all__ = [
    "CLIP",
    "IMAGENET",
    "PLAIN",
    "STRETCHES",
    "SUFFIXES",
    "Elsewhere",
    "Normalisation",
    "Reading",
    "Scene",
    "expand_photos",
    "normalise",
    "patched_size",
    "photos_below",
    "read_image",
    "reading",
    "recorded",
    "resize_bands",
    "resize_smoothly",
    "resize_uint8",
    "resized_size",
    "scene_of",
]
