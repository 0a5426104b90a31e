"""Class lists as lines: a name each, numbered, coloured, quoted, or all on one line."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .entries import COLOUR, HEX, PLAIN, Entry, Form, colour_of, unclear

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
QUOTED = re.compile(r"""(["'])(.+)\1""")
BULLET = re.compile(r"([-*\u2022])\s+(\S.*)")
CODE = re.compile(
    r"[\w.]+\s*=\s*[\[({].*|item\s*\{|[\[\](){}],?|(import|def|class)\s+\w+.*:?|%PDF.*|version https://.*"
)
COMMENT = re.compile(rf"(?<![:=\s])\s+#.*|(?<=[:=])\s+(?!{HEX}\s*$)#.*")
CVAT = re.compile(r"(?P<name>[^:]+):(?P<colour>\s*\d+\s*,\s*\d+\s*,\s*\d+\s*)?:[^:]*:[^:]*")
STRICT_COLOUR = re.compile(rf"(?P<name>.*\S)\s*[:=]\s*[\"']?(?P<colour>{COLOUR})[\"']?")
NAME_COLOUR = re.compile(rf"(?P<name>.*?[^\s,;:=])\s*[,;:=\s]\s*(?P<colour>{COLOUR})")
COLOUR_NAME = re.compile(rf"(?P<colour>{COLOUR})\s*[:=,;\s]\s*(?P<name>\S.*)")
FOUR = re.compile(r".*[\s,;:=]\d{1,3}(?:[\s,;]+\d{1,3}){3,}")
STRICT_NUMBER = re.compile(r"(?P<number>\d{1,5})(?:\s*[:=);,]\s*|\.\s*(?!\d)|\s+-\s+|\t\s*)(?P<name>\S.*)")
ANY_NUMBER = re.compile(r"(?P<number>\d{1,5})[-_.:)\s]+(?P<name>\S.*)")
NUMBER_NAME = re.compile(r"(?P<number>\d{1,5})\s+(?P<name>\S.*)")
NAME_NUMBER = re.compile(r"(?P<name>.*\S)\s*[:=,;\t]\s*(?P<number>\d{1,5})")
PAIR = re.compile(r"[^:=]+\S\s*:\s*\S.*")
LONGEST = 500  # letters of a line with one class
LABELME = "__ignore__", "_background_"


@dataclass(frozen=True)
class Line:
    """A line with something in it, without its comment."""

    text: str
    where: str


def lines_of(text: str) -> list[Line]:
    """Lines without comments and empty ones; a colour such as #008000 is no comment where every line ends in one."""
    # Not splitlines(): it also breaks at characters that may stand inside a line.
    numbered = [(n, line) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if not re.match(r"\s*(#|$)", line)]
    painted = [re.search(rf"\S[\s:=,;]*{HEX}[\"']?\s*$", line) is not None for _, line in numbered]
    if not all(painted):
        numbered = [(n, COMMENT.sub("", line)) for n, line in numbered]
    return [Line(line.strip(), f"line {n}") for n, line in numbered if line.strip()]


def from_lines(lines: Sequence[Line], file: str) -> Form:
    """Lines understood, the plainest form last. Raises VocabularyError where they can be read in two ways."""
    for line in lines:
        if _match(CODE, line.text):
            raise unclear(f"{line.where} of {file} is no class name ({line.text[:40]!r})")
    bare = [replace(line, text=line.text.rstrip(",; \t")) for line in lines]
    form = _cvat(bare) or _coloured(bare, file) or _one_line(lines, file) or _numbered(bare, file)
    form = form or _wrapped(lines, file) or _quoted(lines) or _labelme(lines)
    if form is not None:
        return form
    stripped = _stripped(lines)
    if stripped is not None:
        said, others = stripped
        form = from_lines(others, file)
        return form.within(f"{form.said or 'one name a line'}, {said}")
    _check_plain(lines, file)
    labels = "one name a line, labels before =" if any("=" in line.text for line in lines) else None
    return Form(labels, tuple(Entry(line.text, line.where) for line in lines))


def _cvat(lines: Sequence[Line]) -> Form | None:
    """`name:r,g,b:parts:actions`, the labelmap.txt of CVAT."""
    found = _all(CVAT, lines)
    if found is None:
        return None
    pairs = zip(lines, found, strict=True)
    entries = (Entry(match["name"], line.where, colour=colour_of(match["colour"])) for line, match in pairs)
    return Form("a label map of CVAT", tuple(entries))


def _coloured(lines: Sequence[Line], file: str) -> Form | None:
    """Names beside colours, in either order; what is left of them may be numbered."""
    if _all(FOUR, lines) is not None:
        what = f"each line of {file} ends in four numbers or more ({lines[0].text[:40]!r})"
        raise unclear(what, "write three for red, green and blue, as in `grass: 0,128,0`")
    for line in lines:
        match = _match(STRICT_COLOUR, line.text)
        if match and not _is_colour(match):
            what = f"{line.where} of {file} has no colour ({match['colour']!r})"
            raise unclear(what, "write red, green and blue from 0 to 255")
    found = _all(NAME_COLOUR, lines, _is_colour) or _all(COLOUR_NAME, lines, _is_colour)
    if found is None:
        _check_some(STRICT_COLOUR, lines, file, "a colour", fits=_is_colour)
        _check_some(NAME_COLOUR, lines, file, "a colour", least=2, fits=_is_colour)
        _check_some(COLOUR_NAME, lines, file, "a colour", least=2, fits=_is_colour)
        return None
    colours = [colour_of(match["colour"]) for match in found]
    names = [Line(match["name"].strip(" \t\"'"), line.where) for line, match in zip(lines, found, strict=True)]
    numbered = _numbered(names, file)
    entries = numbered.entries if numbered else tuple(Entry(line.text, line.where) for line in names)
    entries = tuple(replace(entry, colour=colour) for entry, colour in zip(entries, colours, strict=True))
    return Form("names with colours" + (", numbered" if numbered else ""), entries)


def _is_colour(match: re.Match[str]) -> bool:
    return colour_of(match["colour"]) is not None


def _numbered(lines: Sequence[Line], file: str) -> Form | None:
    """`0: grass`, `1. grass`, `0 grass`, `grass: 0`."""
    patterns = (STRICT_NUMBER, NUMBER_NAME, NAME_NUMBER) if len(lines) > 1 else (STRICT_NUMBER, NAME_NUMBER)
    for pattern in patterns:  # "2 wheeler" alone is a name
        found = _all(pattern, lines)
        if found is not None:
            return _numbered_form(lines, found)
    found = _all(ANY_NUMBER, lines)
    if found is not None and len(lines) > 1 and _in_a_row(found):
        return _numbered_form(lines, found)
    _check_some(STRICT_NUMBER, lines, file, "a number")
    some = [match for match in (_match(NUMBER_NAME, line.text) for line in lines) if match]
    if len(some) > 1 and _in_a_row(some):
        _check_some(NUMBER_NAME, lines, file, "a number")
    return None


def _numbered_form(lines: Sequence[Line], found: Sequence[re.Match[str]]) -> Form:
    pairs = zip(lines, found, strict=True)
    entries = (Entry(match["name"].strip(" \t\"',;"), line.where, int(match["number"])) for line, match in pairs)
    return Form("a numbered list", tuple(entries))


def _in_a_row(found: Sequence[re.Match[str]]) -> bool:
    numbers = [int(match["number"]) for match in found]
    return numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))


def _one_line(lines: Sequence[Line], file: str) -> Form | None:
    """`grass, sand, water`."""
    if len(lines) != 1:
        return None
    text, where = lines[0].text, lines[0].where
    inside = re.sub(r"\"[^\"]*\"", "", text)
    there = [sign for sign in SEPARATORS if sign in inside and re.search(r"\w", text)]
    if not there:
        return None
    if len(there) > 1:
        both = " and ".join(SEPARATORS[sign] for sign in there)
        raise unclear(f"{where} of {file}, its only one, has both {both}")
    return _split(text, there[0], where, file, "one line")


def _wrapped(lines: Sequence[Line], file: str) -> Form | None:
    """One list over several lines: each but the last ends in a comma, and some hold several names."""
    for sign in (",", ";"):
        ends = all(line.text.endswith(sign) for line in lines[:-1])
        if len(lines) > 1 and ends and any(sign in line.text.rstrip(sign) for line in lines):
            return _split(" ".join(line.text for line in lines), sign, lines[0].where, file, "one list")
    return None


def _split(text: str, sign: str, where: str, file: str, kind: str) -> Form:
    parts = next(csv.reader([text.removesuffix(sign)], delimiter=sign, skipinitialspace=True))
    if len(parts) == 1:
        form = from_lines([Line(parts[0].strip(), where)], file)
        return form.within(form.said or f"{kind}, ending in {sign!r}")
    if not all(part.strip() for part in parts):
        raise unclear(f"{where} of {file} has an empty name between {SEPARATORS[sign]}", "remove the extra separator")
    found = [Line(part.strip(), f"name {n}") for n, part in enumerate(parts, 1)]
    torn = next((line.text for line in found if line.text.startswith("'") != line.text.endswith("'")), None)
    if torn is not None:
        raise unclear(f"{where} of {file} has a quoted name with {SEPARATORS[sign]} in it ({torn!r})")
    digits = [line.text.isdigit() for line in found]
    if any(digits) and not all(digits):
        raise unclear(f"{where} of {file} has names and numbers ({text[:40]!r})")
    known = _numbered(found, file) or _quoted(found)
    entries = known.entries if known else tuple(Entry(line.text, line.where) for line in found)
    return Form(f"{kind}, separated by {SEPARATORS[sign]}", entries)


def _quoted(lines: Sequence[Line]) -> Form | None:
    """Names in quotes, taken as they are."""
    found = [_match(QUOTED, line.text) for line in lines]
    if not any(found):
        return None
    pairs = zip(lines, found, strict=True)
    entries = (Entry(match[2] if match else line.text, line.where) for line, match in pairs)
    return Form("one name a line, quotes left out", tuple(entries))


def _stripped(lines: Sequence[Line]) -> tuple[str, list[Line]] | None:
    """What every line has around its name taken off: a comma behind, a bullet before."""
    if len(lines) < 2:
        return None
    for sign in (",", ";"):
        if all(line.text.endswith(sign) for line in lines[:-1]):
            others = [replace(line, text=line.text.removesuffix(sign).strip()) for line in lines]
            return f"{SEPARATORS[sign]} left out", others
    found = _all(BULLET, lines)
    if found is None:
        return None
    return "bullets left out", [Line(match[2], line.where) for line, match in zip(lines, found, strict=True)]


def _labelme(lines: Sequence[Line]) -> Form | None:
    """The list of labelme: `__ignore__` stands for what counts nowhere, `_background_` for the background."""
    names = [line.text for line in lines]
    if not set(LABELME) & set(names[:2]) or len(lines) < 2:
        return None
    kept = [line for line in lines if line.text != LABELME[0]]
    entries = (Entry("background" if line.text == LABELME[1] else line.text, line.where) for line in kept)
    left = " without __ignore__" if LABELME[0] in names else ""
    return Form(f"a label list of labelme{left}", tuple(entries))


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The pattern on a line of ordinary length; a longer one would take these patterns minutes."""
    return pattern.fullmatch(text) if len(text) <= LONGEST else None


def _check_plain(lines: Sequence[Line], file: str) -> None:
    """Raise VocabularyError for lines of which each holds more than a name."""
    if len(lines) < 2:
        return
    for sign, name in SEPARATORS.items():
        if all(sign in line.text for line in lines):
            what = f"each line of {file} has {name}, which may part names or belong to them"
            remedy = f"{PLAIN}, with | between synonyms, or a heading such as label{sign}query above"
            raise unclear(what, remedy)
    if _all(PAIR, lines) is not None:
        what = f"each line of {file} has two parts ({lines[0].text[:40]!r})"
        raise unclear(what, f"{PLAIN}, or a number or a colour beside each name: `0: grass`, `grass: 0,128,0`")
    if all(line.text.endswith((":", "=")) for line in lines):
        raise unclear(f"each line of {file} ends in {lines[0].text[-1]!r}", PLAIN)


def _check_some(
    pattern: re.Pattern[str],
    lines: Sequence[Line],
    file: str,
    what: str,
    least: int = 1,
    fits: Callable[[re.Match[str]], bool] = bool,
) -> None:
    """Raise VocabularyError where some lines, at least so many, have what a pattern finds and others not."""
    found = [match is not None and fits(match) for match in (_match(pattern, line.text) for line in lines)]
    if sum(found) >= least and not all(found):
        with_it, without = lines[found.index(True)], lines[found.index(False)]
        said = f"{with_it.where} of {file} has {what} ({with_it.text[:40]!r}) and {without.where} has none"
        raise unclear(said, f"write {what} for each class or for none")


def _all(
    pattern: re.Pattern[str], lines: Sequence[Line], fits: Callable[[re.Match[str]], bool] = bool
) -> list[re.Match[str]] | None:
    """The matches of all lines, None where one has none."""
    found = [match for match in (_match(pattern, line.text) for line in lines) if match and fits(match)]
    return found if found and len(found) == len(lines) else None
