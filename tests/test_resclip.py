"""ResCLIP: each step against its plain form, its stages against recorded ones, and what it stands on."""

from fractions import Fraction
from math import exp

import numpy as np
import pytest
import torch

from golden import MORE, cases
from models import folder, pixels, text_rows
from segloop import Segmenter, Vocabulary
from segloop.attention.operators import Softmax, Sum
from segloop.attention.resclip import (
    ResCLIP,
    Weighted,
    between,
    cross_correlated,
    drawn_together,
    in_sight,
    patch_labels,
    relation,
)
from segloop.attention.types import LastBlock
from segloop.errors import OptionError

GRID = (5, 7)
PLAIN = ResCLIP(walk="whole", sigma=1.5)


def some_labels(seed: int, kinds: int = 3) -> torch.Tensor:
    return torch.randint(0, kinds, (GRID[0] * GRID[1],), generator=torch.Generator().manual_seed(seed))


def rounded(value: Fraction) -> int:
    return round(value)  # half to even


def by_loops(labels: list[int], constants: ResCLIP) -> np.ndarray:
    """M as spec 2.9 writes it, pair by pair, in exact fractions up to the exponential."""
    places = [(row, column) for row in range(GRID[0]) for column in range(GRID[1])]
    farthest = max(GRID) - 1
    count = len(places)
    equal = np.zeros((count, count))
    for i, (row, column) in enumerate(places):
        for j, (to_row, to_column) in enumerate(places):
            if labels[i] != labels[j]:
                continue
            apart = max(abs(row - to_row), abs(column - to_column))
            ways = [Fraction(n, farthest) for n in range(apart + 1)]
            seen = [(rounded((1 - t) * row + t * to_row), rounded((1 - t) * column + t * to_column)) for t in ways]
            clear = all(labels[r * GRID[1] + c] == labels[i] for r, c in seen)
            equal[i, j] = 1 if clear or not constants.same_entity else exp(-apart / farthest)
    size = min(count, int(6 * constants.sigma + 1))
    size += size % 2 == 0
    kernel = np.array([exp(-(x**2) / (2 * constants.sigma**2)) for x in range(-(size // 2), size // 2 + 1)])
    smooth = np.array([np.convolve(row, kernel / kernel.sum(), mode="same") for row in equal])
    return smooth / (smooth.sum(1, keepdims=True) + 1e-8)


@pytest.mark.parametrize("same_entity", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_relations_are_those_of_the_loops(seed, same_entity):
    constants = ResCLIP(walk="whole", sigma=1.5, same_entity=same_entity)
    labels = some_labels(seed)
    found = relation(labels, GRID, constants)
    np.testing.assert_allclose(found.numpy(), by_loops(labels.tolist(), constants), rtol=0, atol=2e-7)


def test_sight_is_not_symmetric_and_ends_early():
    labels = torch.tensor([0, 1, 0, 0, 0, 0, 0])
    seen = in_sight(labels, (1, 7))
    assert not seen[0, 6] and seen[6, 2] and seen[6, 0] is not seen[0, 6] and seen[0, 0]
    assert seen[6, 3] and not seen[0, 3]  # seen from 6 the whole way, from 0 the patch of another label comes first


def test_between_is_the_release_but_for_a_few_places_in_a_thousand():
    differing = total = 0
    for steps in (6, 9, 27, 48):
        line = torch.linspace(0, 1, steps + 1)
        for step in range(1, steps + 1):
            place = torch.arange(steps + 1, dtype=torch.float32)
            expected = (place[:, None] * (1 - line[step]) + place * line[step]).round().long()
            assert between(steps + 1, step, steps, "float32").equal(expected)
            differing += int((between(steps + 1, step, steps, "whole") != expected).sum())
            total += expected.numel()
    assert 0 < differing <= total / 400


def test_the_most_frequent_label_and_the_smallest_on_ties():
    labels = torch.tensor([[3, 3, 2, 1, 9], [0, 1, 1, 2, 9], [5, 4, 0, 0, 9]])
    assert patch_labels(labels, (1, 2)).tolist() == [3, 0]
    assert patch_labels(labels[:2], (1, 2)).tolist() == [3, 1]
    assert patch_labels(torch.tensor([[2, 1], [1, 2]]), (1, 1)).tolist() == [1]


def dense(constants: ResCLIP, block: LastBlock, earlier: list[LastBlock], bias: torch.Tensor, m: torch.Tensor):
    """Step 5 with every matrix stored, for a host of two softmaxes."""

    def softmax(a, b, bias):
        s = block.scale * a @ b.mT
        m_hat = m[:, None] / m.amax((1, 2))[:, None, None, None]
        return (constants.sfr_tau * ((1 - constants.sfr_lambda) * s + constants.sfr_lambda * m_hat) + bias).softmax(-1)

    host = softmax(block.q, block.q, bias) + softmax(block.k, block.k, 0)
    rcs = torch.stack([(one.scale * one.q @ one.k.mT).softmax(-1) for one in earlier]).mean(0)
    return constants.rcs_tau * ((1 - constants.rcs_lambda) * host + constants.rcs_lambda * rcs)


def test_operators_are_the_stored_matrices():
    draw = torch.Generator().manual_seed(0)
    blocks = [
        LastBlock(*torch.randn(3, 2, 3, 35, 4, generator=draw, dtype=torch.float64), 0.5, GRID, has_class_token=False)
        for _ in range(4)
    ]
    block, earlier = blocks[0], blocks[1:]
    bias = torch.rand(35, 35, generator=draw, dtype=torch.float64)
    m = torch.stack([relation(some_labels(seed), GRID, PLAIN) for seed in range(2)]).double()
    host = Sum((Softmax(block.q, block.q, 0.5, bias), Softmax(block.k, block.k, 0.5)))
    mix = cross_correlated(drawn_together(host, m, PLAIN), earlier, PLAIN)
    expected = dense(PLAIN, block, earlier, bias, m)
    torch.testing.assert_close(mix(block.v), expected @ block.v, rtol=0, atol=1e-12)
    torch.testing.assert_close(mix.rows([3, 20]), expected[:, :, [3, 20]], rtol=0, atol=1e-12)
    assert isinstance(mix, Weighted) and mix.row_sum == pytest.approx(expected.sum(-1)[0, 0, 0].item())


@pytest.mark.skipif(not MORE.is_dir(), reason="reference cases are not beside the project")
def test_recorded_stages():
    (case,) = [one for one in cases("A_tensor") if str(one).endswith("stages") and "resclip" in str(one)]
    arrays, params = case.arrays, case.manifest["params"]
    own = {name: value for name, value in params.items() if name not in ("residual", "mlp")}
    constants = ResCLIP(**own).on(12, reference=True)
    labels = torch.from_numpy(arrays["patch_labels"]).long().flatten()
    found = relation(labels, (7, 10), constants).numpy()
    assert np.abs(found - arrays["M"][1:, 1:]).max() <= case.manifest["tolerance_stages"]["M"]
    clip = case.beside("models") / case.manifest["clip"]
    options = {"method": "resclip", "host": case.manifest["host"], "fidelity": "reference"}
    given, text = torch.from_numpy(arrays["pixels"]).float(), torch.from_numpy(arrays["text"])
    whole = Segmenter.from_pretrained(clip, **options, **params)
    rows = whole.network.opened(given, text).mix.rows(list(range(71)))[0].numpy()
    assert np.abs(rows - arrays["A"]).max() <= case.manifest["tolerance_stages"]["A"]
    host = Segmenter.from_pretrained(clip, **options, **{**params, "rcs": False, "sfr": False})
    difference = np.abs(host.logits(given, text).numpy() - arrays["host_logits"])
    assert difference.max() <= case.manifest["tolerance_stages"]["host_logits"]


@pytest.mark.parametrize("host", ["naclip", "clearclip", "sclip", "clip", "qq+kk+vv"])
def test_it_stands_on_hosts_of_softmaxes_and_feedback_on_it(host):
    window, text = pixels(2, 3, 64, 48), text_rows(3, 128)
    plain = Segmenter.from_pretrained("tiny", method=host, dtype="float32").logits(window, text)
    segmenter = Segmenter.from_pretrained("tiny", method="resclip", host=host, dtype="float32")
    found, fed = segmenter.logits(window, text), Segmenter.from_pretrained("tiny", host=f"resclip:{host}")
    assert found.isfinite().all() and not found.allclose(plain, atol=1e-4)
    assert fed.logits(window, text).isfinite().all()
    alone = torch.cat([segmenter.logits(one, text) for one in window.split(1)])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


def test_without_both_residuals_it_is_the_host():
    window, text = pixels(1, 3, 64, 48), text_rows(3, 128)
    off = Segmenter.from_pretrained("tiny", method="resclip", rcs=False, sfr=False, dtype="float32")
    host = Segmenter.from_pretrained("tiny", method="naclip", dtype="float32")
    assert off.logits(window, text).equal(host.logits(window, text))


def test_refinement_needs_a_softmax(tmp_path):
    guide = folder(tmp_path, "dino")
    for host in ("maskclip", "proxyclip"):
        options = {"vision": guide} if host == "proxyclip" else {}
        words = Vocabulary(["grass", "sand"], embeddings=text_rows(2, 128))
        photo = np.zeros((64, 80, 3), np.uint8)
        with pytest.raises(OptionError, match="sfr=false"):
            Segmenter.from_pretrained("tiny", method="resclip", host=host, **options)(photo, words)
        plain = Segmenter.from_pretrained("tiny", method="resclip", host=host, sfr=False, **options)
        assert plain(photo, words).labels.shape == (64, 80)


def test_sigma_and_scale_are_one_constant_with_those_of_others():
    plan = Segmenter.from_pretrained("tiny", method="resclip", sigma=2.0, logit_scale=30.0).plan
    assert (plan.attention.sigma, plan.stages[0].sigma) == (2.0, 2.0)
    assert (plan.deciding.logit_scale, plan.stages[0].logit_scale) == (30.0, 30.0)
    with pytest.raises(OptionError, match="resclip came twice"):
        Segmenter.from_pretrained("tiny", method="resclip", host="resclip")


def test_blocks_follow_the_depth_but_in_reference():
    assert ResCLIP().on(24).rcs_blocks == (12, 14, 16, 18)
    assert ResCLIP().on(24, reference=True).rcs_blocks == (6, 7, 8, 9)
    assert ResCLIP().on(12) == ResCLIP(walk="whole")
    with pytest.raises(OptionError, match="reads block 9"):
        ResCLIP().on(9, reference=True)
    assert ResCLIP(rcs=False).on(2, reference=True).walk == "float32"
    for wrong in ({"rcs_lambda": 1.5}, {"sigma": 0.0}, {"rcs_blocks": ()}, {"walk": "slow"}, {"sfr_tau": float("nan")}):
        with pytest.raises(OptionError):
            ResCLIP(**wrong)
