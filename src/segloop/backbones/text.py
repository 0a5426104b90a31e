"""The text side of a CLIP: its tokenizer, the end of a text, and what tells two text towers apart (spec 0.4)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError, UserError
from .folders import TEXTS, any_spoilt
from .kept import hub_id

LEGACY_END = 2  # what configs of the first releases have for eos_token_id; the id is another
SHAPING = ("hidden_act", "layer_norm_eps", "num_attention_heads", "max_position_embeddings")  # not seen in the weights


def open_tokenizer(name: str, folder: str, rows: int, config: Any = None) -> Any:
    """The tokenizer of a resolved CLIP whose text tower has `rows` tokens; it pads and cuts on the right.

    `config` says of which type it is where the folder does not, as OpenCLIP's do not.

    Raises ModelError where there is none, where it does not open, or where it knows more tokens.
    """
    from transformers import AutoTokenizer

    remedy = "add the tokenizer's files to the folder, or give Vocabulary(embeddings=...)"
    if hub_id(folder):
        remedy = f"fetch them with `hf download {hub_id(folder)}`, or give Vocabulary(embeddings=...)"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False, local_files_only=True)
        tokenizer(["a trial"], truncation=False, verbose=False)
    except Exception as error:  # the library raises many kinds for files that are missing, damaged or none
        told = any_spoilt(name, Path(folder), TEXTS)
        raise told or ModelError(f"model {name!r} has no tokenizer that opens", remedy) from error
    known = tokenizer.get_vocab()
    if len(known) <= len(tokenizer.all_special_tokens):  # what the library makes of a folder without one
        raise ModelError(f"model {name!r} has no tokenizer", remedy)
    if max(known.values()) >= rows:
        what = f"the tokenizer of {name!r} has {max(known.values()) + 1} words, its text tower {rows}"
        raise ModelError(what, "put the tokenizer and the weights of one model into the folder")
    tokenizer.padding_side = tokenizer.truncation_side = "right"  # the text tower counts positions from the left
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def end_of_text(name: str, tokenizer: Any, config: Any) -> int:
    """The id of the token at which a text is pooled: the tokenizer's, else the config's. Raises ModelError."""
    own = tokenizer.eos_token_id
    end = own if own is not None else config.eos_token_id
    if end is None or (own is None and end == LEGACY_END):
        raise ModelError(f"the tokenizer of {name!r} has no end-of-text token", "use the tokenizer that CLIP came with")
    return int(end)


def check_texts(texts: list[str], tokenizer: Any) -> None:
    """Raises UserError for a text that holds the end-of-text token: the row would be that of what comes before."""
    end = tokenizer.eos_token
    found = next((text for text in texts if end and end in text), None)
    if found is not None:
        raise UserError(f"{found!r} holds {end}, at which CLIP stops to read", "write it without")


def tokens_over(tokenizer: Any, texts: list[str], context: int) -> list[int]:
    """How many tokens of each text lie beyond a context of so many, 0 for most."""
    whole = tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]
    return [max(0, len(ids) - context) for ids in whole]


def padded(tokenizer: Any, texts: list[str], context: int) -> Any:
    """Texts in small letters as token ids (n, context), cut or padded to it, for towers that were trained so.

    Raises UserError for a text that holds the end-of-text token.
    """
    check_texts(texts, tokenizer)
    lower = [text.lower() for text in texts]
    return tokenizer(lower, padding="max_length", truncation=True, max_length=context, return_tensors="pt")


def pooled(name: str, states: Tensor, ids: Tensor, end: int) -> Tensor:
    """States (n, L, D) at the first `end` of the ids (n, L) -> (n, D). Raises ModelError where a text has none.

    The library itself takes the token of the largest id where the config is of the first releases, which is another
    one as soon as tokens were added.
    """
    ends = ids == end
    if not ends.any(1).all():
        what = f"the tokenizer of {name!r} does not end a text with its end-of-text token, {end}"
        raise ModelError(what, "use the tokenizer that CLIP came with")
    return states[torch.arange(len(states), device=states.device), ends.int().argmax(1)]


def print_of(text_model: Any, projection: Tensor, config: Any, tokenizer: Any) -> str:
    """SHA-256 over all that rows depend on: the same rows come from the same print."""
    digest = hashlib.sha256(b"pooled at the end of the text")
    for name, weight in sorted({**text_model.state_dict(), "projection": projection}.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy())
    digest.update(json.dumps([str(getattr(config, name, None)) for name in SHAPING]).encode())
    digest.update(f"{tokenizer.eos_token_id} {tokenizer.bos_token_id}".encode())
    for word, number in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{word}\t{number}\n".encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # how it cuts words; padding and truncation are set at every call
        rules = json.loads(backend.to_str())
        digest.update(json.dumps({**rules, "padding": None, "truncation": None}, sort_keys=True).encode())
    return digest.hexdigest()
