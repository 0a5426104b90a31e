"""FLOSS: templates ranked without labels, and maps of experts joined by votes, as in spec 2.14 and in the cases."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import complaint, done, record
from golden import MORE, ROOT, Case, cases
from segloop import Segmenter, Vocabulary
from segloop.attention.types import Needs
from segloop.errors import Notice, OptionError, VocabularyError
from segloop.line import voting
from segloop.line.ranking import rank_templates, sureness_of
from segloop.line.stages import open_last
from segloop.line.steps import Photo
from segloop.line.straight import straight_line
from segloop.line.voting import features
from segloop.maps import vote
from segloop.maps.decide import Block, Rule, decide
from segloop.maps.experts import Sureness, Voice, fuse, sureness
from segloop.maps.windows import assemble, cut, layout
from segloop.words.experts import Experts, read_experts
from segloop.words.voting import ExpertRows
from textbook import best_vote, entropy_by_winner
from tolerances import U, summed

CASES = cases("G_text_experts")


def probabilities(*shape: int, seed: int = 0) -> torch.Tensor:
    return (4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).softmax(0)


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


# --- recorded cases, through the line


def opened(case: Case) -> tuple[Segmenter, Photo, dict[str, np.ndarray]]:
    """NACLIP as the case has it, and its pixels as a photo on its way."""
    manifest, arrays = case.manifest, case.arrays
    params = {name: manifest["params"][name] for name in ("logit_scale", "crop", "stride")}
    places = [root / "A_tensor/models" / manifest["clip"] for root in (MORE, ROOT)]
    model = next(place for place in places if place.is_dir())
    found = Segmenter.from_pretrained(model, method="naclip", fidelity="reference", **params)
    pixels = torch.from_numpy(arrays["pixels"][0]).float()
    size = tuple(manifest["size"])
    where = layout(size, params["crop"], params["stride"], found.clip.patch if params["crop"] else 1)
    image = np.zeros((*manifest["out_size"], 3), np.uint8)
    return found, Photo(image, None, size, where, pixels, cut(pixels, where)), arrays


def words_of(case: Case, rows: np.ndarray) -> Vocabulary:
    names = [f"c{number}" for number in range(case.manifest["classes"])]
    index = torch.from_numpy(case.arrays["query_index"])
    return Vocabulary(names, embeddings=torch.from_numpy(rows), query_index=index)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_recorded_ranking(case: Case):
    segmenter, photo, arrays = opened(case)
    table, tolerance = torch.from_numpy(arrays["template_text"]), case.manifest["tolerance"]
    rule = segmenter.rule(words_of(case, arrays["expert_text"][-1]))
    (seen,) = segmenter.tiles([photo], table[0], features)
    known = sureness_of(segmenter, photo, seen, table, rule)
    assert np.abs(known.count.numpy() - arrays["entropy_count"]).max() <= tolerance["count"]
    assert np.abs(known.entropy.numpy() - arrays["entropy"]).max() <= tolerance["entropy"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_recorded_maps(case: Case):
    segmenter, photo, arrays = opened(case)
    vocabulary, tolerance = words_of(case, arrays["expert_text"]), case.manifest["tolerance"]
    assert vocabulary.votes
    (tiles,) = segmenter.tiles([photo], segmenter.text(vocabulary))
    queries = case.manifest["queries"]
    fused = assemble(tiles, photo.where, photo.size, photo.size).queries(slice(0, queries))[:, ::4, ::4]
    difference = np.abs(fused.numpy() - arrays["fused"])
    assert (difference > tolerance["fused_max_abs"]).mean() <= tolerance["fused_may_exceed_fraction"]
    rule = segmenter.rule(vocabulary)
    decision = segmenter.decided(photo, segmenter.parts(photo, tiles, rule.query_index), rule)
    assert (decision.labels.numpy() == arrays["labels"]).mean() >= tolerance["label_agreement"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_recorded_rows_from_templates(case: Case):
    arrays = {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    owner = arrays["query_index"].tolist()
    chosen = [[number for number in arrays["chosen"][one].tolist() if number >= 0] for one in owner]
    text = ExpertRows.of(arrays["expert_text"][-1], arrays["template_text"], chosen)
    assert len(text.panels) <= len(chosen)
    for panel in text.panels:
        for query in panel.experts.nonzero()[:, 0].tolist():
            torch.testing.assert_close(text.rows(panel), arrays["expert_text"][query])


# --- on the command line and from Python

THREE = ("a photo of a {}.", "{}", "a drawing of a {} .", "there is a {} in the scene.")
SMALL = ("--method", "naclip", "--set", "short_side=64", "--set", "crop=64", "--set", "stride=64")
WORDS = ("--classes", "road, car|automobile, sky")
CLASSES = ["road", "car|automobile", "sky"]
GEOMETRY = {"short_side": 64, "crop": 64, "stride": 64}


@pytest.fixture
def lines(tmp_path) -> Path:
    (tmp_path / "lines.txt").write_text("\n".join(THREE))
    return tmp_path / "lines.txt"


@pytest.fixture
def ranked(segloop, toy_clip, photos, lines, tmp_path) -> Path:
    """A file of experts, made on two photos."""
    done(segloop("experts", photos, *WORDS, "--clip", toy_clip, *SMALL, "--templates", lines, "--count", 2))
    return tmp_path / "experts.json"


def test_the_file_of_experts(ranked, segloop, toy_clip, photos, lines):
    said = json.loads(ranked.read_text())
    assert said["templates"] == list(THREE) and said["photos"] == 2
    assert said["words"] == {"road": ["road"], "car": ["car", "automobile"], "sky": ["sky"]}
    assert sum(map(sum, zip(*said["share"].values(), strict=True))) == pytest.approx(len(THREE), abs=1e-5)
    for name, chosen in said["experts"].items():
        won = [number for number, share in enumerate(said["share"][name]) if share] or list(range(len(THREE)))
        assert chosen == sorted(won, key=lambda number: said["entropy"][name][number])[: 2 if any(won) else None]
    before = ranked.read_bytes()
    again = segloop("experts", photos, *WORDS, "--clip", toy_clip, *SMALL, "--templates", lines, "--count", 2, "--json")
    assert json.loads(again.stdout)["experts"] == said["experts"]
    assert ranked.read_bytes() == before


def test_maps_by_experts(ranked, segloop, toy_clip, street, tmp_path):
    done(segloop("segment", street, *WORDS, "--clip", toy_clip, *SMALL, "--templates", ranked))
    settings = record(tmp_path / "segloop-out/street")["settings"]
    assert settings["experts"] == read_experts(ranked).digest
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    vocabulary = Vocabulary(CLASSES, templates=str(ranked))
    result = segmenter(street, vocabulary, scores=True)
    with Image.open(tmp_path / "segloop-out/street.png") as written:
        assert np.array_equal(np.array(written), result.labels)
    pooled = result.scores.max(0)
    assert np.allclose(result.confidence_map, pooled, atol=1e-6)  # a probability, by two ways of one softmax
    assert result.scores.sum(0).max() <= 1 + 1e-5


def test_every_template_for_every_class_is_the_average(toy_clip, street):
    every = tuple(range(len(THREE)))
    experts = Experts(THREE, dict.fromkeys(("road", "car", "sky"), every))
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    texts = [segmenter.text(Vocabulary(CLASSES, templates=one)) for one in (experts, THREE)]
    assert len(texts[0].panels) == 1
    (voted,), (cosines,) = (segmenter.tiles([segmenter.prepare(street)], text) for text in texts)
    scale = segmenter.plan.deciding.logit_scale
    torch.testing.assert_close(voted, (scale * cosines).softmax(1), atol=50 * scale * U[torch.float32], rtol=0)


def test_feedback_reads_all_templates_and_experts_the_map(toy_clip, ranked, street):
    """Feedback is of the image side: it is the same with experts, and they read what it has mixed."""
    segmenter = Segmenter.from_pretrained(toy_clip, host="naclip", **GEOMETRY)
    text, ready = segmenter.text(Vocabulary(CLASSES, templates=str(ranked))), segmenter.prepare(street)
    network = segmenter.network
    (tiles,) = segmenter.tiles([ready], text)
    fed = open_last(*network.encoded(ready.windows, text.mean))
    for stage in network.stages:
        fed = stage(fed)
    assert fed.mixed is not None
    of_query = {query: text.rows(one) for one in text.panels for query in one.experts.nonzero()[:, 0].tolist()}
    rows = torch.cat([*(of_query[query] for query in range(len(text.mean))), text.mean])
    cosines = replace(fed, batch=replace(fed.batch, text=rows)).cosines().unflatten(1, (-1, len(text.mean)))
    scale = segmenter.plan.deciding.logit_scale
    for tile, window in zip(tiles, cosines, strict=True):
        expected = best_vote((scale * window).softmax(1))
        torch.testing.assert_close(tile, expected, atol=100 * scale * U[torch.float32], rtol=0)


def test_photos_in_parts_are_the_same(toy_clip, ranked, street, monkeypatch):
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    words = Vocabulary(CLASSES, templates=str(ranked))
    text, ready = segmenter.text(words), segmenter.prepare(street)
    (whole,) = segmenter.tiles([ready], text)
    monkeypatch.setattr(voting, "BYTES", 1)
    (parts,) = segmenter.tiles([ready], text)
    torch.testing.assert_close(parts, whole)


def test_the_pixels_of_reference_and_the_patches_of_default(toy_clip, ranked, street):
    words = Vocabulary(CLASSES, templates=str(ranked))
    shapes = {}
    for fidelity in ("default", "reference"):
        segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", fidelity=fidelity, **GEOMETRY)
        (tiles,) = segmenter.tiles([segmenter.prepare(street)], segmenter.text(words))
        shapes[fidelity] = tiles.shape[-2:]
        assert torch.allclose(tiles.sum(1), torch.ones(()), atol=1e-5)
        assert segmenter(street, words).labels.shape == (96, 128)
    assert shapes == {"default": (8, 8), "reference": (64, 64)}


def test_a_threshold_is_one_of_probabilities(toy_clip, ranked, street):
    words = Vocabulary(CLASSES, background=0, templates=str(ranked))
    plain, thresholded = (
        Segmenter.from_pretrained(toy_clip, method="naclip", background_threshold=threshold, **GEOMETRY)(street, words)
        for threshold in (None, 0.8)
    )
    unsure = plain.confidence_map < 0.8
    assert 0 < unsure.mean() < 1
    assert np.array_equal(thresholded.labels, np.where(unsure, 0, plain.labels))


def test_regions_are_as_sure_as_the_experts():
    """What a vote of masks says of its labels is the probability itself, not a softmax of it."""
    maps = probabilities(3, 4, 5)
    rule = Rule(torch.arange(3), 3, probabilities=True)
    parts = lambda: [Block(slice(0, 4), slice(0, 3), maps)]  # noqa: E731
    decision = decide(parts, (4, 5), rule)
    torch.testing.assert_close(decision.confidence, maps.max(0).values)
    torch.testing.assert_close(vote.sureness(decision.labels, parts, rule), maps.max(0).values)


def test_evaluations_and_what_they_keep(ranked, evaluate, segloop, drawn, toy_clip, lines, tmp_path):
    words = (drawn / "classes.txt").read_text().splitlines()
    (tmp_path / "list.txt").write_text("\n".join(words))
    photos = ("experts", drawn / "images", "--classes-file", tmp_path / "list.txt", "--clip", toy_clip, *SMALL)
    done(segloop(*photos, "--templates", lines, "--out", "drawn.json"))
    run = ("--method", "naclip", *SMALL[2:], "--templates", tmp_path / "drawn.json", "--limit", 2, "--scores")
    assert evaluate("--out", "run", *run).exit_code == 0
    first = json.loads((tmp_path / "run/run.json").read_text())
    assert first["settings"]["experts"] == read_experts(tmp_path / "drawn.json").digest
    assert segloop("evaluate", "--from-scores", "run", "--out", "anew").exit_code == 0
    anew = json.loads((tmp_path / "anew/run.json").read_text())
    assert anew["metrics"] == first["metrics"]
    told = complaint(segloop("evaluate", "--from-scores", "run", "--set", "logit_scale=30", "--out", "other"))
    assert "'logit_scale' shapes the probabilities that experts have voted for" in told


# --- what is refused, and what is said


def test_lists_that_were_not_ranked(ranked, segloop, toy_clip, street):
    told = complaint(segloop("segment", street, "--classes", "road, tree", "--clip", toy_clip, "--templates", ranked))
    assert "names no templates of 'tree'; run `segloop experts` again with this list" in told
    with pytest.warns(Notice, match=r"ranked with other words for 'car': run `segloop experts` again"):
        Vocabulary(["road", "car"], templates=str(ranked))


def test_another_model_is_told(ranked, toy_clip, street):
    of_another = replace(read_experts(ranked), text_tower="another")
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    with pytest.warns(Notice, match="ranked for the words of another model"):
        segmenter.text(Vocabulary(CLASSES, templates=of_another))


NO_FILES = {
    "nothing": "",
    "another": '{"classes": ["road"]}',
    "a number too large": '{"templates": ["{}"], "experts": {"road": [1]}}',
    "no number": '{"templates": ["{}"], "experts": {"road": ["0"]}}',
    "no experts of a class": '{"templates": ["{}"], "experts": {"road": []}}',
    "a list": "[1, 2]",
    "words that are none": '{"templates": ["{}"], "experts": {"road": [0]}, "words": {"road": [3]}}',
}


@pytest.mark.parametrize("case", NO_FILES)
def test_files_that_name_no_experts(case, tmp_path):
    (tmp_path / "experts.json").write_text(NO_FILES[case])
    with pytest.raises(VocabularyError, match=r"names no experts; give one that `segloop experts` wrote"):
        Vocabulary(["road"], templates=str(tmp_path / "experts.json"))
    with pytest.raises(VocabularyError, match="cannot be read"):
        Vocabulary(["road"], templates=str(tmp_path / "missing.json"))


def test_rankings_of_nothing(ranked, segloop, toy_clip, street, tmp_path):
    ask = ("experts", street, *WORDS, "--clip", toy_clip, *SMALL)
    for templates in ("single", ranked):
        assert "nothing to rank" in complaint(segloop(*ask, "--templates", templates))
    (tmp_path / "mine.json").write_text('{"my": "file"}')
    assert "is not what segloop wrote" in complaint(segloop(*ask, "--out", "mine.json"))


def test_photos_that_cannot_be_read(segloop, toy_clip, street, lines, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    ask = ("--clip", toy_clip, *SMALL, "--templates", lines, *WORDS)
    some = segloop("experts", street, tmp_path / "bad.jpg", *ask)
    assert some.exit_code == 3 and "1 of 2 photos were ranked on" in some.stderr
    assert json.loads((tmp_path / "experts.json").read_text())["photos"] == 1
    none = segloop("experts", tmp_path / "bad.jpg", *ask, "--out", "none.json")
    assert none.exit_code == 2 and not (tmp_path / "none.json").exists()


@dataclass(frozen=True)
class Squared:
    """A stage whose scores are no cosines."""

    def needs(self, depth):
        return Needs()

    def __call__(self, opened):
        def read(one):
            plain = replace(one, read=None).readout
            return lambda mixed: plain(mixed) ** 2

        return replace(opened, read=read)


@dataclass(frozen=True)
class Joined:
    """A method over the whole photo that ends in scores."""

    makes_one_map = False

    def needs(self, depth):
        return Needs()

    def hand(self, opened):
        return opened.cosines()

    def join(self, whole):
        return whole.handed


@pytest.mark.parametrize(("stage", "words"), [(Squared(), "no cosines"), (Joined(), "scores of its own")])
def test_methods_whose_scores_are_no_cosines(toy_clip, ranked, street, stage, words):
    plain = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    other = replace(plain, network=replace(plain.network, plan=replace(plain.plan, stages=(stage,))))
    with pytest.raises(OptionError, match=rf"experts came with method naclip, .*{words}"):
        other(street, Vocabulary(CLASSES, templates=str(ranked)))
    with pytest.raises(OptionError, match=words):
        rank_templates(other, [street], Vocabulary(CLASSES, templates=THREE))
    assert other(street, Vocabulary(CLASSES, templates=THREE)).labels.shape == (96, 128)


def test_who_reads_one_row_a_word(toy_clip, ranked, segloop, street):
    ask = ("--clip", toy_clip, "--host", "naclip", "--templates", ranked, *SMALL[2:])
    assert "inspect reads one row a word, and experts have many" in complaint(segloop("inspect", street, *WORDS, *ask))
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    with pytest.raises(OptionError, match="the straight line reads one row a word"):
        straight_line(segmenter, street, Vocabulary(CLASSES, templates=str(ranked)))


def test_rows_of_experts_given_by_hand():
    rows = torch.nn.functional.normalize(torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    found = Vocabulary(["a", "b"], embeddings=rows, query_index=[0, 1, 1])
    assert found.votes and found.is_given and torch.equal(found.embeddings.mean, rows[-1])
    with pytest.raises(VocabularyError, match=r"shape \(3, 3, 8\).*\(Q\+1, Q, E\)"):
        Vocabulary(["a", "b", "c"], embeddings=rows[1:])
    with pytest.raises(VocabularyError, match="has length 2, not 1"):
        Vocabulary(["a", "b"], embeddings=2 * rows, query_index=[0, 1, 1])
