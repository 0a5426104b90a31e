"""Templates ranked for each class on photos without labels (FLOSS, spec 2.14): the windows' features once, then every
template's map of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ImageError
from ..maps.decide import Rule, class_scores
from ..maps.experts import EXPERTS, Sureness, sureness
from ..words.embeddings import embed, template_table
from ..words.experts import Experts
from ..words.vocabulary import Vocabulary
from .banking import refuse_bank
from .segmenter import Segmenter
from .steps import BAND_BYTES, STRIP_BYTES, Cut
from .voting import features

TOGETHER = 512  # queries, of all templates whose maps are made at once


@torch.no_grad()
def rank_templates(
    segmenter: Segmenter,
    photos: Iterable[Any],
    vocabulary: Vocabulary,
    done: Callable[[int], None] = lambda number: None,
    on_error: Callable[[Any, ImageError], None] | None = None,
) -> Sureness:
    """How sure each template's maps of the photos are, class by class: statistics of T templates and C classes.

    What attention and feedback read of the text are the rows of all templates. Steps on the map, threshold and area
    rule are left out, as published. `done` is told how many photos are ranked on; one that cannot be read goes to
    `on_error`, else its ImageError is raised. Raises OptionError for a method whose scores are no cosines.
    """
    refuse_bank(segmenter, "a ranking of templates")
    table = template_table(vocabulary, segmenter.clip).transpose(0, 1).to(segmenter.clip.device)  # (T, Q, E)
    text = embed(vocabulary, segmenter.clip, step=segmenter.plan.rows)
    rule = segmenter.rule(vocabulary)
    found, number = Sureness.none(len(table), rule.classes), 0
    for photo in photos:
        try:
            ready = segmenter.prepare(photo)
        except ImageError as error:
            if on_error is None:
                raise
            on_error(photo, error)
            continue
        (seen,) = segmenter.tiles([ready], text, features)
        found += sureness_of(segmenter, ready, seen, table, rule)
        number += 1
        done(number)
    return found


def sureness_of(segmenter: Segmenter, photo: Cut, seen: Tensor, table: Tensor, rule: Rule) -> Sureness:
    """Statistics of one photo: its windows' features (n, E, h, w), unit rows of every template (T, Q, E)."""
    queries = table.shape[1]
    found = []
    for rows in table.split(max(1, TOGETHER // queries)):
        cosines = torch.einsum("qe,nehw->nqhw", rows.flatten(0, 1), seen)
        known = Sureness.none(len(rows), rule.classes)
        for _, strip in segmenter.score_map(photo, cosines).strips(STRIP_BYTES, BAND_BYTES):
            pairs = [sureness(class_scores(one, rule)) for one in strip.split(queries)]
            known += Sureness(*(torch.stack(one) for one in zip(*pairs, strict=True)))
        found.append(known)
    return Sureness(torch.cat([one.total for one in found]), torch.cat([one.count for one in found]))


def experts_of(known: Sureness, vocabulary: Vocabulary, text_tower: str, most: int = EXPERTS) -> Experts:
    """The first `most` templates of every class as experts; all templates for a class that none of them finds."""
    chosen = dict(zip(vocabulary.classes, map(tuple, known.chosen(most)), strict=True))
    words = dict(zip(vocabulary.classes, map(tuple, vocabulary.words()), strict=True))
    return Experts(vocabulary.templates, chosen, words, text_tower)


def figures(known: Sureness, classes: Sequence[str]) -> dict[str, Any]:
    """What the ranking rests on, class by class in the templates' order: mean entropies, and shares of all pixels."""
    total = known.count.sum(1, keepdim=True).clamp_min(1)
    share, entropy = (known.count / total).T.tolist(), known.entropy.T.tolist()
    return {
        "entropy": {name: [round(one, 6) for one in own] for name, own in zip(classes, entropy, strict=True)},
        "share": {name: [round(one, 6) for one in own] for name, own in zip(classes, share, strict=True)},
    }
