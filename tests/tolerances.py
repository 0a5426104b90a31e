"""How far apart two right answers may lie: a test names one of these, or derives its own from U where it stands.

Whatever the processor, its kernels, threads and blocks: an operation on floats is right up to a factor 1 +- U, and a
sum of n products up to n U sum |x y|, in any order (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
Where roundings fall by chance sqrt(n) takes the place of n (Higham and Mary 2019, SIAM J. Sci. Comput. 41).

`assert_close` without a tolerance allows 1e-7 of a float64, 2^29 U, and 1e-5 + 1.3e-6 |x| of a float32, 168 U + 22 U
|x|: what stands there are numbers of size 1 after fewer operations than that.
"""

import torch
from torch import Tensor

U = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Unit roundoff: half the distance from 1 to the next number."""

EXACT = 1e4 * U[torch.float64]  # 1.1e-12: numbers of size 1 in float64 after ten thousand operations
FED = 100 * EXACT  # s exp(3 s), which feedback takes of s, makes an error of s up to (1 + 3) e^3 = 80 times as large


def summed(terms: int, size: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """A sum of `terms` products whose magnitudes add up to `size` is as good as that, in any order."""
    return terms * U[dtype] * size


def network(products: int, width: int) -> float:
    """Relative, in float32: so many products of matrices in a row, sums of at most `width` terms each.

    Errors of the products are added up as if all had one sign, which leaves room for those of both sides.
    """
    return products * width**0.5 * U[torch.float32]


NETWORK = network(21, 128)  # 1.4e-5: six products in each of a reduced network's three blocks, the way in and out


FLIPPED = 0.15  # of the cosines, at most (spec 3.4)


def flips(patches: int) -> float:
    """What cosines of such a window may move by where a hard mask decides otherwise (spec 3.4).

    Two similarities are cut, at 0 in ProxyCLIP and at 0.45 of the mass in feedback; one within rounding of the cut may
    change sides. The reference cases, of 196 patches and more, allow 2e-3. One entry's weight goes with 1 / patches.
    """
    return 2e-3 * 196 / patches


def close_but_for_flips(found: Tensor, expected: Tensor, patches: int) -> None:
    """Cosines as equal as networks make them, but for what single entries of hard masks move (spec 3.4)."""
    difference = (found.double() - expected.double()).abs()
    assert difference.max() <= NETWORK + flips(patches)
    assert (difference > NETWORK).double().mean() <= FLIPPED
