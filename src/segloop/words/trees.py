"""Class lists in JSON, YAML and Label Studio's XML, as the tools of the field write them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from ..errors import VocabularyError
from .entries import COLOUR, Entry, Form, colour_of, unclear

LISTS = (  # keys that hold the classes, of several in one file the first
    *("names", "classes", "categories", "stuff_classes", "thing_classes", "class_names", "labels", "label_names"),
    *("id2label", "label2id", "metainfo"),
)
PALETTES = ("palette", "colors", "colours", "stuff_colors", "thing_colors")  # beside a list, in its order
NAMES = ("name", "title", "label", "class", "class_name", "category", "value")
QUERIES = ("query", "queries", "prompt", "prompts", "words")  # to look for, where the name is only a label
NUMBERS = ("id", "index", "class_id", "label_id", "number")
COLOURS = ("color", "colour", "rgb", "hex", "background")
LARGEST_YAML = 1 << 20  # letters; its reader needs a second for a megabyte
SAYS = 'such as ["grass", "sand"], {"0": "grass"} or {"grass": [0, 128, 0]}'
WHOLE = r"\d{1,5}"


def from_json(text: str, file: str) -> Form:
    """A JSON text understood. Raises VocabularyError for what is no JSON or holds no class list."""
    try:
        tree = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, file))
    except VocabularyError:
        raise
    except (ValueError, RecursionError) as error:
        tree = _loose(text, file)
        if tree is not None:
            return _understood(tree, "YAML", file)
        reason = error.args[0] if isinstance(error, ValueError) else "too many brackets"
        raise unclear(f"{file} looks like JSON and cannot be read ({reason})") from error
    return _understood(tree, "JSON", file)


def _loose(text: str, file: str) -> Any:
    """[grass, sand], ['grass', 'sand'] and a last comma are YAML; None for what is not."""
    if text.lstrip()[:1] not in tuple("[{") or len(text) > LARGEST_YAML or "//" in text:
        return None
    try:
        return _load(text, file)
    except (ValueError, RecursionError):
        return None


def from_yaml(text: str, file: str) -> Form:
    """A YAML text understood. Raises VocabularyError as `from_json`."""
    if len(text) > LARGEST_YAML:
        raise unclear(f"{file} is too long for a class list in YAML")
    try:
        tree = _load(text, file)
    except VocabularyError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) else "too many brackets"
        raise unclear(f"{file} looks like YAML and cannot be read ({reason})") from error
    return _understood(tree, "YAML", file)


def _load(text: str, file: str) -> Any:
    """YAML in which every word stays text: `no` is a name too. Raises ValueError, RecursionError."""
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.BaseLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        return _once(((loader.construct_object(one, True) for one in pair) for pair in node.value), file)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(text, Loader)  # a loader without objects
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(str(error)) from error


def from_xml(text: str, file: str) -> Form:
    """Label Studio's labelling interface: the `Label` elements. Raises VocabularyError for other XML."""
    try:
        root = None if "<!" in text.replace("<!--", "") else ElementTree.fromstring(text)
    except ElementTree.ParseError:
        root = None
    found = [] if root is None else [node for node in root.iter() if node.tag == "Label" and node.get("value")]
    if not found:
        raise unclear(f"{file} is XML or a web page, not a class list")
    entries = [
        Entry(node.get("value", ""), f"label {place}", colour=colour_of(node.get("background")))
        for place, node in enumerate(found, 1)
    ]
    if any(entry.colour is None for entry in entries):  # names of colours say nothing of masks
        entries = [Entry(entry.name, entry.where) for entry in entries]
    return Form("the labels of Label Studio", tuple(entries))


def _once(pairs: Iterable[Iterable[Any]], file: str) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise unclear(f"{file} has a list where a name should be ({str(key)[:40]})")
        if key in made:
            raise unclear(f"{file} names {key!r} twice", "keep each name once")
        made[key] = value
    return made


def _understood(tree: Any, kind: str, file: str) -> Form:
    form = _list(tree, kind, file) if isinstance(tree, list) else _mapping(tree, kind, file)
    if not form.entries:
        raise unclear(f"{file} names no class")
    return form


def _list(tree: list[Any], kind: str, file: str) -> Form:
    if all(isinstance(item, str) for item in tree):
        return Form(f"a list in {kind}", tuple(Entry(name, f"item {n}") for n, name in enumerate(tree, 1)))
    if all(isinstance(item, Mapping) for item in tree):
        entries = tuple(_record(item, f"item {n}", file) for n, item in enumerate(tree, 1))
        return Form(f"a list of records in {kind}", entries, any_numbers=True)
    inner = next((item for item in tree if isinstance(item, list)), None)
    if inner and all(isinstance(word, str) for word in inner):
        what = f"{file} is a list in {kind} with a list {json.dumps(inner, ensure_ascii=False)} inside"
        raise unclear(what, f'write the names of one class as one text, "{" | ".join(inner)}"')
    raise unclear(f"{file} is a list in {kind} of other things than names", f"write names, {SAYS}")


def _record(item: Mapping[str, Any], where: str, file: str, number: int | None = None) -> Entry:
    """{"id": 1, "name": "grass", "color": [0, 128, 0]} and its like."""
    known = {str(key).casefold(): value for key, value in item.items()}
    name = next((known[key] for key in NAMES if isinstance(known.get(key), str)), None)
    if name is None:
        raise unclear(f"{where} of {file} has no name", 'write it as {"name": "grass"}')
    own = next((_whole(known[key]) for key in NUMBERS if key in known), None)
    colour = next((colour_of(known[key]) for key in COLOURS if key in known), None)
    query = next((known[key] for key in QUERIES if known.get(key)), None)
    if isinstance(query, list) and all(isinstance(word, str) for word in query):
        query = " | ".join(query)
    if not isinstance(query, (str, type(None))):
        raise unclear(f"{where} of {file} has no words to look for", 'write them as {"name": "Gras", "query": "grass"}')
    return Entry(name, where, number if number is not None else own, colour, query)


def _mapping(tree: Any, kind: str, file: str) -> Form:
    if not isinstance(tree, dict):
        raise unclear(f"{file} holds no list of classes in {kind}", f"write one, {SAYS}")
    inner = _inner(tree, kind, file)
    if inner is not None:
        return inner
    for said, reader in READERS:
        entries = [reader(key, value, f"entry {n}", file) for n, (key, value) in enumerate(tree.items(), 1)]
        found = tuple(entry for entry in entries if entry is not None)
        if found and len(found) == len(entries):
            return Form(f"a mapping in {kind}, {said}", found)
    what = f"{file} is a mapping in {kind} of neither numbers nor colours"
    raise unclear(what, f"write a list or a mapping, {SAYS}")


def _inner(tree: dict[str, Any], kind: str, file: str) -> Form | None:
    """The list inside metadata: `names` of a data.yaml, `categories` of COCO, `id2label` of a config."""
    known = {key.casefold(): value for key, value in tree.items()}
    keys = [key for key in LISTS if isinstance(known.get(key), (list, dict)) and known[key]]
    if not keys:
        text = next((known[key] for key in LISTS if isinstance(known.get(key), str) and "," in known[key]), None)
        if text is None:
            return None
        names = tuple(Entry(name, f"name {n}") for n, name in enumerate(text.split(","), 1))
        return Form(f"a line in {kind}, separated by commas", names)
    if {"stuff_classes", "thing_classes"} <= set(keys):
        what = f"{file} has both stuff_classes and thing_classes"
        raise unclear(what, "write the classes of the masks alone, one a line")
    form = _understood(known[keys[0]], kind, file)
    palette = next((known[key] for key in PALETTES if isinstance(known.get(key), list)), None)
    if palette is not None and len(palette) == len(form.entries):
        pairs = zip(form.entries, palette, strict=True)
        entries = tuple(
            replace(entry, colour=colour_of(one) if entry.colour is None else entry.colour) for entry, one in pairs
        )
        form = Form(form.said, entries, form.any_numbers)
    return form.within(f"`{keys[0]}` of a mapping in {kind}")


def _numbered(key: str, value: Any, where: str, file: str) -> Entry | None:
    if not re.fullmatch(WHOLE, key.strip()):
        return None
    if isinstance(value, Mapping):
        return _record(value, where, file, int(key))
    return Entry(value, where, int(key)) if isinstance(value, str) else None


def _named(key: str, value: Any, where: str, file: str) -> Entry | None:
    number = _whole(value)
    return None if number is None else Entry(key, where, number)


def _painted(key: str, value: Any, where: str, file: str) -> Entry | None:
    colour = colour_of(value)
    return None if colour is None else Entry(key, where, colour=colour)


def _by_colour(key: str, value: Any, where: str, file: str) -> Entry | None:
    painted = re.fullmatch(COLOUR, key.strip()) and isinstance(value, str)
    return Entry(value, where, colour=colour_of(key)) if painted else None


def _described(key: str, value: Any, where: str, file: str) -> Entry | None:
    """{"grass": {"id": 0, "color": ...}}."""
    if not isinstance(value, Mapping):
        return None
    entry = _record({**value, "name": key}, where, file)
    return None if entry.number is None and entry.colour is None and entry.query is None else entry


READERS: tuple[tuple[str, Callable[[str, Any, str, str], Entry | None]], ...] = (
    ("number to name", _numbered),
    ("name to number", _named),
    ("name to colour", _painted),
    ("colour to name", _by_colour),
    ("name to record", _described),
)


def _whole(value: Any) -> int | None:
    """0 or "0"."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = str(value).strip()
    return int(text) if re.fullmatch(WHOLE, text) else None
