"""FSA: feedback self-adaptive attention (ICCV 2025, arXiv 2508.20265; spec 3).

The host's output says how alike two patches are; that likeness becomes an attention of its own and is mixed with
the host's. Written as operators: with `old` the host and `new` the feedback,

    fsa(v) = (new(old(v)) + old(new(v)) + rho * new(v)) / 3

so that no N x N x Q tensor, no product of two attention matrices and no copy per head can exist. The feedback's own
matrix lives a block of rows at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.products import matmul
from ..common.records import require, require_finite
from ..errors import OptionError, nearest
from .pruning import precise, prune, settle_most
from .tracing import set_diagonal, traced
from .types import Mix

EPSILON = 1e-10  # inside the logarithm of step 4
BLOCK = {"cpu": 2**19}  # floats of one block of rows: on a CPU it stays in the cache
LARGE_BLOCK = 2**26  # floats, elsewhere
FAR = 1e30  # times a difference of similarities that float32 can tell: no weight is left
MOST_ROUNDS = 100  # no CLIP has more blocks either
LAMBDA_LIMIT = 80.0  # above it, s exp(lambda s) leaves float32
TERMS = ("new_old", "old_new", "new")

Readout = Callable[[Tensor], Tensor]
"""Mixed values (B, h, N, d) -> cosines with the text (B, N, Q): the host's own path."""


def class_distribution(
    attended: Tensor, uniform: Tensor | None, attention_scale: float, uniform_scale: float
) -> Tensor:
    """Steps 1 to 3: P = softmax over queries of attention_scale * cosines - uniform_scale * uniform cosines.

    (B, N, Q) and (B, N or 1, Q) or None (isolation off) -> (B, N, Q) float64; float32 where the device has no float64.
    """
    difference = precise(attended) * attention_scale
    if uniform is not None:
        difference.sub_(precise(uniform) * uniform_scale)
    return difference.softmax(-1)


def kl(p: Tensor, rows: slice) -> Tensor:
    """Step 4: K_ij = sum_c P_ic (log P_ic - log P_jc), as one matrix product. (B, N, Q) -> (B, r, N), not symmetric."""
    log_p = (p + EPSILON).log_()
    own = (p[:, rows] * log_p[:, rows]).sum(-1, keepdim=True)
    return torch.baddbmm(own, p[:, rows], log_p.mT, alpha=-1)


def symmetric(p: Tensor, rows: slice) -> Tensor:
    """The mean of KL(i, j) and KL(j, i): (B, N, Q) -> (B, r, N)."""
    log_p = (p + EPSILON).log_()
    own = (p * log_p).sum(-1)
    other = torch.baddbmm(own[:, None], log_p[:, rows], p.mT, alpha=-1)
    return (kl(p, rows) + other) / 2


def hellinger(p: Tensor, rows: slice) -> Tensor:
    """The squared Hellinger distance, 1 - sum_c sqrt(P_ic P_jc): (B, N, Q) -> (B, r, N)."""
    root = p.sqrt()
    return 1 - root[:, rows] @ root.mT


def jensen_shannon(p: Tensor, rows: slice) -> Tensor:
    """The mean divergence of i and j from their mixture: (B, N, Q) -> (B, r, N), query by query."""
    own = (p * (p + EPSILON).log()).sum(-1)
    total = (own[:, rows, None] + own[:, None]) / 2
    for query in range(p.shape[-1]):
        middle = (p[:, rows, None, query] + p[:, None, :, query]) / 2
        total -= middle * (middle + EPSILON).log()
    return total


DIVERGENCES: dict[str, Callable[[Tensor, slice], Tensor]] = {
    "kl": kl,
    "symmetric": symmetric,
    "hellinger": hellinger,
    "js": jensen_shannon,
}


def similarity(divergence: Tensor) -> Tensor:
    """Step 5: s = 1 / (1 + K), in (0, 1]. In place: K is not needed again, and fresh memory costs more than the sum."""
    return divergence.add_(1).reciprocal_()


def sharpen(s: Tensor, keep: Tensor, lambda_: float) -> Tensor:
    """Step 7: A+ = softmax over the kept entries of s exp(lambda s). (..., N) -> (..., N), rows sum to 1."""
    return _sharp(s, keep, lambda_).softmax(-1)


def _sharp(s: Tensor, keep: Tensor, lambda_: float) -> Tensor:
    return torch.where(keep, s * (s * lambda_).exp_(), s.new_tensor(-torch.inf))


def _similar(divergence: Tensor, dtype: torch.dtype) -> Tensor:
    """Similarity of a divergence that rounding may have taken below 0. In place where `dtype` is its own."""
    return similarity(divergence.to(dtype).clamp_min_(0))


@dataclass(frozen=True)
class Feedback:
    """A+ as an operator, shared by heads; made a block of rows at a time whenever it is applied."""

    p: Tensor  # (B, N, Q), step 3
    lambda_: float
    mass: float
    divergence: str = "kl"
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d)."""
        flat = values.transpose(1, 2).flatten(2)
        mixed = torch.empty_like(flat)
        for part, rows in self._blocks():
            weights = self.matrix(part, rows, torch.promote_types(flat.dtype, torch.float32))
            mixed[part, rows] = matmul(weights.to(flat.dtype), flat[part])
        return mixed.unflatten(-1, (values.shape[1], values.shape[3])).transpose(1, 2)

    def rows(self, index: Sequence[int]) -> Tensor:
        """(B, 1, len(index), N); each sums to 1."""
        everything = slice(0, len(self.p))
        found = [self.matrix(everything, slice(i, i + 1)) for i in index]
        return torch.cat(found, 1)[:, None]

    def matrix(self, part: slice, rows: slice, dtype: torch.dtype | None = None) -> Tensor:
        """Some samples and rows of A+: (b, r, N) in `dtype`, else that of p; pruned in float64. Steps 4 to 7."""
        divergence = self._divergence(part, rows)
        dtype = None if traced() else dtype  # what float32 is certain of depends on the numbers
        s = _similar(divergence, torch.promote_types(dtype or self.p.dtype, torch.float32))
        if s.dtype == divergence.dtype:
            return sharpen(s, prune(s, self.mass), self.lambda_)
        smallest, certain = settle_most(s, self.mass)
        pruned = (s.detach() - smallest).clamp_max_(0).mul_(FAR)
        sharp = torch.addcmul(pruned, s, (s * self.lambda_).exp_())  # a mask would take longer than the exponential
        if not certain.all():
            open_ = ~certain
            keep = prune(_similar(divergence[open_], divergence.dtype), self.mass)
            sharp[open_] = _sharp(s[open_], keep, self.lambda_)
        return sharp.softmax(-1)

    def similarity(self, part: slice, rows: slice) -> Tensor:
        """Some samples and rows of s: (b, r, N), in the precision of p. Steps 4 and 5."""
        return _similar(self._divergence(part, rows), self.p.dtype)

    def _divergence(self, part: slice, rows: slice) -> Tensor:
        """K as its sum comes out, at 0 on the diagonal; float64 where the device has it."""
        divergence = DIVERGENCES[self.divergence](precise(self.p[part]), rows)
        return set_diagonal(divergence, divergence.new_zeros(()), rows.start)

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """(samples, rows) of blocks of about BLOCK floats."""
        batch, count, _ = self.p.shape
        floats = BLOCK.get(self.p.device.type, LARGE_BLOCK)
        samples = min(batch, max(1, floats // count**2))
        step = min(count, max(1, floats // (samples * count)))
        for first in range(0, batch, samples):
            for start in range(0, count, step):
                yield slice(first, min(first + samples, batch)), slice(start, min(start + step, count))


@dataclass(frozen=True)
class Explanation:
    """What feedback did to some windows."""

    mixed: Tensor  # (B, h, N, d), the result
    new: Feedback  # A+ of the last round, an operator between patches
    heard: tuple[Tensor, ...]  # cosines (B, P, Q) that each round began with; the first are the host's
    uniform: Tensor | None  # (B, P or 1, Q), step 2; None without isolation


@dataclass(frozen=True)
class FSA:
    """The constants of FSA, and FSA itself: `FSA(...)(mix, values, readout)` (spec 3.1).

    Defaults are the published ones; the options after `third_term` are questions that the paper leaves open.
    """

    lambda_: float = 3.0  # sharpening; published 3.0, 2.3 on ViT-H/14, 4.5 with MAE
    mass: float = 0.45  # of the softmax of similarities that pruning keeps
    attention_scale: float = 20.0  # of the attention branch's cosines
    uniform_scale: float = 35.0  # of the uniform branch's cosines
    third_term: float | None = None  # rho; None: the row sum of the host's attention
    rounds: int = 1  # the refined output is read out and fed back again
    divergence: str = "kl"  # of DIVERGENCES
    isolation: bool = True  # subtract the uniform branch
    terms: tuple[str, ...] = TERMS  # of the ensemble, averaged
    feedback_layers: int = 1  # final blocks that listen; those before the last keep their own attention

    def __post_init__(self) -> None:
        require_finite(self)
        if self.divergence not in DIVERGENCES:
            raise OptionError(f"unknown divergence {self.divergence!r}", nearest(self.divergence, DIVERGENCES))
        unknown = [term for term in self.terms if term not in TERMS]
        if unknown or not self.terms:
            raise OptionError(f"terms {self.terms}", f"choose one or more of {', '.join(TERMS)}")
        if not 0 <= self.lambda_ <= LAMBDA_LIMIT:
            raise OptionError(f"lambda_={self.lambda_} is not possible", f"it must be between 0 and {LAMBDA_LIMIT:.0f}")
        if not 0 < self.mass <= 1:
            raise OptionError(f"mass={self.mass} is not possible", "it must be above 0 and at most 1")
        for name in ("rounds", "feedback_layers"):
            require(1 <= getattr(self, name) <= MOST_ROUNDS, name, getattr(self, name), f"1 to {MOST_ROUNDS}")

    def __call__(self, mix: Mix, values: Tensor, readout: Readout, *, class_token: bool = False) -> Tensor:
        """Feed the host's output back into its attention: values (B, h, N, d) -> mixed values (B, h, N, d).

        `mix` is the host's attention, `readout` its path from mixed values to cosines (B, N, Q). With `class_token`,
        token 0 of values is the class token: the host attends to it, readout and feedback see patches only.
        """
        return self.explain(mix, values, readout, class_token=class_token).mixed

    def explain(self, mix: Mix, values: Tensor, readout: Readout, *, class_token: bool = False) -> Explanation:
        """The same, with what it went through: for pictures, tests and your own analysis."""
        first = 1 if class_token else 0
        attended = mix(values)
        uniform = self._uniform(values, readout, first) if self.isolation else None
        mixed, heard = attended, []
        for _ in range(self.rounds):
            heard.append(readout(mixed[:, :, first:]))
            p = class_distribution(heard[-1], uniform, self.attention_scale, self.uniform_scale)
            new = Feedback(p, self.lambda_, self.mass, self.divergence)
            mixed = self._ensemble(new, mix, values, attended, first)
        return Explanation(mixed, new, tuple(heard), uniform)

    def _uniform(self, values: Tensor, readout: Readout, first: int) -> Tensor:
        """Step 2: cosines of uniform attention; one row where the readout does not look at positions."""
        mean = values.mean(2, keepdim=True)
        if getattr(readout, "positional", True):
            mean = mean.expand(-1, -1, values.shape[2] - first, -1)
        return readout(mean)

    def _ensemble(self, new: Feedback, mix: Mix, values: Tensor, attended: Tensor, first: int) -> Tensor:
        """Step 8 and A* V, by associativity: (A+ Z + A Y + rho Y) / 3 with Z = A V and Y = A+ V."""
        together = new(torch.cat([attended, values], -1)[:, :, first:])
        new_old, fed = together.chunk(2, -1)
        if first:  # the extended A+ leaves the class token as it is (spec 3.6)
            new_old, fed = (torch.cat([t[:, :, :1], part], 2) for t, part in ((attended, new_old), (values, fed)))
        parts = []
        if "new_old" in self.terms:
            parts.append(new_old)
        if "old_new" in self.terms:
            parts.append(mix(fed))
        if "new" in self.terms:
            parts.append(self._rho(mix, values) * fed)
        return sum(parts[1:], parts[0]) / len(parts)

    def _rho(self, mix: Mix, values: Tensor) -> Tensor | float:
        if self.third_term is not None:
            return self.third_term
        known = getattr(mix, "row_sum", None)
        return mix(torch.ones_like(values)) if known is None else known
