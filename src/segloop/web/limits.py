"""What one visitor may ask of the server, and how long anything is kept."""

from dataclasses import dataclass

STOPS = 200  # steps of the threshold's slider from 0 to 1; probabilities are sent as the stop that they reach


@dataclass(frozen=True)
class Limits:
    """Counted in bytes, pixels and seconds."""

    workers: int = 2  # photos that are worked on at once
    waiting: int = 32  # photos that may wait for them
    upload: int = 24 * 2**20  # bytes of a file
    pixels: int = 24_000_000  # of a photo
    classes: int = 64
    letters: int = 4000  # of all words together
    upload_seconds: float = 30.0  # to send a photo
    seconds: float = 180.0  # to wait and be worked on
    keep_seconds: float = 900.0  # that a result is kept after it was last looked at
    keep_bytes: int = 2**30  # of all results together
