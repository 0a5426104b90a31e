"""Where the results of `segloop segment` go: a place for each photo, seen to be free before seconds of work."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

from ..common.earlier import FAILED, FAILURES, anything, check_replaced
from ..common.visible import shortened
from ..errors import OptionError
from ..images import expand_photos, read_image
from ..results.annotations import common_folder, look_into
from ..results.segmentation import FORMATS, Format, Together
from .finished import DONE, DONE_LINES


def of_a_photo(formats: Iterable[str]) -> dict[str, Format]:
    """Those of `formats` that write a file for each photo."""
    return {name: FORMATS[name] for name in formats if not FORMATS[name].together}


def of_the_run(formats: Iterable[str]) -> list[Together]:
    """Those of `formats` that put all photos into one file."""
    return [together for name in formats if (together := FORMATS[name].together)]


def check_no_words(photos: Sequence[str], classes: str | None) -> None:
    """Raises OptionError for a word of --classes that a shell made a photo of, since the list was not in quotes."""
    strays = [name for name in photos if name.replace("|", "").isalpha() and not os.path.lexists(name)]
    if classes and strays and len(photos) > 1:
        what = f"there is no photo {strays[0]!r}, which stands beside --classes {shortened(classes)}"
        raise OptionError(what, 'if it is a class, put the list in quotes, as in --classes "grass, sand"')


def photo_stems(
    patterns: Sequence[str],
    out: Path,
    formats: Sequence[str] = tuple(FORMATS),
    classes_file: Path | None = None,
) -> dict[Path, Path]:
    """Photos of the patterns -> where their results go, without suffix: the path below their common folder.

    Photos whose results would bear one name keep their own suffix, and a number where that is not enough. Raises
    ImageError for a pattern without files and for a single photo that is none, OptionError where a result would
    replace a photo or the class file.
    """
    photos = expand_photos(patterns, out)
    if len(photos) == 1 and not photos[0].is_file():
        read_image(photos[0])  # says what it is instead, seconds before a model is open
    absolute = {photo: Path(os.path.abspath(photo)) for photo in photos}
    common = Path(common_folder(photos))
    plain = {photo: out / path.relative_to(common).with_suffix("") for photo, path in absolute.items()}
    shared = Counter(_entry(stem) for stem in plain.values())
    stems: dict[Path, Path] = {}
    taken = {_entry(out / together.name) for together in of_the_run(FORMATS)}
    for photo, stem in plain.items():
        own = stem.with_name(absolute[photo].name)
        numbered = (own.with_name(f"{own.name}-{number}") for number in count(2))
        choices = chain([stem] if shared[_entry(stem)] == 1 else [], [own], numbered)
        stems[photo] = next(choice for choice in choices if taken.isdisjoint(_files(choice, FORMATS)))
        taken |= _files(stems[photo], FORMATS)
    written = {file for stem in stems.values() for file in _files(stem, formats)}
    written |= {_entry(out / name) for name in (*(together.name for together in of_the_run(formats)), FAILED, DONE)}
    written |= {os.path.realpath(path).casefold() for path in written if os.path.islink(path)}
    read = {f"the photo {photo}": path for photo, path in absolute.items()}
    read |= {f"the class file {classes_file}": classes_file} if classes_file else {}
    for name, path in read.items():
        if not written.isdisjoint((_entry(path), os.path.realpath(path).casefold())):
            raise OptionError(f"the results in {out} would replace {name}", "choose another --out")
    return stems


def _files(stem: Path, formats: Iterable[str]) -> set[str]:
    return {_entry(stem) + row.suffix for row in of_a_photo(formats).values()}


def _entry(path: Path) -> str:
    """One text for every spelling of a directory's entry; case is no difference, as on some disks."""
    return os.path.join(os.path.realpath(path.parent), path.name).casefold()


def check_results(stems: Mapping[Path, Path], out: Path, formats: Iterable[str], overwrite: bool) -> None:
    """See that results replace nothing but earlier ones, before seconds of work; `overwrite` allows any of their names.

    Raises OptionError, OutputError.
    """
    own = {out / FAILED: FAILURES, out / DONE: DONE_LINES}
    check_replaced(own, "move it away, or choose another --out")
    fitting = [stem for stem in stems.values() if not is_too_long(stem, out, formats)]
    rows = of_a_photo(formats).values()
    files = {stem.with_name(stem.name + row.suffix): row.kind for stem in fitting for row in rows}
    remedy = "choose another --out, or replace what is there with --overwrite"
    check_replaced(dict.fromkeys(files, anything) if overwrite else files, remedy)


def is_too_long(stem: Path, out: Path, formats: Iterable[str]) -> bool:
    """Whether a result's name has more bytes than the disk takes."""
    most = os.pathconf(out, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    return any(len(os.fsencode(stem.name + row.suffix)) > most for row in of_a_photo(formats).values())


def check_files_of_the_run(out: Path, formats: Sequence[str], classes: list[str], overwrite: bool) -> None:
    """See that the files of all photos can be written, before seconds of work. Raises OptionError as `look_into`."""
    for together in of_the_run(formats):
        look_into(out / together.name, None if overwrite else classes)
