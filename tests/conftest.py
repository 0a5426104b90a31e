"""What tests share: no network, a cache of their own, a toy CLIP and two small photos."""

import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from typer.testing import CliRunner

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

settings.register_profile("segloop", derandomize=True, deadline=None)  # the same cases on every run and machine
settings.load_profile("segloop")

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = [("c", "a"), ("ca", "r</w>"), ("r", "o"), ("ro", "a"), ("roa", "d</w>"), ("s", "k"), ("sk", "y</w>")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What fixtures draw depends on the test alone, not on what ran before it in the same process."""
    seed(f"{item.nodeid} fixtures")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """What the test draws."""
    seed(item.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> None:
    """Fixtures that tests share are drawn alike, whichever test comes first."""
    if fixturedef.scope != "function":
        seed(f"{fixturedef.baseid} {fixturedef.argname}")


def seed(name: str) -> None:
    """Every generator that is nobody's own starts at a number of this name."""
    number = zlib.crc32(name.encode())
    random.seed(number)
    np.random.seed(number)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(number)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Text embeddings of the tests stay out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGLOOP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads that wait for each other take a hundred times the work itself."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a CLIP of random weights, always the same, that works on 64 pixels. Read only."""
    return write_toy_clip(tmp_path_factory.mktemp("models") / "toy")


def write_toy_clip(folder: Path) -> Path:
    """That folder, anywhere."""
    import torch
    from transformers import CLIPModel

    tokenizer = toy_tokenizer()
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = CLIPModel(toy_config(tokenizer))
        for weight in model.parameters():  # the usual start leaves towers so flat that every method agrees
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    (folder / "segloop.json").write_text(json.dumps({"method": "naclip", "short_side": 64, "crop": 64, "stride": 32}))
    return folder


def toy_tokenizer():
    """Byte-level BPE with a few merges: every text has tokens, some words have one."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in MERGES), START, END]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=MERGES, model_max_length=77)


def toy_config(tokenizer):
    from transformers import CLIPConfig

    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 77, "projection_dim": 16}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"image_size": 64, "patch_size": 8, "projection_dim": 16}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small photos: street.jpg (96x128, height x width) and meadow.png (80x64). Read only."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for name, (height, width) in {"street.jpg": (96, 128), "meadow.png": (80, 64)}.items():
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def street(photos: Path) -> Path:
    return photos / "street.jpg"


@pytest.fixture
def meadow(photos: Path) -> Path:
    return photos / "meadow.png"


@pytest.fixture
def segloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command line in this process, inside `tmp_path`: segloop("segment", photo, ...) -> click's Result."""
    from segloop.cli import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="segloop")
        if not isinstance(result.exception, (SystemExit, type(None))):
            raise result.exception
        return result

    return run


@pytest.fixture
def segment(segloop, toy_clip: Path):
    """`segloop segment` with the toy model and plain words: segment(photo, "--classes", ...) -> click's Result."""

    def run(*arguments: object):
        return segloop("segment", "--clip", toy_clip, "--templates", "plain", *arguments)

    return run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of ten small scenes. Read only."""
    from segloop.scenes.draw import write_scenes

    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    write_scenes(folder, 10, 3, (48, 64))
    return folder


@pytest.fixture
def evaluate(segloop, toy_clip: Path, drawn: Path):
    """`segloop evaluate scenes` with the toy model: evaluate("--out", folder, ...) -> click's Result."""

    def run(*arguments: object, key: str = "scenes", data: object = drawn):
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1)
        return segloop("evaluate", key, "--data", data, *clip, *arguments)

    return run


@pytest.fixture
def start(tmp_path: Path):
    """The command line as a process of its own, inside `tmp_path`, killed at the end of the test."""
    started: list[subprocess.Popen] = []

    def run(*arguments: object, python: tuple[str, ...] = (), **options) -> subprocess.Popen:
        command = [sys.executable, *python, "-m", "segloop", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
        started.append(subprocess.Popen(command, **pipes | options))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()
