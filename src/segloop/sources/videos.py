"""Videos: frames at a stated rate, decoded on the way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, Any

import numpy as np
from PIL import Image

from ..common.visible import shortened
from ..errors import ImageError, OptionError, SegloopError
from .containers import Asked, Broken, Lately, opened
from .photos import Container

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".3gp")
MISSING = "pip install 'segloop[video]'"
KEPT = 8  # frames that were passed on the way to a later one: other threads ask for them
SHORT = 1  # seconds by which a video may end earlier than it says


@dataclass(eq=False)
class _Decoder:
    """Where in a video one is."""

    stream: IO[bytes]
    file: Any  # PyAV's container
    frames: Iterator[Any] = field(default_factory=lambda: iter(()))
    time: int | None = None  # of the frame decoded last, in the stream's unit
    kept: dict[int, np.ndarray] = field(default_factory=dict)

    def frame(self, wanted: int, keys: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The frame shown at a time, (H, W, 3). Decoding begins at the last key frame before it."""
        if wanted in self.kept:
            return self.kept.pop(wanted)
        before = np.searchsorted(keys, wanted, "right") - 1
        key = int(keys[before]) if before >= 0 else int(times[0])
        if self.time is None or wanted <= self.time or key > self.time:
            self.file.seek(key, stream=self.file.streams.video[0], backward=True)
            self.frames, self.time = self.file.decode(video=0), None
        for frame in self.frames:
            self.time = frame.pts if frame.pts is not None else frame.dts
            if self.time is None or self.time < key:
                continue
            if self.time >= wanted:
                return _upright(frame)
            if times[np.searchsorted(times, self.time) % len(times)] == self.time:
                self.kept[self.time] = _upright(frame)
                if len(self.kept) > KEPT:
                    self.kept.pop(min(self.kept))
        raise EOFError("it ends before")


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of a video."""

    address: str
    times: np.ndarray  # (n,) int64, when each frame is shown, in the stream's unit
    ticks: np.ndarray  # (n,) int64, the first multiple of 1 / rate at which it is
    keys: np.ndarray  # int64, when frames are shown that need no others
    lately: Lately[_Decoder] = field(repr=False)

    def __len__(self) -> int:
        return len(self.times)

    def member(self, number: int) -> str:
        """How many steps of the rate it is behind the beginning."""
        return f"{self.ticks[number]:06d}"

    stem = member

    def fetch(self, number: int) -> Image.Image:
        """The frame, upright. Raises ImageError."""
        import av

        try:
            with self.lately(self.address, lambda: _start(self.address)) as decoder:
                return Image.fromarray(decoder.frame(int(self.times[number]), self.keys, self.times))
        except SegloopError:
            raise
        except (av.FFmpegError, EOFError, ValueError) as error:
            what = f"frame {self.member(number)} of {shortened(self.address)} cannot be decoded ({error})"
            raise ImageError(what, "copy or download the video again, or leave it out") from error


def open_video(address: str, asked: Asked) -> Iterator[Container]:
    """The frames of a video that are shown at multiples of 1 / rate after its beginning, each once.

    A name is the number of the step: with `--fps 2`, 000012 is shown 6 seconds behind the first frame. Turned videos
    are turned back. What is missing at the end, or cannot be opened at all, fails as one photo. Raises OptionError
    where no rate is given.
    """
    if asked.fps is None:
        raise OptionError(f"{shortened(address)} is a video, and no rate is given", "say --fps 1 for a frame a second")
    try:
        import av
    except ImportError:
        raise OptionError(f"{shortened(address)} needs the package av", MISSING) from None
    trouble = None
    try:
        with opened(address) as stream, av.open(stream) as file:
            if not file.streams.video:
                raise ImageError(f"{shortened(address)} has no pictures", "leave it out")
            times, keys, unit, missing = _packets(file, address)
    except (av.FFmpegError, ValueError) as error:
        what = f"{shortened(address)} is damaged or no video that can be read ({error})"
        trouble = ImageError(what, "copy or download it again, or leave it out")
    except ImageError as error:
        trouble = error
    if trouble:
        yield Broken(address, trouble)
        return
    ticks, shown = sampled(times, 1 / (asked.fps * unit))
    yield Video(address, times[shown], ticks, keys, asked.lately)
    if missing:
        yield Broken(address, ImageError(f"{shortened(address)} {missing}", "copy or download it again"))


def sampled(times: np.ndarray, step: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """(n,) sorted times -> the steps at which another frame is shown, and its number: that of the last not later."""
    steps = int((int(times[-1]) - int(times[0])) / step) + 1
    at = np.array([math.floor(number * step) for number in range(steps)], np.int64) + times[0]
    shown = np.searchsorted(times, at, "right") - 1
    shown, ticks = np.unique(shown, return_index=True)
    return ticks, shown


def _packets(file: Any, address: str) -> tuple[np.ndarray, np.ndarray, Fraction, str]:
    """When frames and key frames are shown, in units of so many seconds, and what is missing at the end."""
    import av

    stream = file.streams.video[0]
    times, keys, lost = [], [], ""
    try:
        for packet in file.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or packet.is_discard or packet.is_corrupt or not packet.size:
                continue
            times.append(time)
            if packet.is_keyframe:
                keys.append(time)
    except av.FFmpegError as error:
        lost = f"cannot be read further ({error})"
    if not times:
        raise ImageError(f"{shortened(address)} has no whole frame", "copy or download it again")
    unit = Fraction(stream.time_base)
    said = stream.duration * unit if stream.duration else Fraction(file.duration or 0, av.time_base)
    found = np.unique(np.array(times, np.int64))
    seconds = int(found[-1] - found[0]) * unit
    if not lost and said > seconds + SHORT + 2 * seconds / len(found):
        lost = f"ends {float(seconds):.1f} seconds in, and says that it lasts {float(said):.1f}"
    return found, np.unique(np.array(keys, np.int64)), unit, lost


def _start(address: str) -> _Decoder:
    import av

    stream = opened(address)
    file = av.open(stream)
    file.streams.video[0].thread_type = "NONE"
    return _Decoder(stream, file)


def _upright(frame: Any) -> np.ndarray:
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
