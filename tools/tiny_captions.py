"""Words for the training of the bundled model: concepts, captions, what is true of a picture, the tokenizer.

A concept is a ground, a colour or a shape. A caption names some concepts that are present; it is true of every
picture that shows them all, so pictures of one batch are never each other's negatives by accident.
"""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

import segloop
from segloop.scenes.draw import COLOURS, SHAPES
from segloop.scenes.textures import GROUNDS

CONCEPTS: tuple[str, ...] = (*GROUNDS, *COLOURS, *SHAPES)
PRESENT, ABSENT, UNCLEAR = 1, 0, -1
CONTEXT = 77

SYNONYMS = {
    "grass": ["grass", "grass", "lawn", "meadow", "grassland", "a grassy field"],
    "sand": ["sand", "sand", "beach", "sands", "sandy ground", "desert"],
    "water": ["water", "water", "sea", "lake", "river", "ocean"],
    "brick": ["brick", "brick wall", "bricks", "brickwork", "wall of bricks"],
    "wood": ["wood", "wooden floor", "planks", "wooden boards", "timber", "wood planks"],
    "snow": ["snow", "snow", "snowfield", "snowy ground", "fresh snow"],
    "circle": ["circle", "circle", "disc", "dot", "ball"],
    "square": ["square", "square", "box"],
    "triangle": ["triangle"],
    "star": ["star"],
    "diamond": ["diamond"],
}
COLOURED = ["{}", "{}", "{} shape", "something {}", "{} object", "{} thing", "{} spot"]
JOINTS = [" and ", " and ", ", ", " next to ", " beside ", " with "]
# true of no picture here: a class that the model does not know should win nowhere
UNRELATED = """
person man woman child boy girl baby people face hand hair car bus truck train bicycle motorbike aeroplane airplane
boat ship dog cat horse cow sheep bird elephant bear zebra giraffe lion tiger monkey rabbit mouse fish frog snake
duck chicken butterfly bee spider chair table sofa bed desk lamp door window curtain shelf cupboard carpet pillow
mirror clock vase bottle cup glass plate bowl fork knife spoon pan oven toaster fridge sink toilet bath towel book
newspaper laptop keyboard computer monitor television phone camera radio guitar piano violin drum game kite
skateboard surfboard snowboard skis bat glove racket backpack umbrella handbag suitcase tie hat shoe shirt dress
jacket jeans sock banana apple fruit sandwich broccoli carrot pizza cake donut bread cheese egg meat soup rice
noodles salad coffee tea wine beer milk house building church castle tower bridge station airport factory school
hospital museum theatre shop market restaurant kitchen bathroom bedroom office garage garden park street road
pavement sidewalk crossing traffic light sign pole fence gate bench fountain statue flag bin hydrant meter tree bush
flower leaf forest jungle hill mountain rock stone cave cliff volcano sky cloud sun moon rainbow fire smoke fog rain
storm lightning night sunset city village farm corn tractor helicopter rocket satellite robot doll toy
balloon candle gift ring necklace watch glasses scissors hammer screwdriver saw nail rope chain bucket broom ladder
tent map letter stamp coin money ticket pencil pen paint brush canvas poster screen machine engine wheel tyre cable
plastic metal steel iron copper gold silver rubber leather cotton wool silk paper cardboard marble concrete asphalt
skin fur feather bone blood brain heart eye nose mouth tooth foot leg arm finger
""".split()  # noqa: SIM905 - a list literal would be a page long
FREQUENT = """
the a an of in on at to for with and or not no is are was were be been has have had do does did this that these those
it its he she they we you i my your his her our their what which who where when why how all some any many few more
most other such only own same so than too very can will just about above below under over between through during
before after again further here there one two three four five six seven eight nine ten left right top bottom front
back near far inside outside background foreground floor ground wall ceiling surface large small big little long
short high low wide narrow thick thin round flat old new young good bad nice bright dark light heavy clean dirty wet
dry hot cold warm cool hard soft open closed full empty grey gray brown pink beige
""".split()  # noqa: SIM905


def templates() -> list[str]:
    """The 80 published prompt templates."""
    path = Path(segloop.__file__).parent / "words" / "classes" / "templates.json"
    return list(json.loads(path.read_text("utf-8"))["openai80"])


def choose(rng: np.random.Generator, options: list[str]) -> str:
    """One of the options; much quicker than Generator.choice."""
    return options[int(rng.integers(len(options)))]


def phrase(rng: np.random.Generator, needs: tuple[str, ...]) -> str:
    """Words for one ground ("lawn"), colour ("something red"), shape ("disc") or both ("red circle")."""
    if len(needs) == 2:
        return f"{needs[0]} {choose(rng, SYNONYMS[needs[1]])}"
    if needs[0] in COLOURS:
        return choose(rng, COLOURED).format(needs[0])
    return choose(rng, SYNONYMS[needs[0]])


def article(rng: np.random.Generator, words: str) -> str:
    """Sometimes "a" or "the" before the words."""
    first = "an" if words[0] in "aeiou" else "a"
    return choose(rng, ["", "", f"{first} ", "the "]) + words


class Captions:
    """Draws captions and says which concepts each one needs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.templates = templates()

    def draw(self, present: list[str], shapes: dict[str, str]) -> tuple[str, tuple[str, ...]]:
        """A caption of some of the concepts present and the concepts that it needs.

        `shapes` tells the shape of each colour.
        """
        rng = self.rng
        if not present:
            return self.unrelated()
        count = min(len(present), int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])))
        groups = []
        for name in rng.permutation(present)[:count].tolist():
            shape = shapes.get(name)
            shaped = shape is not None and rng.uniform() < 0.5
            only_shape = shaped and rng.uniform() < 0.1
            groups.append((shape,) if only_shape else (name, shape) if shaped else (name,))
        words = [phrase(rng, group) for group in groups]
        return self.frame(words), tuple(name for group in groups for name in group)

    def unrelated(self) -> tuple[str, tuple[str, ...]]:
        """A caption of something else, which is true of nothing here."""
        rng = self.rng
        words = [choose(rng, UNRELATED) for _ in range(1 if rng.uniform() < 0.8 else 2)]
        if rng.uniform() < 0.25:  # a word that nobody knows, spliced from two
            head, tail = choose(rng, UNRELATED), choose(rng, UNRELATED)
            words[0] = head[: 1 + len(head) // 2] + tail[len(tail) // 2 :]
        return self.frame(words), ("?",)

    def frame(self, words: list[str]) -> str:
        """Join the words, bare or in a prompt template."""
        rng = self.rng
        if len(words) > 1:
            words = [article(rng, word) for word in words]
        text = words[0] + "".join(choose(rng, JOINTS) + word for word in words[1:])
        return choose(rng, self.templates).format(text) if rng.uniform() < 0.7 else article(rng, text)


def truth(needs: list[tuple[str, ...]], status: np.ndarray) -> np.ndarray:
    """Which caption is true of which picture: T captions, status (B, concepts) -> (T, B) of the three values.

    A caption of a coloured shape needs the colour; where the shape is another one the answer is left open,
    because a colour is a patch's affair and a silhouette is not.
    """
    answers = np.empty((len(needs), len(status)), np.int8)
    for row, names in enumerate(needs):
        if names == ("?",):
            answers[row] = ABSENT
            continue
        columns = status[:, [CONCEPTS.index(name) for name in names]]
        soft = np.array([name in SHAPES and len(names) > 1 for name in names])
        columns = np.where(soft & (columns == ABSENT), UNCLEAR, columns)
        answers[row] = np.where((columns == ABSENT).any(1), ABSENT, np.where((columns == UNCLEAR).any(1), -1, 1))
    return answers


def build_tokenizer(size: int = 1600) -> CLIPTokenizer:
    """A byte-level BPE in CLIP's layout of at most `size` entries, learned from the words above.

    The ids are CLIP's in order: bytes, bytes that end a word, merges, start, end. All 512 byte entries are
    present, so any text has tokens, and the end has the largest id.
    """
    weights = dict.fromkeys(CONCEPTS, 30)
    weights |= {word: 30 for words in SYNONYMS.values() for text in words for word in text.split()}
    counts = Counter(weights)
    counts.update(word for text in templates() for word in re.findall("[a-z]+", text))
    counts.update(word for text in COLOURED + JOINTS for word in re.findall("[a-z]+", text))
    counts.update(UNRELATED + FREQUENT)
    alphabet = byte_alphabet()
    merges = learn_merges(counts, size - 2 * len(alphabet) - 2)
    entries = alphabet + [char + "</w>" for char in alphabet] + ["".join(pair) for pair in merges]
    entries = [*dict.fromkeys(entries), "<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: index for index, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def byte_alphabet() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level BPE, as CLIP orders them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(rest))]


def learn_merges(counts: Counter[str], limit: int) -> list[tuple[str, str]]:
    """Byte-pair merges of the counted words, the most frequent pair first, ties by spelling."""
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in sorted(counts)}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {word: merged(pieces, best) for word, pieces in words.items()}
    return merges


def merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with each occurrence of the pair made one."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def known_words() -> list[str]:
    """Words of what captions name, concepts first: words.txt of the model, by which others are told."""
    said = " ".join([*CONCEPTS, *sorted(phrase for some in SYNONYMS.values() for phrase in some)])
    found = dict.fromkeys(re.findall(r"\w+", said))
    return [word for word in found if word not in ("a", "of", "fresh", "wall")]
