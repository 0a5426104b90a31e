"""Aliases of words: a table of ours, or the user's own."""

import json

import numpy as np
import pytest
import torch

from command import complaint, done, record
from segloop import Segmenter, Vocabulary
from segloop.errors import Notice, VocabularyError
from segloop.words.aliases import aliases_of, expand
from segloop.words.lists import benchmark_names, benchmark_queries

SMALL = (
    "--method",
    "naclip",
    "--set",
    "short_side=64",
    "--set",
    "crop=64",
    "--set",
    "stride=64",
    "--templates",
    "plain",
)


def test_words_and_their_aliases():
    found = expand(["ground", "sea"], [["Sand", "earth"], ["sea"]], {"sand": ["beach", "earth"], "sea": ["ocean"]})
    assert found.words == (("Sand", "earth", "beach"), ("sea", "ocean"))
    assert found.added == 2 and found.left_out == () and found.said is None


def test_no_alias_is_another_class():
    table = {"road": ["street", "Pavement", "track"], "sidewalk": ["pavement", "track"], "path": ["road"]}
    found = expand(["road", "sidewalk", "way"], [["road"], ["sidewalk"], ["path", "pavement"]], table)
    assert found.words == (("road", "street"), ("sidewalk",), ("path", "pavement"))
    left = [("Pavement", "road"), ("track", "road"), ("pavement", "sidewalk"), ("track", "sidewalk"), ("road", "way")]
    assert sorted(found.left_out) == sorted(left)
    assert "'Pavement' of 'road', 'track' of 'road', 'pavement' of 'sidewalk' and 2 more" in found.said


def test_a_label_is_a_word_of_its_class():
    assert expand(["beach", "b"], [["strand"], ["sand"]], {"sand": ["beach"]}).words == (("strand",), ("sand",))


@pytest.mark.parametrize("key", ["coco-stuff", "ade20k", "voc21", "context59", "cityscapes"])
def test_the_built_in_table_keeps_published_lists_apart(key):
    words = benchmark_queries(key, "P")
    found = expand(benchmark_names(key), words, "builtin")
    every = [word.casefold() for own in found.words for word in own]
    before = [word.casefold() for own in words for word in own]
    assert found.added > 10
    assert len(every) - len({*every}) == len(before) - len({*before}), "an alias is in one class only"
    assert all(own[: len(some)] == tuple(some) for own, some in zip(found.words, words, strict=True))


def test_the_built_in_table():
    table = aliases_of("builtin")
    assert len(table) > 190 and all(1 <= len(own) <= 4 for own in table.values())
    assert all(word not in own and len({*own}) == len(own) for word, own in table.items())


def test_files_of_aliases(tmp_path):
    (tmp_path / "own.txt").write_text("# mine\nsand: beach,  desert\n\nSea: ocean\n", encoding="utf-8")
    assert aliases_of(tmp_path / "own.txt") == {"sand": ("beach", "desert"), "sea": ("ocean",)}
    (tmp_path / "own.json").write_text(json.dumps({"sand": ["beach"]}), encoding="utf-8")
    assert aliases_of(str(tmp_path / "own.json")) == {"sand": ("beach",)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sand beach\n", "names no aliases"),
        ("sand:\n", "names no aliases"),
        (": beach\n", "names no aliases"),
        ("", "is empty"),
        ("{nothing", "is not valid JSON"),
        ('{"sand": "beach"}', "no words with lists"),
        ('{"sand": [3]}', "no words with lists"),
        ("sand: beach\nSand: desert\n", "has the word 'sand' twice"),
        ("sand: beach|desert\n", "no words with lists"),
    ],
)
def test_files_that_are_none(text, told, tmp_path):
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    with pytest.raises(VocabularyError, match=told):
        aliases_of(tmp_path / "own.txt")


def test_tables_that_are_not_there():
    with pytest.raises(VocabularyError, match=r"there is no table of aliases 'buildin'; .*builtin"):
        aliases_of("buildin")
    with pytest.raises(VocabularyError, match="the mapping of aliases is empty"):
        aliases_of({})


def test_a_vocabulary_with_aliases():
    plain = Vocabulary(["sand", "water", "sea", "blob"], background=0)
    with pytest.warns(Notice, match="left out: 'sea' of 'water'"):
        more = plain.with_aliases()
    assert more.words()[0][:2] == ["sand", "beach"] and more.words()[3] == ["blob"]
    assert "sea" not in more.words()[1] and more.background == 0 and more.classes == plain.classes
    assert more.aliases and plain.aliases is None
    with pytest.warns(Notice, match="no word of the list has an alias there"):
        Vocabulary(["blob"]).with_aliases()
    listed = Vocabulary.benchmark("voc20", "clear").with_aliases({"cat": ["kitten"]})
    assert listed.source == "voc20/clear+aliases"
    with pytest.raises(VocabularyError, match="has its rows already"):
        Vocabulary(["a"], embeddings=torch.eye(1, 4)).with_aliases()


def test_maps_with_aliases(segloop, toy_clip, street, tmp_path):
    ask = ("--clip", toy_clip, *SMALL)
    done(segloop("segment", street, "--classes", "road, sky", *ask, "--aliases", "builtin", "--out", "with"))
    own = "road|street|roadway|highway, sky|blue sky|cloudy sky|heavens"
    done(segloop("segment", street, "--classes", own, *ask, "--out", "typed"))
    first, second = (record(tmp_path / name / "street") for name in ("with", "typed"))
    assert first["share"] == second["share"] and len(first["settings"]["aliases"]) == 16
    assert "aliases" not in second["settings"]
    told = complaint(segloop("segment", street, "--classes", "road, sky", *ask, "--aliases", "none.txt"))
    assert "none.txt" in told


def test_evaluations_with_aliases(evaluate, segloop, tmp_path):
    (tmp_path / "own.txt").write_text("sand: beach\nred: scarlet\n", encoding="utf-8")
    run = ("--method", "naclip", *SMALL[2:8], "--aliases", tmp_path / "own.txt", "--limit", 2, "--scores")
    assert evaluate("--out", "run", *run).exit_code == 0
    first = json.loads((tmp_path / "run/run.json").read_text())
    assert {"beach", "scarlet"} <= {*first["queries"]} and first["settings"]["aliases"]
    (tmp_path / "own.txt").unlink()
    assert segloop("evaluate", "--from-scores", "run", "--out", "anew").exit_code == 0
    anew = json.loads((tmp_path / "anew/run.json").read_text())
    assert anew["metrics"] == first["metrics"] and anew["settings"]["aliases"] == first["settings"]["aliases"]


def test_a_class_takes_the_best_of_its_aliases(toy_clip, street):
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", short_side=64, crop=64, stride=64)
    plain = Vocabulary(["road", "sky"], templates="plain")
    more = plain.with_aliases({"road": ["street"]})
    rows = segmenter.text(more)
    assert torch.equal(rows[[0, 2]], segmenter.text(plain))
    labels, maps = segmenter(street, more).labels, segmenter.cosines(street, more).numpy()
    assert np.mean(labels == (maps[2] > maps[:2].max(0))) == 1
