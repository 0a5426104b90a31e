"""Like with like: in what runs differ, beside their attention, that moves figures as much as an attention does."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.visible import plain

WORDS = "class list"
LIKE = {
    WORDS: "vocabulary",
    "logit scale": "logit_scale",
    "residual": "residual",
    "MLP": "mlp",
    "short side": "short_side",
    "crop": "crop",
    "stride": "stride",
    "mask vote": "mask_vote",
    "bank weight": "bank_weight",
}
"""As tables call it -> the setting of a record."""


UNSAID = {"mask_vote": False, "bank_weight": 0}  # what a record that does not say a setting had


def unlike(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What differs between some run.json of one data set: name -> each run's value in words, in their order.

    Class lists are held against each other word by word. A record that does not say a setting differs from none, unless
    UNSAID knows what it had.
    """
    found = _values(records)
    words = {tuple(record.get("queries") or ()) for record in records} - {()}
    return {
        name: values
        for name, values in found.items()
        if (len(words) > 1 if name == WORDS else len({*values} - {"-"}) > 1)
    }


def columns(records: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, list[str]]:
    """Every record's values of what differs within some data set; `groups` says which data set each is of."""
    differing = {
        name
        for group in {*groups}
        for name in unlike([record for record, own in zip(records, groups, strict=True) if own == group])
    }
    return {name: values for name, values in _values(records).items() if name in differing}


def _values(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Of each setting, every record's value in words; several class lists of the user's own are told by letters."""
    found = {name: [_said(record, setting) for record in records] for name, setting in LIKE.items() if name != WORDS}
    published = [record["settings"].get("vocabulary") for record in records]
    lists = [(*(record.get("queries") or ()), *(record.get("query_index") or ())) for record in records]
    own = list(dict.fromkeys(one for one, name in zip(lists, published, strict=True) if not name))
    letters = dict(zip(own, map(_letter, range(len(own))), strict=True)) if len(own) > 1 else {}
    words = [
        str(name).rpartition("/")[2] if name else f"own {letters.get(one, '')}".strip()
        for one, name in zip(lists, published, strict=True)
    ]
    return {WORDS: words, **found}


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def _said(record: Mapping[str, Any], setting: str) -> str:
    value = record["settings"].get(setting, UNSAID.get(setting))
    if value is None:
        return "-"
    return plain(value) if isinstance(value, bool) else f"{value:g}"
