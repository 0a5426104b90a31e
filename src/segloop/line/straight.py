"""The straight line to read: one photo, from pixels and words to labels, in the order in which it happens.

`Segmenter` goes the same way with many photos at once: windows of several photos share batches, words are encoded
once, and samples whose matrices would not fit together go one after the other. To try an idea, copy this function.
"""

from typing import Any

import torch
from torch import Tensor

from ..maps.windows import assemble
from ..words.embeddings import embed
from ..words.vocabulary import Vocabulary
from ..words.voting import only_plain
from .banking import refuse_bank
from .segmenter import Segmenter
from .stages import open_last
from .steps import blocks, decided


@torch.no_grad()
def straight_line(segmenter: Segmenter, photo: Any, vocabulary: Vocabulary) -> Tensor:
    """Labels (H0, W0) int64 of a photo (path, PIL image, array), the same as `segmenter(photo, vocabulary).labels`.

    Q queries of E numbers; n windows of N patches; h heads of d numbers. Raises as `Segmenter` does.
    A method over the whole photo, such as lposs, leaves this way at step 8: see `Network.joined`.
    """
    network, plan = segmenter.network, segmenter.plan

    refuse_bank(segmenter, "the straight line")
    rows = embed(vocabulary, network.clip, step=plan.rows)  # 0: (Q, E) unit rows, one a query of all templates
    text = only_plain(rows, "the straight line")  # templates that are experts are read in `voting.py`
    ready = segmenter.prepare(photo)  # 1 to 3: read, resized, cut: ready.windows (n, 3, height, width)

    whole = network.guides(ready) if network.guides else None  # a guide that looks at the whole photo, cut likewise
    windows = ready.windows, text, ready.window_regions  # regions where masks came, else None
    batch, states, features = network.encoded(*windows, whole)  # 4 and 5: (n, 1 + N, D) by block, (n, C, H', W')
    opened = open_last(batch, states, features)  # 7: q, k, v (n, h, 1 + N, d) of the last block
    for stage in network.stages:  # 8: host attention and guide grid; 6: SFP; 9: FSA
        opened = stage(opened)
    cosines = opened.cosines()  # 10: mixed values (n, h, N, d) through W_o and head, with text: (n, Q, rows, columns)

    where, target = ready.where, ready.target  # the windows' places, (H0, W0)
    score_map = assemble(cosines, where, ready.size, target, segmenter.direct)  # 11: (Q, H0, W0), made by strips
    parts = blocks(score_map, ready, plan.map_steps)  # 11b: with PAMR and its like, where they are on
    rule = segmenter.rule(vocabulary)
    return decided(parts, ready, rule, plan.label_steps).labels  # 12: temperature, synonyms, threshold, argmax
