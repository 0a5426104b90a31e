"""What CLIP can make of words: letters and languages that it was not taught, signs, names that say what is left."""

import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

from ..errors import Notice

Say = Callable[[str], None]


def noticed(sentence: str) -> None:
    """What is to know of words, as a Notice, where nobody takes it otherwise."""
    warnings.warn(sentence, Notice, stacklevel=4)


REST = {  # names that mean what no other class is
    *(
        "background",
        "else",
        "everything else",
        "anything else",
        "something else",
        "nothing",
        "none",
        "rest",
        "the rest",
    ),
    *("other", "others", "misc", "miscellaneous", "unknown", "undefined", "void", "ignore", "unlabeled", "unlabelled"),
}
MANY_PIECES = 4  # tokens of one word; of 1337 words of the benchmarks' lists, 3 break into so many
SHOWN = 3  # words that are told
SLASH = re.compile(r"(?<=[^\W\d_]{2})\s*[/，、،；｜＝]\s*(?=[^\W\d_]{2})")  # between words, not as in "24/7" or "w/o"
NUMBER = re.compile(r"\d+\s*[.:)]\s*(?=[^\W\d])")
REMEDY = "where it is no English, which CLIP was taught, write the English words behind it"


def tell_of_rest(
    labels: Sequence[str], words: Sequence[list[str]], background: Literal[0] | None, say: Say = noticed
) -> None:
    """A sentence for a class that means everything else and is looked for by such a word, which no picture shows."""
    others = [
        name
        for place, (name, own) in enumerate(zip(labels, words, strict=True))
        if all(word.casefold() in REST for word in own) and not (place == 0 and background == 0)
    ]
    if others:
        word = f"{others[0]!r}"
        what = f"{word} is looked for as that word, like any class, and does not mean what is left; leave it out and "
        what += "add --background (in Python background=True), begin the list of evaluate with `background`, or say "
        what += f"what it holds, as in {others[0]}=car|bus"
        say(what)


def tell_of_signs(queries: Sequence[str], say: Say = noticed) -> None:
    """A sentence for a word with a sign that is meant for the reader: `grass/lawn`, `1. grass`."""
    strange = [query for query in queries if SLASH.search(query) or NUMBER.match(query)]
    if strange:
        meant = SLASH.split(NUMBER.sub("", strange[0]))
        remedy = f"write {meant[0]!r}"
        if len(meant) > 1:
            remedy = f"write {'|'.join(meant)!r} for names of one class, {', '.join(meant)!r} for classes of their own"
        what = f"{_listed(strange)} {_are(strange)} looked for as a phrase, sign and all"
        say(f"{what}; {remedy}")


def tell_of_language(queries: Sequence[str], pieces: Callable[[list[str]], list[int]], say: Say = noticed) -> None:
    """A sentence for words in other letters than Latin, and a hint for those that look like another language's.

    `pieces` says of each word how many tokens it breaks into, 0 where only its letters say something. A word without
    marks and of few pieces is taken as English, whatever it is.
    """
    strange = [query for query in queries if is_in_other_letters(query)]
    if strange:
        what = (
            f"CLIP was taught English, and {_listed(strange)} {_are(strange)} not in Latin letters: the mask is a guess"
        )
        say(f"{what}; write the English words behind it, {_example(strange[0])}")
    words = list(dict.fromkeys(word for query in queries if query not in strange for word in re.findall(r"\w+", query)))
    counts = pieces(words) if words else []
    pairs = zip(words, counts, strict=True)
    odd = [word for word, count in pairs if count >= MANY_PIECES or not word.isascii()]
    if odd:
        what = f"{_listed(odd)} may not be English, by letters or rare syllables"
        say(f"{what}; {REMEDY}, {_example(odd[0])}")


def tell_of_unknown(
    labels: Sequence[str],
    words: Sequence[list[str]],
    known: Sequence[str],
    background: Literal[0] | None,
    say: Say = noticed,
) -> None:
    """A sentence for classes of which a model that was taught few words knows none."""
    strange = [
        name
        for place, (name, own) in enumerate(zip(labels, words, strict=True))
        if {*known}.isdisjoint(re.findall(r"\w+", " ".join(own).casefold()))
        and not (place == 0 and background == 0)
        and not all(word.casefold() in REST or is_in_other_letters(word) for word in own)  # told already
    ]
    if strange:
        some = ", ".join(known[:SHOWN])
        what = f"this model was taught {len(known)} words (such as {some}), and none of them is in {_listed(strange)}"
        say(f"{what}: the mask is a guess; give a model that knows it, such as --clip openai/clip-vit-base-patch16")


def is_in_other_letters(text: str) -> bool:
    """Whether it holds a letter of another script than Latin."""
    return any(sign.isalpha() and not unicodedata.name(sign, "").startswith("LATIN") for sign in text)


def _example(word: str) -> str:
    return f"as in {word!r} -> '{word}=ENGLISH WORDS'"


def _are(words: Sequence[str]) -> str:
    return "is" if len(words) == 1 else "are"


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(repr(word) for word in words[:SHOWN]) + more
