"""Options, models, paths and photos out of all reason: refused in a sentence before the work begins."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import models
from command import WORDS, complaint, done, sentence
from segloop import FSA, SFP, Segmenter, Vocabulary
from segloop.backbones.vision import load_guide
from segloop.choice.settings import Geometry
from segloop.common import memory
from segloop.common.strict import one_line
from segloop.errors import OptionError, TooLargeError, VocabularyError
from segloop.images import read_image, room

pytestmark = pytest.mark.usefixtures("one_thread")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


# numbers -------------------------------------------------------------------------------------------------------------

NO_NUMBERS = [
    ("logit_scale=inf",), ("logit_scale=nan",), ("logit_scale=1e38",), ("background_threshold=nan", "--background"),
    ("third_term=nan", "--host", "sclip"), ("third_term=inf", "--host", "sclip"), ("third_term=1e999", "--host", "qq"),
    ("sigma=inf", "--method", "naclip"), ("sharpness=inf", "--method", "sfp"), ("third_term=-inf", "--host", "qq"),
]  # fmt: skip
OUT_OF_REASON = [
    ("pamr_steps=1000000", "0 (off) to 1000"),
    ("pamr_dilations=100000000", "at most 1024"),
    ("short_side=100000000", "1 to 32768 pixels"),
    ("rounds=1000000", "1 to 100"),
]


@pytest.mark.parametrize("words", NO_NUMBERS)
def test_constants_that_are_no_numbers(segment, street, words):
    assert "is not possible; it must be" in complaint(segment(street, *WORDS, "--set", *words, "--json"))


def test_constants_that_are_no_numbers_in_python(toy_clip):
    for make in (lambda: FSA(third_term=float("inf")), lambda: SFP(sharpness=float("nan"))):
        with pytest.raises(OptionError, match="finite"):
            make()
    with pytest.raises(OptionError, match="logit_scale"):
        Segmenter.from_pretrained(toy_clip, logit_scale=float("nan"))


@pytest.mark.parametrize(("setting", "told"), OUT_OF_REASON)
def test_limits_come_before_the_models(segloop, street, setting, told):
    """The model is not even there."""
    words = ("--host", "sclip") if setting.startswith("rounds") else ()
    result = segloop("segment", street, *WORDS, "--clip", "tiny", *words, "--set", setting)
    assert told in complaint(result)


def test_windows_are_counted_before_they_are_cut():
    assert Geometry(336, 2048, 224, 112).most_windows == 2 * 18
    assert Geometry(336, 2048, 0, 112).most_windows == 1
    assert Geometry(64, 2048, 64, 1).most_windows == 1985
    with pytest.raises(OptionError, match="a photo could be cut into 3940225 windows, and 100000 are allowed"):
        Geometry(2048, 2048, 64, 1)


def test_words_and_batches_out_of_reason(segment, label_words, tmp_path, street):
    many = [f"w{number}" for number in range(70_000)]
    (tmp_path / "many.txt").write_text("\n".join(many))
    assert "70000 classes came, and a label map holds 65535" in complaint(segment(street, "--classes-file", "many.txt"))
    with pytest.raises(VocabularyError, match="1001 templates came"):
        Vocabulary(["a"], templates=["{}"] * 1001)
    assert "batch=1000000 is not possible" in complaint(segment(street, *WORDS, "--batch", 10**6))
    assert "--threads 100000 is more than" in complaint(label_words("--threads", 100_000))


@pytest.fixture
def label_words(segloop, street, toy_clip):
    return lambda *words: segloop("label", street, *WORDS, "--clip", toy_clip, "--templates", "plain", *words)


def test_json_is_always_json():
    found = {"a": float("nan"), "b": [np.float32("inf"), 1.5, np.int64(3)], "c": (None, True, "x")}
    assert json.loads(one_line(found)) == {"a": None, "b": [None, 1.5, 3], "c": [None, True, "x"]}


# models --------------------------------------------------------------------------------------------------------------


def with_kernel(folder):
    """The config asks for code of the hub, at every place that the library reads."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for one in (config, *(value for name, value in config.items() if name.endswith("_config"))):
        one |= {"_attn_implementation": "nobody/kernel", "attn_implementation": "nobody/kernel"}
    path.write_text(json.dumps(config))
    return folder


def test_the_config_does_not_choose_the_attention_of_a_clip(toy_clip, tmp_path, street):
    words = ["road", "sky"]
    plain = Segmenter.from_pretrained(toy_clip, dtype="float32")
    asking = Segmenter.from_pretrained(with_kernel(shutil.copytree(toy_clip, tmp_path / "clip")), dtype="float32")
    config = asking.clip.model.config
    assert {one._attn_implementation for one in (config, config.text_config, config.vision_config)} == {"sdpa"}
    assert (asking(street, words).labels == plain(street, words).labels).all()


@pytest.mark.parametrize("kind", models.GUIDES)
def test_the_config_does_not_choose_the_attention_of_a_guide(tmp_path, kind):
    guide = load_guide(str(with_kernel(models.folder(tmp_path, kind))), torch.device("cpu"), torch.float32)
    assert guide.model.config._attn_implementation == "sdpa"


def test_a_tokenizer_of_wrong_shape_is_told_as_the_model_s(segment, toy_clip, tmp_path, street):
    folder = shutil.copytree(toy_clip, tmp_path / "clip")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": {"a": None}}))
    assert "has no tokenizer that opens" in complaint(segment(street, *WORDS, "--clip", folder))


# paths ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["../../x", "/x", "a/b"])
def test_a_method_does_not_name_a_folder_elsewhere(evaluate, tmp_path, method):
    (tmp_path / "deep/er").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    told = complaint(evaluate("--methods", f"sclip,{method}", "--out", "deep/er/runs"))
    assert method in told and "method" in told
    assert set(tmp_path.rglob("*")) == before


@posix
def test_a_pipe_in_the_cache_holds_nobody_up(segment, street, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "cache"))
    done(segment(street, *WORDS))
    kept = list((tmp_path / "cache").rglob("*.safetensors"))
    for path in kept:
        path.unlink()
        os.mkfifo(path)
    result = segment(street, *WORDS)
    assert result.exit_code == 0 and "text embeddings are not kept" in result.stderr and kept


# ends ----------------------------------------------------------------------------------------------------------------

INTERRUPTED_AT_ONCE = """
import _thread, builtins, os, signal, sys
import segloop.__main__ as program

real, count = builtins.__import__, int(sys.argv.pop(1))

def counting(*words, **more):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return real(*words, **more)

builtins.__import__ = counting
program.main()
"""


@posix
@pytest.mark.parametrize("imports", [1, 40, 400, 1000])
def test_ctrl_c_while_the_program_is_imported(imports):
    command = [sys.executable, "-c", INTERRUPTED_AT_ONCE, str(imports), "methods"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs inherit deaf ears
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=heard)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "stopped by Ctrl-C; nothing was begun\n"


@posix
def test_ctrl_c_of_who_ignores_it_is_ignored(start):
    process = start("--version", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    for _ in range(5):
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[0].startswith("segloop ") and process.returncode == 0


@posix
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["segment", "--help"], ["methods", "--json"]])
def test_a_full_device_and_closed_streams(words):
    command = [sys.executable, "-m", "segloop", *words]
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
        assert ended.returncode == 1 and "the disk is full" in sentence(ended.stderr)
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], timeout=120)
    assert closed.returncode == 0


@posix
def test_an_ascii_terminal_and_words_beyond_it(toy_clip, street, tmp_path):
    words = ["segment", street, "--classes", "grass \N{HERB}, s\u00e4nd", "--clip", toy_clip, "--templates", "plain"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "segloop", *map(str, words)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert ended.returncode == 0 and ended.stdout.isascii() and ended.stderr.isascii()
    assert ended.stderr.startswith(b"'s\\xe4nd' may not be English")


# one large photo -----------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path):
    """5,000 x 4,000 one-bit pixels in a few kilobytes."""
    Image.new("1", (5000, 4000)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


def test_memory_is_asked_before_a_large_photo_is_decoded(segment, large, street, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 2**29)
    told = complaint(segment(large, *WORDS), 1)
    assert "is 5000x4000, 20 million pixels: segmenting it takes about 0.7 GiB, and 0.5 are free" in told
    assert "SEGLOOP_MAX_PIXELS=20000000" in told
    result = segment(large, street, *WORDS)
    assert result.exit_code == 3 and "1 of 2 photos done" in result.stderr
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "20000000")
    assert read_image(large).shape == (4000, 5000, 3)
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "19999999")
    assert "more pixels than is safe to open (20); make it smaller first, or allow more" in complaint(
        segment(large, *WORDS)
    )
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "many")
    assert "SEGLOOP_MAX_PIXELS='many' is no number of pixels" in complaint(segment(large, *WORDS))


def test_pillow_s_own_limit_can_be_raised(large, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    with pytest.raises(Exception, match=r"more pixels than is safe to open; .*SEGLOOP_MAX_PIXELS=PIXELS"):
        read_image(large)
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "30000000")
    assert read_image(large).shape == (4000, 5000, 3) and Image.MAX_IMAGE_PIXELS == 5_000_000


def test_free_memory_is_the_least_that_is_told(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4000 kB\n")
    (tmp_path / "max").write_text("3000000\n")
    (tmp_path / "current").write_text("1000000\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", ())
    assert memory.free_memory() == 4_096_000
    monkeypatch.setattr(memory, "GROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory.free_memory() == 2_000_000
    (tmp_path / "max").write_text("max\n")
    assert memory.free_memory() == 4_096_000
    monkeypatch.setattr(room, "free_memory", lambda: None)
    room.check_room("a", 10_000, 10_000)
    monkeypatch.setattr(room, "free_memory", lambda: 10**9)
    with pytest.raises(TooLargeError):
        room.check_room("a", 10_000, 10_000)
