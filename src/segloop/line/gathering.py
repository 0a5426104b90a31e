"""A memory bank made of photos without labels: what every photo's own map is sure of, gathered, then a few prototypes.

Of a photo, each class gives one vector, the mean feature of the patches that the map gives to it with confidence. A
class keeps those of the surest photos, and an even sample of all patches is kept to put cosines on one scale. So what
is held does not grow with the photos, and it does not hang on their order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.ahead import READERS
from ..common.attempts import Line
from ..common.records import require
from ..errors import ImageError, OptionError
from ..maps.decide import Rule
from ..maps.patches import patch_pixels
from ..words.bank import Bank, tells
from ..words.banked import nearest
from ..words.prototypes import prototypes
from ..words.vocabulary import Vocabulary, as_vocabulary
from ..words.voting import only_plain
from .banking import identity
from .batches import full, weight
from .finishing import raised
from .segmenter import Segmenter, Words
from .steps import Photo
from .voting import features

CANDIDATES = 64  # vectors of a class, each of another photo
SAMPLE = 4096  # patches of all photos
OF_PHOTO = 512  # of those, from one photo
SHARD = 64  # photos between two states that can be kept


@dataclass(frozen=True)
class Gathering:
    """What is sure enough for a bank, and how large it becomes. Raises OptionError for values outside their range."""

    sure: float = 0.5  # a probability; patches below it are nobody's
    most: int = 4  # prototypes of a class

    def __post_init__(self) -> None:
        require(0 <= self.sure <= 1, "sure", self.sure, "a probability, 0 to 1")
        require(1 <= self.most <= CANDIDATES, "prototypes", self.most, f"1 to {CANDIDATES}")


@dataclass(frozen=True, eq=False)
class Gathered:
    """What some photos gave, or all so far."""

    classes: np.ndarray  # (n,) int64, class by class, the surest first
    sure: np.ndarray  # (n,) float32, mean confidence
    photos: np.ndarray  # (n,) int64, number of the photo
    vectors: np.ndarray  # (n, E) float32, unit
    lengths: np.ndarray  # (n, 2) float32, of the mean of its patches' features as they are, and as unit vectors
    keys: np.ndarray  # (s,) uint64 rising, by which a sample is even
    sample: np.ndarray  # (s, E) float32, features as they are

    @classmethod
    def none(cls, width: int) -> "Gathered":
        """Before the first photo."""
        numbers, rows = np.empty(0, np.int64), np.empty((0, width), np.float32)
        return cls(numbers, np.empty(0, np.float32), numbers, rows, rows[:, :2], np.empty(0, np.uint64), rows)

    @classmethod
    def together(cls, parts: Sequence["Gathered"]) -> "Gathered":
        """The surest of each class, and the sample with the smallest keys: the same in any order of the parts."""
        joined = {name: np.concatenate([getattr(one, name) for one in parts]) for name in vars(parts[0])}
        order = np.lexsort((joined["photos"], -joined["sure"], joined["classes"]))
        owners = joined["classes"][order]
        order = order[np.arange(len(order)) - np.searchsorted(owners, owners) < CANDIDATES]
        even = np.argsort(joined["keys"], kind="stable")[:SAMPLE]
        places = {**dict.fromkeys(("keys", "sample"), even)}
        return cls(**{name: array[places.get(name, order)] for name, array in joined.items()})


def make_bank(
    segmenter: Segmenter,
    photos: Iterable[Any],
    words: Words,
    how: Gathering | None = None,
    *,
    on_error: Callable[[Any, ImageError], None] | None = None,
) -> Bank:
    """A bank of photos for a Segmenter without one and these words. A photo that cannot be read goes to `on_error`.

    Raises OptionError where scores are no cosines, for rows given by hand, experts, and photos without a sure patch;
    without `on_error`, ImageError.
    """
    how, vocabulary = how or Gathering(), as_vocabulary(words)
    first = known = Gathered.none(segmenter.clip.width)
    for _, state in gather(segmenter, enumerate(photos), vocabulary, how, first, on_error or raised):
        known = state
    return bank_from(known, segmenter, vocabulary, how)


def check_can_be_made(segmenter: Segmenter, vocabulary: Vocabulary) -> None:
    """Raises OptionError for what a bank cannot be made with."""
    if segmenter.bank is not None:
        raise OptionError("a bank came where one is made", "leave it out")
    if segmenter.fidelity == "reference":
        raise OptionError("a memory bank came with fidelity reference, which has none", "leave fidelity out")
    if vocabulary.is_given or vocabulary.votes:
        raise OptionError("a memory bank belongs to words in one set of templates", "give those")


@torch.no_grad()
def gather(
    segmenter: Segmenter,
    photos: Iterable[tuple[int, Any]],
    vocabulary: Vocabulary,
    how: Gathering,
    known: Gathered,
    on_error: Callable[[Any, ImageError], None],
) -> "Iterable[tuple[int, Gathered]]":
    """Photos by their numbers -> after every SHARD of them, and at the end, how many are through and all that is known.

    `known` is what those before them gave.
    """
    check_can_be_made(segmenter, vocabulary)
    text = only_plain(segmenter.text(vocabulary), "a memory bank")
    rule, seen = segmenter.rule(vocabulary), partial(features, who="a memory bank")
    line = Line(
        lambda pair: (pair[0], segmenter.prepare(pair[1])),
        lambda pairs: segmenter.tiles([photo for _, photo in pairs], text, seen),
        lambda pair, found: _of_photo(segmenter, pair, found, text, rule, how.sure),
        READERS,
        lambda pair: weight(pair[1]),
    )
    failed = lambda pair, error: on_error(pair[1], error)  # noqa: E731
    some: list[tuple[int, Any]] = []
    done = 0

    def through(some: Sequence[tuple[int, Any]]) -> Gathered:
        enough = lambda pairs: full([photo for _, photo in pairs], segmenter.batch)  # noqa: E731
        return Gathered.together([known, *line.results(some, enough, failed)])

    for pair in photos:
        some.append(pair)
        if len(some) == SHARD:
            known, done, some = through(some), done + len(some), []
            yield done, known
    if some:
        yield done + len(some), through(some)


def _of_photo(
    segmenter: Segmenter, pair: tuple[int, Photo], found: Tensor, text: Tensor, rule: Rule, sure: float
) -> Gathered:
    """A photo's number and itself, features of its windows (n, E, h, w) -> what it gives."""
    number, photo = pair
    cosines = torch.einsum("qe,nehw->nqhw", text, found)
    decision = segmenter.decided(photo, segmenter.parts(photo, cosines, rule.query_index), rule)
    grid = (found.shape[-2], found.shape[-1])
    rows, columns = (one.flatten() for one in patch_pixels(segmenter.layout(photo), grid, photo.size, photo.target))
    there = ((rows >= 0) & (columns >= 0)).nonzero()[:, 0]
    rows, columns = rows[there], columns[there]
    vectors = found.movedim(1, -1).flatten(0, 2).cpu()[there]
    labels, confidence = decision.labels.cpu()[rows, columns], decision.confidence.cpu()[rows, columns]
    keys = scattered(number, there.numpy())
    even = np.argsort(keys, kind="stable")[:OF_PHOTO]
    owners, level, means, lengths = class_means(vectors, labels, confidence, sure)
    return Gathered(
        classes=owners,
        sure=level,
        photos=np.full(len(owners), number, np.int64),
        vectors=means,
        lengths=lengths,
        keys=keys[even],
        sample=vectors.numpy()[even],
    )


def class_means(
    vectors: Tensor, labels: Tensor, confidence: Tensor, sure: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patches (N, E), (N,), (N,) -> classes (k,) that some are surely of, their mean confidence, vector and lengths.

    The vector is the mean of unit features, made unit; lengths (k, 2) are as of `Gathered`.
    """
    good = (confidence >= sure) & vectors.isfinite().all(1)
    owners, place = labels[good].unique(return_inverse=True)
    count = place.bincount(minlength=len(owners))

    def mean(values: Tensor) -> Tensor:
        sums = torch.zeros(len(owners), values.shape[1]).index_add_(0, place, values)
        return sums / count[:, None]

    plain, unit = mean(vectors[good]), mean(F.normalize(vectors[good], dim=1))
    level, lengths = mean(confidence[good, None])[:, 0], torch.stack([plain.norm(dim=1), unit.norm(dim=1)], 1)
    there = lengths[:, 1] > 0
    found = (owners, level, F.normalize(unit, dim=1), lengths)
    return tuple(one[there].numpy() for one in found)  # type: ignore[return-value]


def scattered(photo: int, patches: np.ndarray) -> np.ndarray:
    """Numbers (n,) uint64 without a pattern for patches of a photo, always the same (splitmix64)."""
    x = (np.uint64(photo) << np.uint64(32)) + patches.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bank_from(known: Gathered, segmenter: Segmenter, vocabulary: Vocabulary, how: Gathering) -> Bank:
    """The bank of all that was gathered. Raises OptionError where no class was sure anywhere."""
    own = {name: torch.from_numpy(known.vectors[known.classes == name]) for name in np.unique(known.classes).tolist()}
    found = {number: prototypes(vectors, how.most) for number, vectors in own.items()}
    if not found:
        remedy = f"give more photos that show them, or a lower --sure than {how.sure:g}"
        raise OptionError("no patch of these photos is surely of any class", remedy)
    owners = np.repeat([*found], [len(rows) for rows in found.values()]).astype(np.int64)
    rows = torch.cat([*found.values()]).numpy()
    made_by = {
        **identity(segmenter.network, segmenter.reading),
        "templates": list(vocabulary.templates),
        "bank": {"sure": float(how.sure), "prototypes": how.most},
    }
    words, none = tuple(map(tuple, vocabulary.words())), np.tile([0.0, 1.0], (len(vocabulary.classes), 2))
    bank = Bank(tuple(vocabulary.classes), words, rows, owners, none, made_by)
    text = only_plain(segmenter.text(vocabulary), "a memory bank").cpu()
    levels = levels_of(bank, known, text, vocabulary.query_index)
    kept = tells(levels)[owners]
    if not kept.any():
        raise OptionError("words tell no class from others in these photos", "give photos that show more of them")
    return replace(bank, prototypes=rows[kept], owners=owners[kept], levels=levels)


def levels_of(bank: Bank, known: Gathered, text: Tensor, query_index: Sequence[int]) -> np.ndarray:
    """Of each class (C, 4) float64, means over patches: its best word's cosine where another class's is larger, and on
    patches that are surely its own; and the nearest prototype's on the same. 0 where there are none.
    """
    rows, there = bank.rows(text, query_index), sorted(set(bank.owners.tolist()))
    place = {number: at for at, number in enumerate(there)}
    sample, index = torch.from_numpy(known.sample), torch.tensor(query_index)

    def best(vectors: Tensor) -> Tensor:
        cosines = vectors @ text.T
        found = cosines.new_full((len(vectors), len(bank.classes)), -torch.inf)
        return found.scatter_reduce_(1, index.expand_as(cosines), cosines, "amax").double()

    words, near = best(sample), nearest(sample, rows).double()
    winner, levels = words.argmax(1), np.zeros((len(bank.classes), 4))
    for number in there:
        away, own = winner != number, known.classes == number
        if not away.any():
            continue  # a class that is everywhere
        vectors, lengths = torch.from_numpy(known.vectors[own]), torch.from_numpy(known.lengths[own]).double()
        means = [
            words[away, number].mean(),
            (best(vectors)[:, number] * lengths[:, 0]).mean(),
            near[away, place[number]].mean(),
            (nearest(vectors, rows).double()[:, place[number]] * lengths[:, 1]).mean(),
        ]
        levels[number] = torch.stack(means).numpy()
    return levels
