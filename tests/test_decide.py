"""Running decisions against the specification written down in five lines, and PAMR against its stacked form."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segloop.maps import decide as decide_module
from segloop.maps.decide import GROUP, MANY, Block, Rule, _largest, class_scores, decide
from segloop.maps.refine import PAMR
from tolerances import U

INDEX = torch.tensor([0, 0, 1, 2, 2, 3])
SOFTMAX = 32 * U[torch.float32]  # relative: twice 40 x 0.2 U of the exponent, six exponentials and their sum


def textbook(cosines, rule):
    """Spec 0.6, 5.1 and 5.2 on the whole map: (labels, probability of the label's class, margin of the decisions)."""
    u = (cosines * rule.logit_scale).softmax(0)
    u = torch.stack([u[rule.query_index == k].amax(0) for k in range(rule.classes)])
    kept = u.clone()
    if rule.area_threshold is not None:
        first = u.argmax(0)
        n = [(first == k).sum() for k in range(1, rule.classes)]
        for k, count in enumerate(n, start=1):
            if not count > rule.area_threshold * sum(n):
                kept[k] = 0
    labels, best = kept.argmax(0), kept.amax(0)
    leads = [first - second for first, second in (maps.topk(2, dim=0).values for maps in (u, kept))]
    if rule.background_threshold is not None:
        labels[best < rule.background_threshold] = 0
        leads.append((best - rule.background_threshold).abs())
    return labels, u.gather(0, labels[None])[0], min(lead.min() for lead in leads)


def by_rows(cosines, step):
    return lambda: (
        Block(slice(a, a + step), slice(0, len(cosines)), cosines[:, a : a + step])
        for a in range(0, cosines.shape[1], step)
    )


def by_queries(cosines, step):
    return lambda: (
        Block(slice(0, cosines.shape[1]), slice(a, a + step), cosines[a : a + step])
        for a in range(0, len(cosines), step)
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    threshold=st.sampled_from([None, 0.2, 0.4, 0.9]),
    area=st.sampled_from([None, 0.1, 0.3, 1.0]),
    step=st.integers(1, 7),
)
def test_blocks_decide_as_the_whole_map(seed, threshold, area, step):
    torch.manual_seed(seed)
    cosines = F.interpolate(torch.rand(1, 6, 3, 3) * 0.2, size=(7, 9), mode="bilinear")[0].double()
    rule = Rule(INDEX, 4, 40.0, threshold, area)
    labels, confidence, margin = textbook(cosines, rule)
    assume(margin > 2 * SOFTMAX)
    for blocks in (by_rows(cosines, step), by_queries(cosines, step)):
        decision = decide(blocks, (7, 9), rule)
        assert torch.equal(decision.labels, labels)
        torch.testing.assert_close(decision.confidence.double(), confidence, rtol=SOFTMAX, atol=0)


def test_thresholds_are_strict():
    cosines = torch.zeros(2, 1, 1)
    rule = Rule(torch.tensor([0, 1]), 2, background_threshold=0.5)
    assert decide(by_rows(cosines - torch.tensor([1e-3, 0]).view(2, 1, 1), 1), (1, 1), rule).labels.item() == 1
    rule = Rule(torch.tensor([0, 1]), 2, background_threshold=0.6)
    assert decide(by_rows(cosines - torch.tensor([1e-3, 0]).view(2, 1, 1), 1), (1, 1), rule).labels.item() == 0


def test_area_rule_counts_foreground_only():
    """Ten pixels: eight background, one each of classes 1 and 2. Each is half of the foreground, not a tenth."""
    labels = torch.tensor([0] * 8 + [1, 2])
    cosines = F.one_hot(labels, 3).T.reshape(3, 1, 10).float()
    kept = decide(by_rows(cosines, 1), (1, 10), Rule(torch.arange(3), 3, area_threshold=0.4))
    assert torch.equal(kept.labels[0], labels)
    dropped = decide(by_rows(cosines, 1), (1, 10), Rule(torch.arange(3), 3, area_threshold=0.5))
    assert dropped.labels.sum() == 0


def test_a_tie_goes_to_the_first_class():
    """Published coco-object lists hold "bed" as background and as a class."""
    cosines = torch.full((3, 2, 2), 0.3)
    assert decide(by_rows(cosines, 1), (2, 2), Rule(torch.tensor([0, 1, 2]), 3)).labels.sum() == 0
    assert decide(by_queries(cosines, 1), (2, 2), Rule(torch.tensor([0, 1, 2]), 3)).labels.sum() == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), queries=st.integers(1, 3 * MANY), levels=st.sampled_from([1, 2, 40]))
def test_of_many_classes_too_the_first_of_the_largest_wins(seed, queries, levels):
    cosines = torch.randint(levels, (queries, 3, 5), generator=torch.Generator().manual_seed(seed)) / levels
    cosines[queries // 2, 0, 0] = -torch.inf
    best, winner = _largest(cosines)
    place = torch.arange(queries)[:, None, None]
    assert torch.equal(best, cosines.amax(0))
    assert torch.equal(winner, torch.where(cosines == best, place, queries).amin(0))


@pytest.mark.parametrize("queries", [MANY - 1, MANY, MANY + 1, MANY + GROUP])
def test_a_single_largest_is_found_wherever_it_is(queries):
    best, winner = _largest(torch.eye(queries)[:, None])
    assert best.eq(1).all() and winner[0].tolist() == list(range(queries))


def test_large_scales_do_not_overflow():
    cosines = torch.tensor([1.0, -1.0, 0.999]).view(3, 1, 1)
    decision = decide(by_queries(cosines, 1), (1, 1), Rule(torch.arange(3), 3, logit_scale=1000.0))
    assert decision.labels.item() == 0
    exponent = 2000 * U[torch.float32]  # of a difference of two cosines, a thousand times
    torch.testing.assert_close(decision.confidence.item(), 1 / (1 + math.exp(-1)), rtol=exponent, atol=0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.sampled_from([1, 2, 6]),
    scale=st.sampled_from([10.0, 40.0, 65.0, 100.0]),
    threshold=st.sampled_from([None, 0.5]),
    step=st.integers(1, 5),
)
def test_no_confidence_is_above_1(seed, queries, scale, threshold, step):
    """The largest term of the softmax is 1, so that the sum below it is at least 1, whatever is rounded."""
    torch.manual_seed(seed)
    cosines = torch.rand(queries, 9, 11) * torch.linspace(1, 1e-6, queries).view(-1, 1, 1)
    rule = Rule(torch.arange(queries), queries, scale, threshold)
    for blocks in (by_rows(cosines, step), by_queries(cosines, step)):
        assert decide(blocks, (9, 11), rule).confidence.max() <= 1
    assert class_scores(cosines, rule).max() <= 1


def test_class_scores_take_the_best_synonym():
    torch.manual_seed(0)
    cosines = torch.rand(6, 2, 3)
    u = (cosines * 40).softmax(0)
    scores = class_scores(cosines, Rule(INDEX, 4))
    torch.testing.assert_close(scores[0], torch.maximum(u[0], u[1]))
    torch.testing.assert_close(scores[1], u[2])


def pamr(image, maps, steps, dilations):
    step = PAMR(steps, dilations)
    return torch.stack([step.ready(one)(own) for one, own in zip(image, maps, strict=True)])


def stacked_pamr(image, maps, steps, dilations):
    """Spec 5.3 with all neighbours stacked in one tensor."""

    def shifted(x, centre):
        reach = max(dilations)
        p = F.pad(x, (reach,) * 4, mode="replicate")
        h, w = x.shape[-2:]
        offsets = [(d * a, d * b) for d in dilations for a in (-1, 0, 1) for b in (-1, 0, 1) if centre or a or b]
        return torch.stack([p[..., reach + a : reach + a + h, reach + b : reach + b + w] for a, b in offsets], 2)

    unit = 1e-8 + 0.1 * shifted(image, True).std(2, keepdim=True)
    weights = (-(shifted(image, False) - image[:, :, None]).abs() / unit).mean(1).softmax(1)
    for _ in range(steps):
        maps = (shifted(maps, False) * weights[:, None]).sum(2)
    return maps


@pytest.mark.parametrize("dilations", [(1,), (2, 3), (8, 16)])
def test_pamr_equals_its_stacked_form(dilations):
    torch.manual_seed(0)
    image, maps = torch.randn(2, 3, 20, 24, dtype=torch.float64), torch.randn(2, 5, 20, 24, dtype=torch.float64)
    torch.testing.assert_close(pamr(image, maps, 3, dilations), stacked_pamr(image, maps, 3, dilations))


def test_pamr_on_a_flat_image_is_finite_and_keeps_constants():
    maps = torch.full((1, 2, 9, 9), 0.25)
    torch.testing.assert_close(pamr(torch.ones(1, 3, 9, 9), maps, 10, (1, 2)), maps)


def test_rows_with_all_queries_are_not_remembered(monkeypatch):
    """Of 48 megapixels, what pixels remember would be twice the labels; here it is that of one strip."""
    heights, fresh = [], decide_module._fresh
    monkeypatch.setattr(decide_module, "_fresh", lambda size, rule: heights.append(size[0]) or fresh(size, rule))
    cosines = torch.rand(6, 20, 9, generator=torch.Generator().manual_seed(0))
    rule = Rule(INDEX, 4, 40.0, 0.4, 0.3)
    strips = decide(by_rows(cosines, 5), (20, 9), rule)
    assert set(heights) == {5}
    whole = decide(by_queries(cosines, 4), (20, 9), rule)
    assert set(heights) == {5, 20} and torch.equal(strips.labels, whole.labels)
