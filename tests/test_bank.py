"""Memory banks: prototypes of classes from photos without labels, beside what words say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from command import WORDS, complaint, done, record
from segloop import Segmenter, Vocabulary
from segloop.errors import OptionError
from segloop.labelling.labeller import Labeller
from segloop.line import gathering
from segloop.line.gathering import Gathered, Gathering, class_means, make_bank, scattered
from segloop.line.ranking import rank_templates
from segloop.line.straight import straight_line
from segloop.maps.patches import patch_pixels
from segloop.maps.windows import layout
from segloop.runs.networks import Networks
from segloop.words.bank import Bank, Mixing, read_bank
from segloop.words.banked import BankedRows
from segloop.words.prototypes import prototypes
from test_experts import Joined, Squared
from tolerances import U, summed

SMALL = ("--method", "naclip", "--set", "short_side=64", "--set", "crop=64", "--set", "stride=64")
GEOMETRY = {"short_side": 64, "crop": 64, "stride": 64}
CLASSES = ["road", "car|automobile", "sky"]
EVERY = ("--sure", "0", "--templates", "plain")


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(shape), dim=-1)


# --- formulas


def test_the_mix_of_words_and_prototypes():
    rows = BankedRows(unit(4, 6), unit(3, 6), (0, 0, 1), (0, 1, 1, -1), torch.randn(2), torch.rand(2), 0.3)
    features = 1.5 * torch.randn(2, 6, 3, 2)
    found = rows.scores(features)
    assert found.shape == (2, 4, 3, 2)
    for at in np.ndindex(2, 3, 2):
        patch = features[at[0], :, at[1], at[2]]
        alike = [float(F.normalize(patch, dim=0) @ one) for one in rows.prototypes]
        near = [max(alike[0], alike[1]), alike[2]]
        for query, owner in enumerate(rows.classes):
            want = float(rows.mean[query] @ patch)
            if owner >= 0:
                want = 0.7 * want + 0.3 * float(rows.shift[owner] + rows.stretch[owner] * near[owner])
            assert float(found[at[0], query, at[1], at[2]]) == pytest.approx(
                want, abs=summed(6, 10) + 8 * U[torch.float32]
            )


def test_both_cosines_have_one_scale():
    """Where the bank alone speaks, a class is as high on itself, and as low elsewhere, as its best word was."""
    text, index = torch.eye(8)[:3], (0, 1, 1)
    vectors = F.normalize(text[torch.arange(200) % 3] + 0.3 * torch.randn(200, 8), dim=1)
    own = F.normalize(text[torch.tensor([0, 0, 1, 2])] + 0.2 * torch.randn(4, 8), dim=1)
    known = Gathered(
        classes=np.array([0, 0, 1, 1]),
        sure=np.ones(4, np.float32),
        photos=np.arange(4),
        vectors=own.numpy(),
        lengths=np.full((4, 2), 0.9, np.float32),
        keys=np.arange(200, dtype=np.uint64),
        sample=vectors.numpy(),
    )
    start = np.tile([0.0, 1.0], (2, 2))
    bank = Bank(("a", "b"), (("a",), ("b", "c")), own.numpy(), np.array([0, 0, 1, 1]), start, {}, Mixing(1.0))
    bank = replace(bank, levels=gathering.levels_of(bank, known, text, index))
    scores = bank.rows(text, index).scores(vectors.T[None, :, :, None])[0, :, :, 0].double()
    cosines = (vectors @ text.T).double()
    best = torch.stack([cosines[:, 0], cosines[:, 1:].amax(1)])
    for query, owner in enumerate(index):
        away = best.argmax(0) != owner
        assert float(scores[query][away].mean()) == pytest.approx(float(best[owner][away].mean()), abs=1e-5)
        on = torch.stack([(one @ text.T)[[place for place in range(3) if index[place] == owner]].max() for one in own])
        assert bank.levels[owner, 1] == pytest.approx(float(0.9 * on[known.classes == owner].mean()), abs=1e-6)
        assert bank.levels[owner, 3] == pytest.approx(0.9, abs=1e-6), "each is its own prototype"


def test_prototypes_of_two_heaps_and_a_stray():
    first, second, stray = torch.eye(3)
    heaps = F.normalize(
        torch.cat([first + 0.1 * torch.randn(9, 3), second + 0.1 * torch.randn(7, 3), stray[None]]), dim=1
    )
    found = prototypes(heaps, 3)
    assert len(found) == 2, "what one vector alone stands for is left out"
    want = torch.stack([F.normalize(heaps[:9].mean(0), dim=0), F.normalize(heaps[9:16].mean(0), dim=0)])
    assert torch.allclose((found @ want.T).amax(1), torch.ones(2), atol=1e-5)
    assert torch.equal(found, prototypes(heaps, 3))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_prototypes_of_few_or_equal_vectors(count):
    vectors = unit(1, 4).expand(count, 4)
    assert torch.allclose(prototypes(vectors, 8), vectors[:1], atol=1e-6)
    assert torch.allclose(prototypes(unit(count, 4), 8).norm(dim=1), torch.ones(1), atol=1e-6)


def test_where_patches_lie():
    where = layout((4, 6), 4, 2, 1)  # two windows, columns 0 to 4 and 2 to 6
    rows, columns = patch_pixels(where, (2, 2), (4, 6), (8, 12))
    assert rows.tolist() == [[[2, 2], [6, 6]]] * 2
    assert columns.tolist() == [[[2, 6]] * 2, [[6, 10]] * 2]
    padded = layout((2, 4), 0, 1, 4)  # one window of 4 x 4, a row of zeros above and below
    rows, _ = patch_pixels(padded, (4, 4), (2, 4), (2, 4))
    assert rows[0, :, 0].tolist() == [-1, 0, 1, -1]


def test_what_a_class_is_sure_of():
    vectors = torch.tensor([[1.0, 0], [0, 2], [3, 3], [1, 0], [float("nan"), 0]])
    labels, sure = torch.tensor([0, 0, 2, 1, 1]), torch.tensor([0.9, 0.7, 0.5, 0.2, 0.9])
    owners, level, means, lengths = class_means(vectors, labels, sure, 0.5)
    assert owners.tolist() == [0, 2]
    assert level.tolist() == pytest.approx([0.8, 0.5])
    assert np.allclose(means, [[0.5**0.5] * 2] * 2)
    assert np.allclose(lengths, [[1.25**0.5, 0.5**0.5], [18**0.5, 1]])


def of_photo(number: int) -> Gathered:
    """What a photo may give: two classes and five patches."""
    keys = np.sort(scattered(number, np.arange(5)))
    sure = torch.rand(2).numpy()
    vectors, sample = unit(2, 3).numpy(), torch.randn(5, 3).numpy()
    return Gathered(np.array([0, 4]), sure, np.full(2, number), vectors, np.ones((2, 2), np.float32), keys, sample)


def test_what_is_gathered_does_not_hang_on_the_order(monkeypatch):
    monkeypatch.setattr(gathering, "CANDIDATES", 4)
    monkeypatch.setattr(gathering, "SAMPLE", 7)
    parts = [Gathered.none(3), *map(of_photo, range(6))]
    once = Gathered.together(parts)
    apart = Gathered.together([Gathered.together(parts[4:]), Gathered.together(parts[:4])])
    for name, array in vars(once).items():
        assert np.array_equal(array, getattr(apart, name)), name
    assert once.classes.tolist() == [0] * 4 + [4] * 4 and len(once.keys) == 7
    assert once.sure[:4].tolist() == sorted(once.sure[:4].tolist(), reverse=True)
    every = np.concatenate([one.keys for one in parts])
    assert once.keys.tolist() == np.sort(every)[:7].tolist()


# --- on the command line and from Python


@pytest.fixture
def made(segloop, toy_clip, photos, tmp_path):
    """A bank of two photos."""
    assert segloop("bank", photos, *WORDS, "--clip", toy_clip, *SMALL, *EVERY).exit_code == 0
    return tmp_path / "bank.npz"


def test_the_file_of_a_bank(made, segloop, toy_clip, photos, tmp_path):
    bank, before = read_bank(made), made.read_bytes()
    assert bank.classes == ("road", "car", "sky") and bank.words[1] == ("car", "automobile")
    assert bank.made_by["method"] == "naclip" and bank.made_by["short_side"] == 64
    assert str(tmp_path) not in json.dumps(bank.made_by) and str(toy_clip) not in json.dumps(bank.made_by)
    again = segloop("bank", photos, *WORDS, "--clip", toy_clip, *SMALL, *EVERY, "--json")
    told = json.loads(again.stdout)
    assert ("words alone speak for that" in again.stderr) == bool(bank.without)
    assert told["photos"] == 2 and sum(told["prototypes"].values()) == len(bank.prototypes)
    assert made.read_bytes() == before
    assert not list(tmp_path.glob("*.half"))
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    files = sorted(photos.iterdir())
    own = make_bank(segmenter, files, Vocabulary(CLASSES, templates="plain"), Gathering(0))
    assert own.digest == bank.digest


def test_a_stopped_bank_goes_on(made, segloop, toy_clip, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "SHARD", 1)
    through, calls = gathering.Gathered.together, []

    def stopped(parts):
        calls.append(len(parts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return through(parts)

    ask = ("bank", photos, *WORDS, "--clip", toy_clip, *SMALL, *EVERY, "--out", "other.npz")
    monkeypatch.setattr(gathering.Gathered, "together", stopped)
    assert segloop(*ask).exit_code == 130
    assert (tmp_path / "other.npz.half").exists() and not (tmp_path / "other.npz").exists()
    monkeypatch.setattr(gathering.Gathered, "together", through)
    on = segloop(*ask)
    assert on.exit_code == 0 and "going on, 1 photos are learned from already" in on.stderr
    assert (tmp_path / "other.npz").read_bytes() == made.read_bytes()
    assert not (tmp_path / "other.npz.half").exists()


def test_maps_with_a_bank(made, segloop, toy_clip, street, tmp_path):
    ask = (*WORDS, "--clip", toy_clip, *SMALL, "--templates", "plain")
    done(segloop("segment", street, *ask, "--bank", made, "--set", "bank_weight=0.8"))
    settings = record(tmp_path / "segloop-out/street")["settings"]
    assert settings["bank"] == read_bank(made).digest and settings["bank_weight"] == 0.8
    words = Vocabulary(CLASSES, templates="plain")
    plain = Segmenter.from_pretrained(toy_clip, method="naclip", **GEOMETRY)
    half, none = (
        Segmenter.from_pretrained(toy_clip, method="naclip", bank=made, bank_weight=weight, **GEOMETRY)
        for weight in (0.8, 0)
    )
    with Image.open(tmp_path / "segloop-out/street.png") as written:
        assert np.array_equal(np.array(written), half(street, words).labels)
    maps = [one.cosines(street, words) for one in (plain, none, half)]
    assert torch.allclose(maps[0], maps[1], atol=100 * U[torch.float32])
    assert not torch.allclose(maps[0], maps[2], atol=1e-3)
    assert "bank" not in plain.describe(words)
    encoded = half.encoded(words)
    assert half.text(encoded) is encoded.embeddings or half.text(encoded).weight == 0.8
    assert isinstance(plain.text(encoded), torch.Tensor), "words with a bank's rows bring it nowhere else"
    assert np.array_equal(Labeller(half, words)([street])[0], half(street, words).labels)


def test_feedback_with_a_bank(toy_clip, photos, street):
    fed = Segmenter.from_pretrained(toy_clip, host="naclip", **GEOMETRY)
    words = Vocabulary(CLASSES, templates="plain")
    bank = make_bank(fed, sorted(photos.iterdir()), words, Gathering(0))
    assert bank.made_by["feedback"]["lambda_"] == fed.plan.feedback.lambda_
    with_bank = Segmenter.from_pretrained(toy_clip, host="naclip", bank=bank, **GEOMETRY)
    ready = with_bank.prepare(street)
    (tile,) = with_bank.tiles([ready], with_bank.text(words))
    assert tile.shape[1] == 4 and tile.isfinite().all()
    for refused in (straight_line, lambda *asked: rank_templates(asked[0], [street], asked[2])):
        with pytest.raises(OptionError, match="read words alone, and a memory bank came"):
            refused(with_bank, street, words)


def test_evaluations_and_labellings_with_a_bank(evaluate, segloop, drawn, toy_clip, tmp_path):
    names = ("--classes-file", drawn / "classes.txt", "--clip", toy_clip, *SMALL, "--templates", "plain")
    assert segloop("bank", drawn / "images", *names, "--sure", "0").exit_code == 0
    run = ("--method", "naclip", *SMALL[2:], "--bank", tmp_path / "bank.npz", "--limit", 2, "--set", "bank_weight=0,1")
    assert evaluate("--out", "run", *run).exit_code == 0
    own = [json.loads(path.read_text())["settings"] for path in sorted((tmp_path / "run").rglob("run.json"))]
    assert [one["bank_weight"] for one in own] == [0, 1]
    assert {one["bank"] for one in own} == {read_bank(tmp_path / "bank.npz").digest}
    done(segloop("label", drawn / "images", *names, "--bank", "bank.npz", "--out", "labelled"))
    again = segloop("label", drawn / "images", *names, "--out", "labelled")
    assert "memory bank" in complaint(again) or "bank" in again.stderr
    sent = Networks(str(toy_clip), bank="bank.npz").elsewhere()
    assert sent.bank == str(tmp_path / "bank.npz")


# --- what is refused, and what is said


def test_a_bank_of_something_else(made, toy_clip, street, segloop, tmp_path):
    def told(*options, words=WORDS, templates="plain", method=SMALL):
        ask = ("segment", street, *words, "--clip", toy_clip, *method, "--templates", templates, "--bank", made)
        return complaint(segloop(*ask, *options))

    assert "made with method naclip, and here it is sclip" in told(method=("--method", "sclip", *SMALL[2:]))
    assert "made with stride 64, and here it is 32" in told(method=(*SMALL[:-1], "stride=32"))
    assert "another list of classes; it knows no 'tree'" in told(words=("--classes", "road, tree"))
    assert "other words for 'car'" in told(words=("--classes", "road, car, sky"))
    assert "other templates" in told(templates="single")
    assert "fidelity reference" in told("--fidelity", "reference")
    assert "bank_weight=2.0 is not possible" in told("--set", "bank_weight=2")
    plain = ("segment", street, *WORDS, "--clip", toy_clip, *SMALL)
    assert "'bank_weight' came without a memory bank" in complaint(segloop(*plain, "--set", "bank_weight=1"))
    assert "cannot be read" in complaint(segloop(*plain, "--bank", "missing.npz"))
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", bank=made, **GEOMETRY)
    with pytest.raises(OptionError, match="rows that were given"):
        segmenter.text(Vocabulary(["road", "car", "sky"], embeddings=F.normalize(torch.ones(3, segmenter.clip.width))))
    bank = read_bank(made)
    other = replace(bank, made_by={**bank.made_by, "model_hash": "another"})
    with pytest.raises(OptionError, match="whose weights, or its guide's, are not those of toy"):
        Segmenter.from_pretrained(toy_clip, method="naclip", bank=other, **GEOMETRY)
    with pytest.raises(OptionError, match="bank came as int"):
        Segmenter.from_pretrained(toy_clip, bank=3)


@pytest.mark.parametrize(("stage", "words"), [(Squared(), "no cosines"), (Joined(), "scores of its own")])
def test_methods_whose_scores_are_no_cosines(toy_clip, made, street, stage, words):
    with_bank = Segmenter.from_pretrained(toy_clip, method="naclip", bank=made, **GEOMETRY)
    other = replace(with_bank, network=replace(with_bank.network, plan=replace(with_bank.plan, stages=(stage,))))
    with pytest.raises(OptionError, match=rf"bank .*came with method naclip, .*{words}"):
        other(street, Vocabulary(CLASSES, templates="plain"))
    with pytest.raises(OptionError, match=words):
        make_bank(replace(other, bank=None), [street], Vocabulary(CLASSES, templates="plain"))


def test_files_that_are_no_bank(made, tmp_path):
    whole = dict(np.load(made))
    for change in ({"owners": whole["owners"][::-1]}, {"prototypes": 2 * whole["prototypes"]}, {"levels": np.ones(3)}):
        np.savez(tmp_path / "bad.npz", **{**whole, **change})
        with pytest.raises(OptionError, match="is no whole memory bank"):
            read_bank(tmp_path / "bad.npz")
    for data in (b"", b"PK\3\4", made.read_bytes()[:-100]):
        (tmp_path / "bad.npz").write_bytes(data)
        with pytest.raises(OptionError, match="is no whole memory bank"):
            read_bank(tmp_path / "bad.npz")


def test_photos_that_teach_nothing(segloop, toy_clip, photos, street, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(street.read_bytes())
    (folder / "b.jpg").write_bytes(b"no photo")
    ask = (*WORDS, "--clip", toy_clip, *SMALL)
    some = segloop("bank", folder, *ask, *EVERY)
    assert some.exit_code == 3 and "1 of 2 photos were learned from" in some.stderr
    assert read_bank(tmp_path / "bank.npz").digest
    sure = complaint(segloop("bank", photos, *ask, "--sure", "1", "--out", "none.npz"))
    assert "no patch of these photos is surely of any class; give more photos" in sure
    (tmp_path / "mine.npz").write_bytes(b"mine")
    assert "is not what segloop wrote" in complaint(segloop("bank", photos, *ask, "--out", "mine.npz"))
    assert "fidelity reference" in complaint(segloop("bank", photos, *ask, "--fidelity", "reference"))
