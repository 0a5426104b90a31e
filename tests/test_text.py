"""Text rows: pooled at the end-of-text token by its id, whatever was added, padded or cut."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from command import complaint
from segloop import Vocabulary
from segloop.backbones.clip import Clip
from segloop.backbones.families import load_clip
from segloop.errors import ModelError, Notice, UserError
from segloop.words import embeddings
from segloop.words.embeddings import embed
from tolerances import NETWORK

CPU = torch.device("cpu")
TEXTS = ["a photo of a <toy>.", "<toy>", "road <toy> sky", "road"]


def opened(folder: Path) -> Clip:
    return load_clip(str(folder), CPU, torch.float32)


@pytest.fixture
def model(toy_clip, tmp_path) -> Path:
    return Path(shutil.copytree(toy_clip, tmp_path / "model"))


def configure(folder: Path, file: str = "config.json", **changes: object) -> None:
    config = json.loads((folder / file).read_text())
    if file == "config.json":
        config["text_config"] |= changes
    else:
        config |= changes
    (folder / file).write_text(json.dumps(config))


def rows(folder: Path, texts=TEXTS) -> torch.Tensor:
    return opened(folder).encode_text(list(texts))


@pytest.fixture
def enlarged(model) -> Path:
    """The toy model with a token of its own, whose id is above that of the end, and a row for it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.add_tokens(["<toy>"]) == 1 and tokenizer.convert_tokens_to_ids("<toy>") > tokenizer.eos_token_id
    tokenizer.save_pretrained(model)
    weights, name = load_file(model / "model.safetensors"), "text_model.embeddings.token_embedding.weight"
    added = torch.randn(1, weights[name].shape[1], generator=torch.Generator().manual_seed(5))
    save_file(weights | {name: torch.cat([weights[name], added])}, model / "model.safetensors", {"format": "pt"})
    configure(model, vocab_size=len(tokenizer))
    return model


def by_hand(folder: Path, text: str) -> torch.Tensor:
    """The row of a single text without padding: its last token is the end."""
    clip = opened(folder)
    ids = torch.tensor([clip.tokenizer(text)["input_ids"]])
    assert ids[0, -1] == clip.tokenizer.eos_token_id and ids[0, 0] == clip.tokenizer.bos_token_id
    with torch.no_grad():
        states = clip.model.text_model(input_ids=ids).last_hidden_state
        return clip.model.text_projection(states[0, -1])


@pytest.mark.parametrize("end", [2, "own", 77])
def test_the_end_is_found_by_its_id(enlarged, end):
    """2 is what configs of the first releases say, for which the library takes the largest id."""
    configure(enlarged, eos_token_id=opened(enlarged).tokenizer.eos_token_id if end == "own" else end)
    found = rows(enlarged)
    expected = torch.stack([by_hand(enlarged, text) for text in TEXTS])
    torch.testing.assert_close(found, expected, rtol=NETWORK, atol=NETWORK)


def test_the_library_would_take_the_added_token(enlarged):
    configure(enlarged, eos_token_id=2)
    clip = opened(enlarged)
    ids = clip.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = clip.model.text_projection(clip.model.text_model(input_ids=ids).pooler_output)[0]
    assert cosine_similarity(theirs, by_hand(enlarged, TEXTS[0]), dim=0) < 0.99
    assert cosine_similarity(clip.encode_text(TEXTS[:1])[0], by_hand(enlarged, TEXTS[0]), dim=0) > 0.9999


def test_without_added_tokens_nothing_changes(model):
    clip, texts = opened(model), ["a photo of a road.", "sky", "x" * 300, ""]
    ids = clip.tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = clip.model.text_projection(clip.model.text_model(input_ids=ids).pooler_output)
    assert clip.encode_text(texts).equal(theirs)
    assert ids.shape[1] == 77 and ids[2, -1] == clip.tokenizer.eos_token_id  # cut before the end, which stays


@pytest.mark.parametrize(
    "how", [{"padding_side": "left"}, {"truncation_side": "left"}, {"pad_token": "!"}, {"pad_token": None}]
)
def test_how_a_tokenizer_pads_is_no_matter(model, how):
    texts = ["road", "a photo of a road and a sky", "sky road " * 100]
    expected = rows(model, texts)
    configure(model, "tokenizer_config.json", **how)
    if how.get("pad_token", "") is None:
        config = json.loads((model / "tokenizer_config.json").read_text())
        del config["pad_token"]
        (model / "tokenizer_config.json").write_text(json.dumps(config))
    torch.testing.assert_close(rows(model, texts), expected, rtol=NETWORK, atol=NETWORK)


def test_a_tokenizer_that_does_not_end_texts(model):
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    configure(model, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(ModelError, match="does not end a text with its end-of-text token"):
        rows(model)


def test_a_tokenizer_that_knows_no_end(model):
    clip = opened(model)
    clip.tokenizer.eos_token = None
    clip.tokenizer.pad_token = "!"
    end = clip.model.config.text_config.eos_token_id
    assert clip.encode_text(["road"]).isfinite().all()  # the config knows it
    clip.model.config.text_config.eos_token_id = 2
    assert end != 2
    with pytest.raises(ModelError, match="has no end-of-text token"):
        clip.encode_text(["road"])


def test_a_text_that_holds_the_end(model):
    with pytest.raises(UserError, match=r"'a photo of a road<\|endoftext\|>sky' holds <\|endoftext\|>"):
        rows(model, ["a photo of a sky", "a photo of a road<|endoftext|>sky"])


def test_a_token_without_a_row(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["<toy>"])
    tokenizer.save_pretrained(model)
    with pytest.raises(ModelError, match="has 522 words, its text tower 521"):
        rows(model)


# what is too long ------------------------------------------------------------------------------------------------


def test_names_that_are_too_long_are_told_with_what_is_cut(model, tmp_path):
    clip = opened(model)
    fits, long = " ".join(["sky"] * 75), " ".join(["road"] * 80)  # a token a word, and one at either end
    assert clip.tokens_cut([fits, fits + " sky", long]) == [0, 1, 5]
    assert clip.encode_text([long]).equal(clip.encode_text([" ".join(["road"] * 75)]))
    for name, said in ((fits + " sky", "its last token is cut"), (long, "its last 5 tokens are cut")):
        for _ in range(2):  # encoded, then from the cache
            with pytest.warns(Notice) as told:
                embed(Vocabulary(["road", name], templates=["{}"]), clip, tmp_path)
            assert [str(line.message) for line in told] == [
                f"the name '{name[:60]}...' is longer than the 77 tokens that the model reads, {said}; "
                "say it in fewer words"
            ]
    with pytest.warns(Notice, match=f"'{long[:60]}.*last 5 tokens are cut, and so are the ends of 2 more"):
        embed(Vocabulary(["car", fits + " sky", long, fits + " car"], templates=["{}"]), clip, tmp_path)


def test_templates_count_towards_what_is_too_long(model, tmp_path):
    clip, name = opened(model), " ".join(["road"] * 74)  # of 75
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed(Vocabulary([name], templates=["{}", "sky {}"]), clip, tmp_path)
    with pytest.warns(Notice, match="its last token is cut"):
        embed(Vocabulary([name], templates=["{}", "sky {} sky"]), clip, tmp_path)


def test_names_that_are_too_long_are_one_line_of_the_command(segment, street):
    names = ", ".join(["car", "road " * 90, "sky " * 80])
    result = segment(street, "--classes", names)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert (
        line.startswith("the name 'road road") and "its last 15 tokens are cut, and so are the ends of 1 more" in line
    )


# what rows are kept by -------------------------------------------------------------------------------------------


def test_the_print_holds_all_that_rows_depend_on(model, tmp_path):
    first = opened(model).fingerprint
    used = opened(model)
    used.encode_text(["road", "a photo of a road"])  # leaves padding and truncation set in the tokenizer
    assert used.fingerprint == first
    prints = {first}
    for changes in ({"hidden_act": "gelu"}, {"num_attention_heads": 4}, {"layer_norm_eps": 0.1}):
        copy = Path(shutil.copytree(model, tmp_path / str(len(prints))))
        configure(copy, **changes)
        prints.add(opened(copy).fingerprint)
    copy = Path(shutil.copytree(model, tmp_path / "lower"))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]  # the same words, other cuts
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    prints.add(opened(copy).fingerprint)
    assert len(prints) == 5


def test_rows_of_another_activation_are_not_taken_from_the_cache(model, tmp_path):
    words = Vocabulary(["road", "sky"], templates="single")
    before = embed(words, opened(model), tmp_path / "cache")
    configure(model, hidden_act="gelu")
    assert not embed(words, opened(model), tmp_path / "cache").allclose(before)


# many words ------------------------------------------------------------------------------------------------------


def test_seventy_thousand_classes_are_answered_at_once(segloop, street, tmp_path):
    (tmp_path / "words.txt").write_text("".join(f"thing {n}\n" for n in range(70_000)))
    result = segloop("segment", street, "--clip", "tiny", "--classes-file", "words.txt")
    assert "70000 classes came, and a label map holds 65535; give fewer" in complaint(result)


def test_long_encoding_is_told_where_no_bar_is_seen(segloop, evaluate, street, toy_clip, monkeypatch, tmp_path):
    clock = iter(range(0, 10**6, 5))
    monkeypatch.setattr(embeddings.time, "monotonic", lambda: next(clock))
    (tmp_path / "words.txt").write_text("".join(f"pebble {n}\n" for n in range(40)))
    result = segloop("segment", street, "--clip", toy_clip, "--classes-file", "words.txt", "--templates", "plain")
    assert result.exit_code == 0
    first, *more = result.stderr.splitlines()
    assert first.startswith("8 of 40 words are encoded in 1 templates, about ") and "rows are kept" in first
    assert [line.split()[0] for line in more] == ["12", "16", "20", "24", "28", "32", "36", "40"]
