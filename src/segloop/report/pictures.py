"""Photos beside their truth and what runs made of them, for a page that holds everything itself."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.datasets import OpenDataset, Sample, open_dataset
from ..data.masks import Masks
from ..data.places import named
from ..errors import ImageError, OptionError
from ..evaluation.record import MAPS
from ..images import read_image, recorded
from ..labels.read import stored_values
from ..results.overlay import draw_overlay
from ..results.palette import palette
from .cells import Gallery, Picture, Strip
from .compare import titles
from .details import extremes, moved
from .runs import Run, last_start

LARGEST = 420  # pixels, of a picture's longer side
QUALITY = 88
VOID = "void"  # of the truth: no class


def extreme_gallery(run: Run, count: int, places: Sequence[str]) -> Gallery:
    """The best and the worst images of a run: photo, truth, prediction.

    Raises OptionError where the run kept no maps, or where its data set is not at `places` (default: where it was
    when the run was made).
    """
    best, worst = extremes(run, count)
    drawer = _Drawer([run], ["prediction"], places)
    strips = [
        drawer.strip(row.image, f"{which}: {row.image}, mIoU {row.mIoU:.1f}")
        for which, rows in (("best", best), ("worst", worst))
        for row in rows
    ]
    return Gallery(f"Pictures of {run.name}: best and worst", tuple(strips))


def moved_gallery(first: Run, second: Run, count: int, places: Sequence[str]) -> Gallery:
    """The images that gained and lost most: photo, truth, both predictions. Raises as `extreme_gallery`."""
    drawer = _Drawer([first, second], titles(first, second), places)
    strips = [
        drawer.strip(old.image, f"{which}: {old.image}, mIoU {old.mIoU:.1f} -> {new.mIoU:.1f}")
        for which, pairs in zip(("gained", "lost"), moved(first, second, count), strict=True)
        for old, new in pairs
    ]
    return Gallery("Pictures: gained and lost most", tuple(strips))


def data_uri(picture: Picture) -> str:
    """The picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(picture.data).decode("ascii")


class _Drawer:
    """Opens one data set once, and draws its samples."""

    def __init__(self, runs: Sequence[Run], captions: Sequence[str], places: Sequence[str]) -> None:
        self.runs, self.captions = runs, captions
        for run in runs:
            if not (run.folder / MAPS).is_dir():
                what = f"{run.folder} has no label maps to draw"
                raise OptionError(what, "evaluate again with --save-maps, or leave --pictures out")
        self.data = _open(runs[0], places)
        self.samples = {sample.name: sample for sample in self.data.samples}
        self.classes = [*runs[0].classes, VOID]
        self.colours = palette(len(self.classes))

    def strip(self, name: str, caption: str) -> Strip:
        sample = self._sample(name)
        photo = read_image(sample.image, recorded(self.runs[0].settings))
        maps = {"truth": self._within(self.data.truth(sample))}
        for run, title in zip(self.runs, self.captions, strict=True):
            maps[title] = self._within(stored_values(run.folder / MAPS / f"{name}.png"))
        size = _shown_size(*photo.shape[:2])
        drawn = [_picture("photo", Image.fromarray(photo), size)]
        for title, labels in maps.items():
            if labels.shape != photo.shape[:2]:
                what = f"{title} of {name} is {labels.shape[1]}x{labels.shape[0]}, the photo another size"
                raise ImageError(what, "check that --data holds the images this run was made on")
            drawn.append(_picture(title, draw_overlay(photo, labels, self.classes, legend=False), size))
        seen = sorted(set().union(*(np.unique(labels).tolist() for labels in maps.values())))
        legend = tuple((self.classes[index], "#{:02x}{:02x}{:02x}".format(*self.colours[index])) for index in seen)
        return Strip(caption, tuple(drawn), legend)

    def _sample(self, name: str) -> Sample:
        if name not in self.samples:
            what = f"image {name} of the run is not in {self.data.root}"
            raise OptionError(what, "give the folder that the run was made on with --data")
        return self.samples[name]

    def _within(self, labels: np.ndarray) -> np.ndarray:
        """Everything that is no class becomes the last one, void."""
        void = len(self.classes) - 1
        return np.where((labels < 0) | (labels > void), void, labels)


def _open(run: Run, places: Sequence[str]) -> OpenDataset:
    known = last_start(run).get("data") or []
    where = [str(place) for place in places or known if Path(str(place).rpartition("=")[2]).is_dir()]
    if not where:
        what = f"the images of {run.name} are not known" if not places else f"there is no folder {places[0]}"
        raise OptionError(what, f"give the folder of {run.data_name} with --data DIR")
    if run.data_name != run.dataset:
        where = named(run.data_name, where)
    return open_dataset(
        run.data_name, where, run.settings.get("split"), run.settings.get("limit"), Masks.of(run.settings)
    )


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) with the longer side at LARGEST."""
    scale = LARGEST / max(height, width)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _picture(caption: str, image: Image.Image, size: tuple[int, int]) -> Picture:
    shown = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=QUALITY)
    return Picture(caption, stream.getvalue(), size)
