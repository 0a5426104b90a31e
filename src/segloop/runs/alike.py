"""Like with like: in what runs differ, beside their attention, that moves figures as much as an attention does."""

from collections.abc import Mapping, Sequence
from typing import Any

LIKE = {"class list": "vocabulary", "logit scale": "logit_scale", "residual": "residual", "MLP": "mlp"}
"""As tables call it -> the setting of a record."""


def unlike(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What differs between some run.json of one data set: name -> each run's value in words, in their order.

    Class lists are held against each other word by word. A record that does not say a setting differs from none.
    """
    found = {name: [_said(record, setting) for record in records] for name, setting in LIKE.items()}
    words = {tuple(record.get("queries") or ()) for record in records} - {()}
    return {
        name: values
        for name, values in found.items()
        if (len(words) > 1 if name == "class list" else len({*values} - {"-"}) > 1)
    }


def columns(records: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, list[str]]:
    """Every record's values of what differs within some data set; `groups` says which data set each is of."""
    differing = {
        name
        for group in {*groups}
        for name in unlike([record for record, own in zip(records, groups, strict=True) if own == group])
    }
    return {name: [_said(record, setting) for record in records] for name, setting in LIKE.items() if name in differing}


def _said(record: Mapping[str, Any], setting: str) -> str:
    value = record["settings"].get(setting)
    if setting == "vocabulary":
        return str(value).rpartition("/")[2] if value else "own"
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}"
