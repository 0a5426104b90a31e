"""Words that are nowhere in a photo: taken out, and the map decided again without them."""

import numpy as np
import pytest
import torch

from segloop import Segmenter, Vocabulary
from segloop.errors import OptionError
from segloop.maps.decide import Rule, decide
from segloop.maps.presence import Presence
from segloop.maps.settled import Settled
from test_decide import INDEX, by_queries, by_rows

RULE = Rule(INDEX, 4, logit_scale=20.0)


def maps(seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(6, 8, 9, generator=torch.Generator().manual_seed(seed))


def done(cosines, rule, parts, **constants):
    decision = decide(parts, (8, 9), rule)
    return decision, Presence(**constants)(Settled(decision, parts, rule))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cut", [by_rows, by_queries])
def test_it_decides_as_if_absent_words_had_never_been_asked_for(seed, cut):
    cosines = maps(seed)
    cosines[3:5] -= 0.15  # class 2 wins little
    parts = cut(cosines, 2)
    first, found = done(cosines, RULE, parts, presence_threshold=0.9)
    there = [c for c in range(4) if (first.labels == c).any() and first.confidence[first.labels == c].max() >= 0.9]
    kept = torch.tensor([int(owner) in there for owner in INDEX])
    alone = decide(by_rows(cosines[kept], 3), (8, 9), Rule(INDEX[kept], 4, 20.0))
    assert found.labels.equal(alone.labels) and set(found.labels.unique().tolist()) <= set(there)
    torch.testing.assert_close(found.confidence, alone.confidence, rtol=1e-5, atol=0)


def test_a_background_stays_and_so_does_all_where_nothing_is_sure():
    cosines = maps() / 100
    first, found = done(cosines, RULE, by_rows(cosines, 2), presence_threshold=0.99)
    assert found is first
    cosines = maps(1)
    cosines[:2] -= 1
    rule = Rule(INDEX, 4, 20.0, background_threshold=0.6)
    _, found = done(cosines, rule, by_rows(cosines, 2), presence_threshold=0.95)
    assert (found.labels == 0).any()


def test_rounds_end_where_nothing_is_absent_any_more():
    cosines = maps(3)
    _, once = done(cosines, RULE, by_rows(cosines, 2), presence_threshold=0.5, presence_rounds=1)
    _, often = done(cosines, RULE, by_rows(cosines, 2), presence_threshold=0.5, presence_rounds=50)
    _, more = done(cosines, RULE, by_rows(cosines, 2), presence_threshold=0.5, presence_rounds=100)
    assert often.labels.equal(more.labels) and once.labels.shape == often.labels.shape


def test_it_is_a_setting_of_every_method():
    photo, words = np.zeros((64, 80, 3), np.uint8), Vocabulary(["grass", "sand", "water"], templates="plain")
    photo[:, 40:] = 40, 160, 60
    result = Segmenter.from_pretrained("tiny", method="sclip", presence_threshold=0.3)(photo, words)
    assert result.settings["presence_threshold"] == 0.3
    assert "presence_threshold" not in Segmenter.from_pretrained("tiny", method="sclip")(photo, words).settings
    for wrong in ({"presence_threshold": 0.0}, {"presence_threshold": 1.2}, {"presence_rounds": 0}):
        with pytest.raises(OptionError):
            Presence(**wrong)


def test_thresholds_are_not_tuned_behind_it(evaluate, segloop, tmp_path):
    run = evaluate("--scores", "--out", tmp_path / "run", "--set", "presence_threshold=0.4")
    assert run.exit_code == 0
    told = segloop("tune", tmp_path / "run")
    assert told.exit_code == 2 and "changes labels behind the threshold (presence)" in told.stderr
