"""Mask voting: by hand, against a plain form, and the recorded cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import golden
from segloop.maps import vote as voting
from segloop.maps.decide import Block, Rule, decide
from segloop.maps.vote import vote

CASES = golden.cases("H_masks/mask_vote")


def plain(labels, regions, unsegmented):
    """Spec 5.5, region by region."""
    voted = labels.clone()
    for one in set(regions.flatten().tolist()):
        if one not in unsegmented:
            inside = regions == one
            voted[inside] = labels[inside].bincount().argmax()
    return voted


def test_by_hand():
    labels = torch.tensor([[2, 2, 1], [0, 3, 1], [0, 3, 0]])
    regions = torch.tensor([[1, 1, 1], [0, 5, 5], [0, 5, 5]])
    assert vote(labels, regions).tolist() == [[2, 2, 2], [0, 3, 3], [0, 3, 3]]  # 3, 1, 3, 0: 3
    labels[1, 1] = 1
    assert vote(labels, regions).tolist() == [[2, 2, 2], [0, 1, 1], [0, 1, 1]]
    labels[2, 1] = 0  # 1, 1, 0, 0: the smaller
    assert vote(labels, regions).tolist() == [[2, 2, 2], [0, 0, 0], [0, 0, 0]]


def test_what_is_no_region():
    labels = torch.tensor([[2, 2, 1, 0]])
    whole = torch.ones_like(labels)
    assert vote(labels, whole).tolist() == [[2, 2, 2, 2]]
    assert vote(labels, whole, reserve_zero=False).tolist() == labels.tolist()  # as published: the lowest id
    for nothing in (0, -1):
        assert vote(labels, torch.full_like(labels, nothing)).tolist() == labels.tolist()
    split = torch.tensor([[-1, 0, 0, 0]])  # as a panoptic result that begins at 0
    assert vote(labels, split).tolist() == labels.tolist()
    assert vote(labels, split, reserve_zero=False).tolist() == [[2, 0, 0, 0]]
    empty = labels[:, :0]
    assert vote(empty, empty).shape == (1, 0)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    most=st.sampled_from([1, 3, 40]),
    spread=st.sampled_from([1, 7, 2**40]),
    counters=st.sampled_from([1, 8, 2**24]),
    shift=st.integers(-2, 2),
)
def test_any_ids_and_any_blocks_of_them(seed, most, spread, counters, shift):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (6, 9), generator=generator)
    regions = torch.randint(0, most, (6, 9), generator=generator) * spread + shift
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voting, "COUNTERS", counters)
        reserved = {one for one in regions.flatten().tolist() if one <= 0}
        assert torch.equal(vote(labels, regions), plain(labels, regions, reserved))
        lowest = {int(regions.min())}
        assert torch.equal(vote(labels, regions, reserve_zero=False), plain(labels, regions, lowest))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_recorded(case):
    arrays, params = case.arrays, case.manifest["params"]
    cosines = torch.from_numpy(arrays["scores"]).float()
    index = torch.from_numpy(arrays["query_index"])
    threshold = params["background_threshold"] if params["background"] == 0 else None
    rule = Rule(index, case.manifest["classes"], params["logit_scale"], threshold)
    size = cosines.shape[1:]
    made = decide(lambda: [Block(slice(0, size[0]), slice(0, len(cosines)), cosines)], size, rule)
    labels = made.labels
    if params["background"]:  # what is below the threshold gets another class than the first
        labels = labels.masked_fill(made.confidence < params["background_threshold"], params["background"])
    before = torch.from_numpy(arrays["before"]).long()
    assert torch.equal(labels, before)
    regions = torch.from_numpy(arrays["masks"]).long()
    assert torch.equal(vote(before, regions, reserve_zero=False), torch.from_numpy(arrays["after"]).long())
