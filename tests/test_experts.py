"""FLOSS: templates ranked without labels, and maps of experts joined by votes, as in spec 2.14 and in the cases."""

import math

import numpy as np
import pytest
import torch

from golden import Case, cases
from segloop.maps.experts import Sureness, Voice, fuse, sureness
from textbook import best_vote, entropy_by_winner
from tolerances import U, summed

CASES = cases("G_text_experts")


def probabilities(*shape: int, seed: int = 0) -> torch.Tensor:
    return (4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).softmax(-len(shape) + 1)


def voices(maps: torch.Tensor) -> list[Voice]:
    """Maps of every query's expert, (Q, Q, ...), each with its own templates."""
    return [Voice(one, torch.arange(len(maps)) == number) for number, one in enumerate(maps)]


def maps_of_experts(queries: int, *shape: int) -> torch.Tensor:
    return torch.stack([probabilities(queries, *shape, seed=seed) for seed in range(queries + 1)])


def test_entropy_is_added_up_by_winner():
    scores = probabilities(5, 6, 7)
    total, count = sureness(scores)
    expected = entropy_by_winner(scores.double())
    assert count.tolist() == [len(one) for one in expected]
    # a pixel: five products and their sum; the logarithm of a rounded p is off by 1 / p of its rounding, times p again
    for have, want in zip(total.tolist(), expected, strict=True):
        assert have == pytest.approx(sum(want), abs=len(want) * (summed(5, 5) + 10 * U[torch.float32]))


def test_a_hand_computed_ranking():
    known = Sureness(
        torch.tensor([[2.0, 9.0], [1.0, 0.0], [4.0, 1.0], [0.5, 1.0]], dtype=torch.float64),
        torch.tensor([[2, 3], [4, 0], [4, 2], [2, 2]]),
    )
    assert known.entropy.tolist() == [[1.0, 3.0], [0.25, 0.0], [1.0, 0.5], [0.25, 0.5]]
    assert known.ranking() == [[1, 3, 0, 2], [2, 3, 0]]
    assert known.chosen(2) == [[1, 3], [2, 3]]
    assert (known + known).ranking() == known.ranking()


def test_a_class_that_no_template_finds_takes_them_all():
    assert Sureness.none(3, 2).chosen() == [[0, 1, 2], [0, 1, 2]]


def test_a_sure_pixel_has_no_entropy_and_an_even_one_the_most():
    sure, even = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.full((4,), 0.25)
    total, count = sureness(torch.stack([sure, even], 1))
    assert count.tolist() == [2, 0, 0, 0]
    assert total[0].item() == pytest.approx(math.log(4), abs=summed(4, 4))


@pytest.mark.parametrize("shape", [(9,), (3, 4), (1, 1)])
def test_the_surest_vote_gives_the_whole_pixel(shape):
    maps = maps_of_experts(5, *shape)
    assert torch.equal(fuse(iter(voices(maps[:-1])), maps[-1]), best_vote(maps))


def test_experts_with_the_same_templates_speak_with_one_voice():
    maps = maps_of_experts(4, 8, 8)
    maps[2] = maps[0]
    shared = Voice(maps[0], torch.tensor([True, False, True, False]))
    apart = [one for number, one in enumerate(voices(maps[:-1])) if number in (1, 3)]
    for order in ([shared, *apart], [*apart, shared]):
        assert torch.equal(fuse(order, maps[-1]), best_vote(maps))


def test_equal_votes_go_to_the_first_query_in_any_order():
    first, second = torch.tensor([[0.6], [0.4]]), torch.tensor([[0.4], [0.6]])
    said = voices(torch.stack([first, second]))
    for order in (said, said[::-1]):
        assert torch.equal(fuse(order, torch.tensor([[0.5], [0.5]])), first)


def test_where_nobody_votes_the_average_stays():
    maps = maps_of_experts(3, 4)
    silent = [Voice(one, torch.zeros(3, dtype=torch.bool)) for one in maps[:-1]]
    assert torch.equal(fuse(silent, maps[-1]), maps[-1])


def test_one_query():
    ones = torch.ones(1, 2, 3)
    assert torch.equal(fuse(voices(ones[None]), ones), ones)
    total, count = sureness(ones)
    assert count.tolist() == [6]
    assert total.item() == pytest.approx(0, abs=6e-10 + summed(6))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_recorded_choice(case: Case):
    arrays = {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    recorded = Sureness(arrays["entropy_sum"], arrays["entropy_count"])
    assert np.abs(recorded.entropy.numpy() - arrays["entropy"].numpy()).max() < U[torch.float64] * 100
    ranking = [[t for t in row if t >= 0] for row in arrays["ranking"].tolist()]
    assert recorded.ranking() == ranking
    chosen = [[t for t in row if t >= 0] for row in arrays["chosen"].tolist()]
    assert recorded.chosen(case.manifest["params"]["experts"]) == chosen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_recorded_votes(case: Case):
    arrays = case.arrays
    maps = torch.from_numpy(arrays["sub_probs"])
    fused = fuse(voices(maps[:-1]), maps[-1])
    assert np.abs(fused.numpy() - arrays["sub_fused"]).max() <= case.manifest["tolerance"]["sub_fused"]
