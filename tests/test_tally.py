"""Outcomes on their way through shards into the tables of a record."""

import csv
import io

import numpy as np
import pytest

from segloop.scoring import tally
from segloop.scoring.metrics import confusion, scores
from segloop.scoring.tally import Failed, Scored

NAMES = ["grass", "sand", "a, quoted name"]


def scored(name: str, seed: int, boundary: bool = False) -> Scored:
    rng = np.random.default_rng(seed)
    label, prediction = rng.integers(0, 3, (2, 4, 5))
    cells = confusion(prediction, label, 3)
    return Scored(name, (4, 5), cells, cells.counts() if boundary else None)


BAD = Failed("c", "photos/c.jpg", "photos/c.jpg is empty", "copy it again")


def same(first: tally.Outcome, second: tally.Outcome) -> bool:
    if isinstance(first, Failed) or isinstance(second, Failed):
        return first == second
    cells = [(one.confusion.label, one.confusion.prediction, one.confusion.pixels) for one in (first, second)]
    return (first.name, first.size) == (second.name, second.size) and all(map(np.array_equal, *cells))


@pytest.mark.parametrize("boundary", [False, True])
def test_a_shard_comes_back_as_it_was(boundary):
    outcomes = [scored("a", 1, boundary), BAD, scored("ä/b", 2, boundary)]
    back = tally.decode_shard(tally.encode_shard(outcomes, "s-0"), 3, "s-0")
    assert all(map(same, outcomes, back))
    assert all((one.boundary is not None) == boundary for one in back if isinstance(one, Scored))


def test_a_shard_of_failures_only():
    assert tally.decode_shard(tally.encode_shard([BAD, BAD], "s-0"), 3, "s-0") == [BAD, BAD]


def test_half_a_shard_is_none():
    data = tally.encode_shard([scored("a", 1), BAD], "s-0")
    assert all(tally.decode_shard(data[:cut], 3, "s-0") is None for cut in range(0, len(data), 7))
    assert tally.decode_shard(b"", 3, "s-0") is None


def test_the_same_outcomes_give_the_same_bytes():
    outcomes = [scored("a", 1), scored("b", 2)]
    assert tally.encode_shard(outcomes, "s-0") == tally.encode_shard(outcomes, "s-0")
    assert tally.counts_file(outcomes, 3) == tally.counts_file(outcomes, 3)


def test_counts_hold_areas_and_every_cell():
    outcomes = [scored("a", 1), scored("b", 2)]
    with np.load(io.BytesIO(tally.counts_file(outcomes, 3))) as kept:
        assert kept["images"].tolist() == ["a", "b"]
        assert kept["label"].shape == (2, 3)
        assert kept["label"].sum(1).tolist() == [20, 20]
        second = kept["pair_image"] == 1
        assert kept["pair_pixels"][second].sum() == 20
        on_diagonal = second & (kept["pair_label"] == kept["pair_prediction"])
        assert kept["pair_pixels"][on_diagonal].sum() == kept["intersection"][1].sum()


def test_scores_of_a_run_are_those_of_its_sum():
    outcomes = [scored("a", 1), scored("b", 2), scored("c", 3)]
    record, classes = tally.summary(outcomes, NAMES)
    expected = scores(tally.stacked(outcomes, 3).total())
    assert record["metrics"]["mIoU"] == pytest.approx(expected.mIoU)
    low, high = record["intervals"]["mIoU"]
    assert low <= record["metrics"]["mIoU"] <= high
    lines = list(csv.DictReader(io.StringIO(classes.decode())))
    assert [line["name"] for line in lines] == NAMES
    assert [float(line["IoU"]) for line in lines] == pytest.approx(expected.IoU.tolist(), abs=1e-6)


def test_a_run_without_any_image_has_no_scores():
    record, classes = tally.summary([], NAMES)
    assert record == {"metrics": {"aAcc": None, "mIoU": None, "mAcc": None}, "intervals": {}}
    assert classes.decode().splitlines()[1] == "0,grass,,,,,0,0,0,0"


def test_boundaries_have_a_score_of_their_own():
    record, _ = tally.summary([scored("a", 1, True), scored("b", 2, True)], NAMES)
    assert record["metrics"]["boundary_mIoU"] == pytest.approx(record["metrics"]["mIoU"])


def test_images_in_lines():
    lines = list(csv.DictReader(io.StringIO(tally.images_file([scored("a", 1)]).decode())))
    assert (lines[0]["image"], lines[0]["height"], lines[0]["width"], lines[0]["pixels"]) == ("a", "4", "5", "20")
    assert float(lines[0]["aAcc"]) == pytest.approx(100 * int(lines[0]["correct"]) / 20)
