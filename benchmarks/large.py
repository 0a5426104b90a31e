"""A photo of 48 megapixels with many words: the most memory that `segloop segment` takes, by its default options.

    python benchmarks/large.py [--words 171 400] [--megapixels 48] [--photos 1]

The bundled model, one thread, the command in a process of its own. 171 words are those of COCO-Stuff, others the first
ones of ADE's 847. Several photos are copies in one folder: what is read ahead and written behind is in the figure, too.
"""

import argparse
import json
import os
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from common import photo, report

SIDES = (4, 3)
STUFF = 171


def large_photo(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a JPEG of smooth shapes and noise -> (height, width)."""
    unit = (megapixels * 1e6 / (SIDES[0] * SIDES[1])) ** 0.5
    width, height = (round(side * unit) for side in SIDES)
    smooth = np.asarray(Image.fromarray(photo()).resize((width, height), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).integers(0, 24, (height, width, 1), np.uint8)
    Image.fromarray(np.where(smooth > 231, smooth, smooth + noise)).save(path, quality=90)
    return height, width


def class_names(count: int) -> list[str]:
    """Real words, so many."""
    name = "coco-stuff" if count == STUFF else "ade847"
    listed = json.loads((files("segloop") / f"words/classes/{name}.json").read_text())["names"]
    return [one.partition("|")[0].partition(",")[0] for one in listed[:count]]


def peak_of_segment(folder: Path, words: int, options: list[str]) -> tuple[float, float]:
    """Run the command on a folder's photos -> (MiB at most, seconds of processor)."""
    listed = folder.parent / f"{words}.txt"
    listed.write_text("\n".join(dict.fromkeys(class_names(words))) + "\n")
    command = [sys.executable, "-m", "segloop", "segment", str(folder), "--clip", "tiny", "--threads", "1"]
    command += ["--classes-file", str(listed), "--out", str(folder.parent / f"out-{words}"), *options]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(started, 0)
    if status:
        raise SystemExit(f"the command ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of a unit of ru_maxrss
    return used.ru_maxrss * unit / 2**20, used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, nargs="+", default=[STUFF, 400])
    parser.add_argument("--megapixels", type=float, default=48)
    parser.add_argument("--photos", type=int, default=1)
    parser.add_argument("options", nargs="*", help="further options of `segloop segment`, behind --")
    asked = parser.parse_args()
    rows, record = [], {"megapixels": asked.megapixels, "photos": asked.photos, "peak_mib": {}, "cpu_seconds": {}}
    with TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        height, width = large_photo(folder / "0.jpg", asked.megapixels)
        for number in range(1, asked.photos):
            os.link(folder / "0.jpg", folder / f"{number}.jpg")
        for words in asked.words:
            peak, seconds = peak_of_segment(folder, words, asked.options)
            record["peak_mib"][words], record["cpu_seconds"][words] = round(peak), round(seconds, 1)
            rows.append(
                (
                    f"{asked.photos} of {height} x {width}, {words} words",
                    f"{peak:.0f} MiB, {seconds:.0f} s of processor",
                )
            )
    report(rows, record)


if __name__ == "__main__":
    main()
