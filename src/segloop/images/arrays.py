"""Photos that are arrays or tensors already, and what is wrong with those that are none."""

from typing import Any

import numpy as np

from ..errors import ImageError
from .levels import PLAIN, Reading, Stored, depth, to_rgb

SHAPES = "give (H, W, 3) or (H, W), uint8 or uint16"
TENSORS = "give (3, H, W), uint8 or floats in [0, 1]; for several photos, a list"
BAND_AXIS = 32  # at most so many bands: a longer axis is rows or columns
WHITES = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def from_array(photo: np.ndarray, reading: Reading = PLAIN) -> np.ndarray:
    """(H, W, 3) or (H, W) of uint8 or uint16 -> (H, W, 3) uint8 RGB, a fresh array.

    With `reading.bands` any number of bands, with a stretch any real numbers; BGR where `reading.channels` says so.
    Raises ImageError.
    """
    many = photo.ndim == 3 and reading.bands is not None and not _bands_first(photo)
    if not (photo.ndim == 2 or many or (photo.ndim == 3 and photo.shape[2] == 3)):
        raise ImageError(f"an array of shape {photo.shape}{_seen(photo)} is not a photo", _shape_remedy(photo))
    if photo.size == 0:
        raise ImageError(f"the array of shape {photo.shape} has no pixels", SHAPES)
    values = photo if photo.ndim == 3 else photo[..., None]
    if reading.channels == "bgr":
        values = values[..., ::-1]
    native = photo.dtype.newbyteorder("=")
    if native not in WHITES and (reading.stretch == "none" or photo.dtype.kind not in "uif"):
        raise ImageError(f"an array of {photo.dtype}{_between(photo)} is not a photo", _number_remedy(photo))
    return to_rgb(Stored("the array", np.asarray(values), WHITES.get(native)), reading)


def from_tensor(photo: Any, reading: Reading = PLAIN) -> np.ndarray:
    """A torch tensor (3, H, W) of uint8 or of floats in [0, 1] -> (H, W, 3) uint8 RGB, a fresh array.

    With `reading.bands` or a stretch as `from_array`, of (C, H, W). Raises ImageError.
    """
    shape = tuple(photo.shape)
    if len(shape) != 3 or 0 in shape or not (shape[0] == 3 or reading.bands):
        raise ImageError(f"a tensor of shape {shape} is not a photo", TENSORS + _tensor_hint(shape))
    if str(photo.dtype) != "torch.uint8" and not photo.is_floating_point() and reading.stretch == "none":
        raise ImageError(f"a tensor of {photo.dtype} is not a photo", TENSORS)
    levels = photo.detach().cpu()
    if levels.is_floating_point() and reading.stretch == "none":
        levels = _unit_levels(levels)
    elif levels.is_floating_point():
        levels = levels.float()  # numpy knows no bfloat16
    return from_array(levels.numpy().transpose(1, 2, 0), reading)


def _unit_levels(levels: Any) -> Any:
    """Floats in [0, 1] as bytes."""
    round_off = 0.5 / 255  # half a level beyond the ends is an earlier resize's overshoot, not a mistake
    low, high = levels.min().item(), levels.max().item()  # both nan where there is one
    if not (round_off >= -low and round_off >= high - 1):
        hint = "; divide by 255 first" if low >= 0 and 1.5 < high <= 255 else ""
        raise ImageError(f"the tensor's values go from {low:.4g} to {high:.4g}", TENSORS + hint)
    return (levels.float() * 255).round().clamp(0, 255).byte()


def _seen(photo: np.ndarray) -> str:
    """What a wrong shape seems to be."""
    if photo.ndim == 4:
        return f" (a batch of {photo.shape[0]}?)"
    if photo.ndim == 3 and _bands_first(photo):
        return " (bands first?)"
    return f" and {photo.dtype}" if photo.ndim == 3 else ""


def _shape_remedy(photo: np.ndarray) -> str:
    if photo.ndim == 4:
        return f"{SHAPES}; for several photos, a list: list(array)"
    if photo.ndim == 3 and _bands_first(photo):
        bands = photo.shape[0]
        named = "" if bands == 3 else f" and bands={_example(bands)}"
        return f"{SHAPES}: " + ("array[0]" if bands == 1 else f"array.transpose(1, 2, 0){named}")
    if photo.ndim == 3 and photo.shape[2] == 1:
        return f"{SHAPES}: array[..., 0]"
    if photo.ndim == 3:
        alpha = ", or drop the transparency with array[..., :3]" if photo.shape[2] == 4 else ""
        return f"{SHAPES}, or choose of the {photo.shape[2]} bands, such as bands={_example(photo.shape[2])}{alpha}"
    return SHAPES


def _example(bands: int) -> str:
    return "(3, 2, 1)" if bands > 2 else "(1,)"


def _bands_first(photo: np.ndarray) -> bool:
    bands, height, width = photo.shape
    return 0 < bands <= BAND_AXIS and bands < height and bands < width and width != 3


def _between(photo: np.ndarray) -> str:
    if photo.dtype.kind not in "iuf":
        return ""
    return f" with values from {photo.min():.6g} to {photo.max():.6g}"


def _number_remedy(photo: np.ndarray) -> str:
    """How numbers that are not uint8 or uint16 become a photo."""
    if photo.dtype.kind == "b":
        return f"{SHAPES}: array.astype(np.uint8) * 255"
    if photo.dtype.kind not in "iuf":
        return SHAPES
    low, high = float(photo.min()), float(photo.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{SHAPES}; replace what is not finite, or say stretch='minmax', which leaves it black"
    if photo.dtype.kind == "f" and low >= 0 and high <= 1:
        return f"{SHAPES}: (array * 255).round().astype(np.uint8)"
    if low >= 0 and high <= 65535:
        cast = "uint8" if high <= 255 else "uint16"
        return f"{SHAPES}: array.{'round().' if photo.dtype.kind == 'f' else ''}astype(np.{cast})"
    return f"{SHAPES}, or say which {depth(photo.dtype)} are black and white with stretch='minmax' or 'percentile'"


def _tensor_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[2] == 3 and shape[0] > 4:
        return "; here photo.permute(2, 0, 1)"
    if len(shape) == 3 and 1 < shape[0] < min(shape[1:]):
        return f"; or choose bands, such as bands={_example(shape[0])}"
    return ""
