"""Rows given instead of text: checked, copied, each with its class."""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import VocabularyError
from .voting import ExpertRows, Text

UNIT_TOLERANCE = 1e-3  # half precision rounds a unit row by less


def given_rows(
    embeddings: Text, query_index: Sequence[int] | Tensor | None, classes: list[str]
) -> tuple[Text, tuple[int, ...]]:
    """Rows (Q, E), or of every query's expert and then of the average (Q+1, Q, E) -> float32 rows, the class of each.

    Raises VocabularyError.
    """
    if isinstance(embeddings, ExpertRows):
        return embeddings, _index(query_index, len(embeddings.mean), classes)
    try:
        rows = torch.as_tensor(embeddings).detach().to(torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"embeddings came as {type(embeddings).__name__}, not as numbers"
        raise VocabularyError(what, "give a tensor (Q, E)") from error
    by_experts = rows.ndim == 3 and len(rows) == rows.shape[1] + 1
    if rows.ndim != 2 and not by_experts:
        remedy = "give one row a query, (Q, E), or those of experts and the average last, (Q+1, Q, E)"
        raise VocabularyError(f"embeddings came with shape {tuple(rows.shape)}", remedy)
    index = _index(query_index, rows.shape[-2], classes)
    if not rows.isfinite().all():
        raise VocabularyError("embeddings hold numbers that are not finite", "encode the text again in float32")
    length = rows.norm(dim=-1).flatten()
    far = (length - 1).abs() > UNIT_TOLERANCE
    if far.any():
        worst = int(far.nonzero()[0])
        what = f"row {worst} of the embeddings has length {length[worst]:.4g}, not 1"
        raise VocabularyError(what, "normalise: torch.nn.functional.normalize(embeddings, dim=-1)")
    if by_experts:
        return ExpertRows(rows[-1], rows[:-1], tuple((number,) for number in range(rows.shape[1]))), index
    return rows, index


def _index(query_index: Sequence[int] | Tensor | None, rows: int, classes: list[str]) -> tuple[int, ...]:
    try:
        index = tuple(map(operator.index, range(len(classes)) if query_index is None else query_index))
    except TypeError as error:
        raise VocabularyError("query_index is not a list of whole numbers", "give the class of each row") from error
    if len(index) != rows:
        what = f"{rows} rows of embeddings came for {len(index)} {'classes' if query_index is None else 'places'}"
        raise VocabularyError(what, "give query_index, the class of each row")
    for owner in index:
        if not 0 <= owner < len(classes):
            what = f"query_index holds {owner}, and there are {len(classes)} classes"
            raise VocabularyError(what, f"count classes from 0 to {len(classes) - 1}")
    empty = sorted(set(range(len(classes))) - set(index))
    if empty:
        raise VocabularyError(f"class {classes[empty[0]]!r} has no row", "give each class at least one row")
    return index
