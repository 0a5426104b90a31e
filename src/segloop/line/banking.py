"""A memory bank at a Segmenter: which one, whether it was made with the same networks and words, the rows it gives."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..backbones.shared import weights_hash
from ..common.records import Constants, constants_of, override
from ..common.visible import plain, shortened
from ..errors import OptionError
from ..images import Reading
from ..words.bank import AGAIN, Bank, Mixing, read_bank
from ..words.embeddings import embed, origin
from ..words.language import Say
from ..words.rows import step_name
from ..words.vocabulary import Vocabulary
from ..words.voting import Text, only_plain
from .masking import split
from .network import Network
from .steps import check_text

MIXING = tuple(constants_of(Mixing()))
HASHES = ("model_hash", "vision_hash", "affinity_hash")
SHOWN = 40  # letters of a setting that is told


def settings_of(overrides: Constants, bank: Any, fidelity: str) -> tuple[dict[str, Any], dict[str, Any], Bank | None]:
    """Settings of a plan, those of `Proposing`, and what `bank=` means with its own. Raises as `bank_of`."""
    others, known = bank_of(bank, overrides, fidelity)
    return *split(others), known


def bank_of(given: Any, overrides: Constants, fidelity: str) -> tuple[dict[str, Any], Bank | None]:
    """Settings of others, and what `bank=` means, a file or a Bank, with those of `Mixing`.

    Raises OptionError for what is none, for settings without a bank, and for fidelity reference, which has none.
    """
    how = {name: value for name, value in overrides.items() if name in MIXING}
    others = {name: value for name, value in overrides.items() if name not in how}
    if given is None:
        check_heeded(how, None)
        return others, None
    if fidelity == "reference":
        what = "a memory bank came with fidelity reference, and no release that is followed there has one"
        raise OptionError(what, "leave one of the two out")
    if isinstance(given, (str, os.PathLike)):
        given = read_bank(given)
    if not isinstance(given, Bank):
        what = f"bank came as {type(given).__name__}"
        raise OptionError(what, "give a file of `segloop bank`, or what `make_bank` returned")
    return others, replace(given, mixing=override(given.mixing, how))


def check_heeded(changes: Constants, bank: Any) -> None:
    """Raises OptionError for settings of a bank where none comes."""
    idle = [name for name in MIXING if name in changes]
    if idle and bank is None:
        raise OptionError(f"setting {idle[0]!r} came without a memory bank", "add --bank FILE (in Python bank=)")


def identity(network: Network, reading: Reading) -> dict[str, Any]:
    """All that prototypes rest on beside words and photos: networks, method, preprocessing; fit for JSON.

    How labels are decided is not in it. Weights have hashes of the precision that they were opened in.
    """
    plan, guide, others = network.plan, network.guide, network.models
    parts = (plan.geometry, plan.around, plan.attention, plan.guidance)
    constants = {name: value for part in parts for name, value in constants_of(part).items()}
    named = {"feedback": plan.feedback, "purify": plan.purify}
    named |= {type(stage).__name__.lower(): stage for stage in plan.stages}
    code = {name: value for name, value in network.code.items() if name != "code_unseen"}
    found = {
        "model": Path(network.clip.name).name,
        "text_tower": network.clip.fingerprint,
        "dtype": str(network.clip.dtype).removeprefix("torch."),
        "model_hash": weights_hash(network.clip.model),
        "vision": Path(guide.name).name if guide else None,
        "method": plan.method,
        "host": plan.host,
        "vision_hash": weights_hash(guide.model) if guide and guide.model is not None else None,
        "affinity_hash": {name: weights_hash(model.model) for name, model in others.items()},
        **constants,
        **{name: asdict(record) for name, record in named.items() if record is not None},
        "rows": [step_name(plan.rows), constants_of(plan.rows)],
        **code,
        **reading.said(),
        **network.clip.normalisation.said(),
    }
    return json.loads(json.dumps(found))


def check_networks(bank: Bank, now: Mapping[str, Any]) -> None:
    """Raises OptionError for a bank that other networks, another method or another preprocessing has made.

    A bank goes with another precision too; the text tower, which is always in float32, then tells the model.
    """
    made = {name: value for name, value in bank.made_by.items() if name not in ("templates", "bank")}
    same_precision = made.get("dtype") == now["dtype"]
    hashes = ["text_tower", *(HASHES if same_precision else ())]
    if any(made.get(name) != now[name] for name in hashes):
        name = shortened(str(made.get("model")))
        what = f"the bank was made with {name}, whose weights, or its guide's, are not those of {now['model']}"
        raise OptionError(what, AGAIN)
    for name in dict.fromkeys([*now, *made]):
        if name not in ("model", "dtype", *HASHES) and made.get(name) != now.get(name):
            there, here = (_short(side.get(name)) for side in (made, now))
            raise OptionError(f"the bank was made with {name} {there}, and here it is {here}", AGAIN)


def _short(value: Any) -> str:
    text = plain(value) if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def check_words(bank: Bank, vocabulary: Vocabulary) -> None:
    """Raises OptionError for a bank of other classes, words or templates."""
    words = tuple(map(tuple, vocabulary.words()))
    if bank.classes != tuple(vocabulary.classes):
        own = next((name for name in vocabulary.classes if name not in bank.classes), None)
        more = f"; it knows no {own!r}" if own else ""
        raise OptionError(f"the bank was made for another list of classes{more}", f"give that list, or {AGAIN}")
    if bank.words != words:
        other = next(name for name, *pair in zip(bank.classes, bank.words, words, strict=True) if pair[0] != pair[1])
        raise OptionError(f"the bank was made with other words for {other!r}", f"give those words, or {AGAIN}")
    if bank.made_by.get("templates") != list(vocabulary.templates):
        raise OptionError("the bank was made with other templates", f"give those templates, or {AGAIN}")


def refuse_bank(segmenter: Any, who: str) -> None:
    """Raises OptionError where a Segmenter has a bank, and `who` would pass it over."""
    if segmenter.bank is not None:
        raise OptionError(f"{who} can read words alone, and a memory bank came", "leave the bank out")


def rows_of(segmenter: Any, vocabulary: Vocabulary, progress: Any, say: Say) -> Text:
    """The rows of a vocabulary as a Segmenter reads them, on its device: with its bank's prototypes where it has one.

    Raises as `embed`; OptionError for a bank of other words, for rows that were given, and for those of experts.
    """
    plan, clip, bank = segmenter.plan, segmenter.clip, segmenter.bank
    if bank is None:
        rows = embed(vocabulary, clip, None, progress, plan.rows, say).to(clip.device)
        check_text(rows, clip.width)
        return rows
    if vocabulary.embeddings is not None and vocabulary.made_by == rows_origin(segmenter):
        return vocabulary.embeddings.to(clip.device)
    if vocabulary.is_given:
        raise OptionError("a memory bank came with rows that were given, and it belongs to words", "give the words")
    check_words(bank, vocabulary)
    rows = embed(vocabulary, clip, None, progress, plan.rows, say)
    text = only_plain(rows, "a memory bank").to(clip.device)
    return bank.rows(text, vocabulary.query_index)


def rows_origin(segmenter: Any) -> tuple[Any, ...]:
    """What made a vocabulary's rows: encoder and step, and the bank where there is one."""
    own = origin(segmenter.clip, segmenter.plan.rows)
    bank = segmenter.bank
    return own if bank is None else (*own, bank.digest, bank.mixing)


def fitting(segmenter: Any) -> Any:
    """A Segmenter whose bank fits it. Raises OptionError as `check_networks`."""
    if segmenter.bank is not None:
        check_networks(segmenter.bank, identity(segmenter.network, segmenter.reading))
    return segmenter


def said(bank: Bank | None) -> dict[str, Any]:
    """What records have of a bank: nothing for none."""
    return {} if bank is None else {"bank": bank.digest, **constants_of(bank.mixing)}
