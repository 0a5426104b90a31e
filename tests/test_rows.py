"""The step from every template's text rows to one row a query: a table with one row, which takes others."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from command import WORDS, complaint, done, record
from segloop import Segmenter, Vocabulary
from segloop.choice.plan import known_constants, shared_constants
from segloop.errors import ModelError, Notice, OptionError
from segloop.words import embeddings
from segloop.words.embeddings import embed, origin
from segloop.words.rows import MEAN, ROWS, is_alone, row_step, step_name

pytestmark = pytest.mark.usefixtures("one_thread")
TWO = ["a photo of a {}.", "{}"]


def first(table):
    """The first template alone."""
    return table[:, 0]


def centred(table):
    """What sets a query apart from all the others: no row of it rests on one query alone."""
    rows = table.mean(1)
    return rows - rows.mean(0)


@dataclass(frozen=True)
class Weighted:
    """The first template, and some of the last."""

    alone: ClassVar[bool] = True
    last: float = 0.5

    def __call__(self, table):
        return table[:, 0] + self.last * table[:, -1]


@pytest.fixture(autouse=True)
def table(monkeypatch):
    for name, step in {"first": first, "centred": centred, "weighted": Weighted()}.items():
        monkeypatch.setitem(ROWS, name, step)


@pytest.fixture(scope="module")
def opened(toy_clip):
    return lambda **changes: Segmenter.from_pretrained(toy_clip, method="naclip", device="cpu", **changes)


class Counting:
    """The encoder of a segmenter, and the texts that it was asked for."""

    def __init__(self, encoder):
        self.encoder, self.texts, self.fingerprint = encoder, [], encoder.fingerprint

    def tokens_cut(self, texts):
        return self.encoder.tokens_cut(texts)

    def encode_text(self, texts):
        self.texts += texts
        return self.encoder.encode_text(texts)


def template_rows(segmenter, words, templates=TWO):
    """(Q, T, E)."""
    rows = [segmenter.clip.encode_text([template.replace("{}", word) for template in templates]) for word in words]
    return F.normalize(torch.stack(rows), dim=-1)


# --- the table ---


def test_every_step_makes_unit_rows_of_all_queries(opened):
    words = Vocabulary(["car|auto", "road", "sky"], templates=TWO)
    for name, step in ROWS.items():
        assert step.__doc__ and step_name(step) == name
        segmenter = opened(rows=name)
        rows = segmenter.text(words)
        assert rows.shape == (4, 16) and rows.dtype == torch.float32
        expected = F.normalize(step(template_rows(segmenter, words.queries)), dim=-1)
        torch.testing.assert_close(rows, expected)
        assert segmenter.text(words).equal(rows)  # from the cache
    assert opened().text(words).equal(opened(rows="mean").text(words))


def test_a_function_or_a_record_may_be_given_itself(opened):
    words = Vocabulary(["car", "road"], templates=TWO)
    for given, name in ((lambda table: table[:, 1], f"{__name__}:"), (Weighted(2.0), "weighted"), (first, "first")):
        segmenter = opened(rows=given)
        assert segmenter.describe(words)["rows"].startswith(name)
        assert not segmenter.text(words).allclose(opened().text(words), atol=1e-3)


def test_constants_of_a_step_are_settings(opened):
    words = Vocabulary(["car", "road"], templates=TWO)
    settings = opened(rows="weighted", last=3).describe(words)
    assert (settings["rows"], settings["last"]) == ("weighted", 3.0)
    assert not opened(rows="weighted", last=3).text(words).allclose(opened(rows="weighted").text(words), atol=1e-3)
    with pytest.raises(OptionError, match="'last' belongs to rows weighted; add --set rows=weighted"):
        opened(last=3)

    @dataclass(frozen=True)
    class Taken:
        stride: int = 1

        def __call__(self, table):
            return table[:, 0]

    with pytest.raises(OptionError, match=r"constant 'stride' of rows .*Taken is the name of another setting"):
        opened(rows=Taken())


def test_the_mean_is_not_spoken_of(opened):
    words = Vocabulary(["car"])
    assert "rows" not in opened().describe(words) and "rows" not in opened(rows="mean").describe(words)
    assert shared_constants()["rows"] == known_constants()["rows"] == "mean" and known_constants()["last"] == 0.5


@pytest.mark.parametrize("given", ["centered", None, 3])
def test_steps_that_there_are_not(given):
    with pytest.raises(OptionError, match=r"there is no step .* for text rows"):
        row_step(given)
    assert row_step("mean") is MEAN


def test_steps_that_make_no_rows(opened):
    words = Vocabulary(["car", "road"], templates=TWO)
    with pytest.raises(OptionError, match=r"made \(2, 2, 16\) of text rows \(2, 2, 16\); return one row a query"):
        opened(rows=lambda table: table).text(words)
    for bad in (0.0, torch.nan):
        with pytest.raises(OptionError, match="gives no finite direction for 'road'"):
            opened(rows=lambda table, bad=bad: table[:, 0] * torch.tensor([[1.0], [bad]])).text(words)


# --- the cache ---


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_rows_of_one_step_are_not_taken_for_anothers(opened, tmp_path):
    clip, words = opened().clip, Vocabulary(["car", "road"], templates=TWO)
    made = [embed(words, clip, tmp_path, step=step) for step in (MEAN, Weighted(), Weighted(2.0))]
    assert len(files(tmp_path)) == 6 and not made[0].allclose(made[1]) and not made[1].allclose(made[2])
    counting = Counting(clip)
    again = [embed(words, counting, tmp_path, step=step) for step in (MEAN, Weighted(), Weighted(2.0))]
    assert all(map(torch.equal, made, again)) and not counting.texts


def test_a_step_over_all_queries_is_done_anew_and_encodes_what_is_missing(opened, tmp_path):
    assert is_alone(MEAN) and is_alone(Weighted()) and not is_alone(centred)
    counting = Counting(opened().clip)
    two, three = (Vocabulary(names, templates=TWO) for names in (["car", "road"], ["sky", "car", "road"]))
    before = embed(two, counting, tmp_path, step=centred)
    counting.texts.clear()
    after = embed(three, counting, tmp_path, step=centred)
    assert counting.texts == ["a photo of a sky.", "sky"] and not after[1:].allclose(before, atol=1e-3)
    embed(three, counting, tmp_path, step=first)  # the same files serve every such step, and one whose code has changed
    assert counting.texts == ["a photo of a sky.", "sky"] and len(files(tmp_path)) == 3


# --- where rows come from ---


def test_encoded_words_keep_their_name_and_are_encoded_once(opened, monkeypatch):
    segmenter, words = opened(), Vocabulary.benchmark("voc20", templates="plain")
    encoded = segmenter.encoded(words)
    assert encoded.source == "voc20/P" and encoded.made_by == origin(segmenter.clip) and not encoded.is_given
    assert "rows" not in segmenter.describe(encoded)
    monkeypatch.setattr(embeddings, "Cache", None)  # neither encoded nor read again
    assert segmenter.text(encoded) is encoded.embeddings
    assert segmenter.encoded(encoded).embeddings is encoded.embeddings


def test_rows_of_another_model_or_step_are_made_anew(opened):
    words = Vocabulary(["car", "road"], templates=TWO)
    other = Segmenter.from_pretrained("tiny", method="naclip", device="cpu").encoded(words)
    assert opened().text(other).equal(opened().text(words))
    assert opened(rows="first").text(opened().encoded(words)).equal(opened(rows="first").text(words))
    one, two = (opened(rows=lambda table, n=n: table[:, n]) for n in (0, 1))  # of the same name
    assert two.text(one.encoded(words)).equal(two.text(words)) and not one.text(words).equal(two.text(words))


def test_rows_of_your_own_lose_the_published_name(opened):
    words = Vocabulary.benchmark("voc20").with_embeddings(torch.eye(20, 16) + torch.eye(20, 16).flip(1) + 1e-3)
    segmenter = opened()
    assert words.source is None and words.is_given
    for own in (words, segmenter.encoded(words)):
        told = segmenter.describe(own)
        assert (told["vocabulary"], told["rows"]) == (None, "given")
    assert segmenter.text(words).equal(words.embeddings)


def test_many_words_are_spoken_of_once(opened):
    words = Vocabulary(["thing"], embeddings=torch.ones(5000, 16) / 4, query_index=[0] * 5000)
    with pytest.warns(Notice) as said:
        opened().text(words)
    assert len(said) == 1


def test_a_broken_encoder_is_told_whatever_the_step(opened, tmp_path):
    counting = Counting(opened().clip)
    counting.encode_text = lambda texts: torch.eye(len(texts), 16) * torch.tensor([[0.0], [1.0]])
    for step in ROWS.values():
        with pytest.raises(ModelError, match="no finite direction for 'car'"):
            embed(Vocabulary(["car"], templates=TWO), counting, tmp_path, step=step)
    assert not files(tmp_path)


# --- the command line ---


def test_steps_on_the_command_line(segment, street, tmp_path):
    shares = {}
    for name, more in {"mean": (), "first": (), "centred": (), "weighted": ("--set", "last=7")}.items():
        options = ("--set", f"rows={name}", *more, "--format", "json", "--out", name)
        done(segment(street, *WORDS, *options, "--templates", "openai7"))
        told = record(tmp_path / name / "street")
        assert told["settings"].get("rows", "mean") == name
        shares[name] = json.dumps(told["share"])
    assert len(set(shares.values())) == 4 and told["settings"]["last"] == 7.0


def test_unknown_steps_on_the_command_line(segment, street):
    told = complaint(segment(street, *WORDS, "--set", "rows=centered"))
    assert "there is no step 'centered' for text rows" in told and "centred" in told


def test_runs_with_other_rows_are_other_runs(evaluate, tmp_path):
    run = ("--method", "naclip", "--limit", 2, "--out", "run")
    assert evaluate(*run).exit_code == 0
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "rows" not in kept["settings"]
    assert "holds this run" in evaluate(*run, "--set", "rows=mean").output
    other = evaluate(*run, "--set", "rows=first")
    assert other.exit_code == 2 and 'other settings: rows "mean" there, "first" now' in other.stderr
    assert evaluate(*run, "--set", "rows=first", "--overwrite").exit_code == 0
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kept["settings"]["rows"] == "first"
