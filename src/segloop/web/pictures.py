"""Pictures as browsers take them."""

import io
from base64 import b64encode

import numpy as np
from PIL import Image


def data_address(picture: Image.Image) -> str:
    """A PNG inside of its own address."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode()}"


def jpeg(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a file to look at."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90)
    return stream.getvalue()
