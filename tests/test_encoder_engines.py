"""Engines of the encoders: the same numbers as torch where they are exact, few other labels where they are not."""

import json

import pytest
import torch

from command import complaint
from models import folder, pixels, text_rows
from segloop import Segmenter
from segloop.backbones import engines, onnxed
from segloop.backbones.engines import ENGINES, names_of
from segloop.backbones.families import load_clip
from segloop.backbones.shared import Models
from segloop.errors import Notice, OptionError
from segloop.line import agreement, engined
from segloop.line.segmenter import Segmenter as Whole
from segloop.runs.engines import split
from tolerances import NETWORK

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = {"short_side": 64, "crop": 64, "stride": 32, "dtype": "float32"}
WIDTH = 16  # of the toy's joint embedding


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def opened(clip, **options) -> Whole:
    return Segmenter.from_pretrained(clip, **SIZE, **options)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("method", [pytest.param("sfp", marks=pytest.mark.soak), "proxyclip"])
def test_an_exact_engine_gives_the_same_cosines(toy_clip, root, method, engine, recwarn):
    options = {"vision": folder(root, "dino")} if method == "proxyclip" else {}
    x, text = pixels(3, 3, 64, 64), text_rows(5, WIDTH)
    expected = opened(toy_clip, method=method, **options)
    found = opened(toy_clip, method=method, engine=engine, **options)
    assert found.network.engines == (engine,) * (1 + len(options))
    assert f", engine {engine}" in repr(found) and ", engine" not in repr(expected)
    apart = (found.logits(x, text) - expected.logits(x, text)).abs().max()
    assert 0 < apart <= NETWORK  # 0: no engine has run
    other = x[:1, :, :, :40]  # whatever the window
    assert (found.logits(other, text) - expected.logits(other, text)).abs().max() <= NETWORK
    assert not [one for one in recwarn if issubclass(one.category, Notice)]


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_states_of_blocks_and_opened_ones(toy_clip, engine):
    plain, made = (load_clip(str(toy_clip), torch.device("cpu"), torch.float32) for _ in range(2))
    made, name = engines.tower_on(engine, made, 1, Models())
    assert name == engine
    x = pixels(2, 3, 40, 64)
    for keep, opened_blocks in (((), 1), ((0, 1), 1), ((0, 1, 2), 1), ((0,), 2), ((), 3)):
        (last, kept), (here, own) = plain.tokens(x, keep, opened_blocks), made.tokens(x, keep, opened_blocks)
        assert own.keys() == kept.keys()
        for one, other in ((last, here), *((kept[number], own[number]) for number in kept)):
            assert (one - other).abs().max() <= NETWORK * one.abs().max()


def test_openvino_computes_in_the_precision_of_the_networks(toy_clip, root):
    x, text = pixels(2, 3, 64, 64), text_rows(5, WIDTH)
    half = {**SIZE, "dtype": "bfloat16", "method": "proxyclip", "vision": folder(root, "dino")}
    plain, found = (Segmenter.from_pretrained(toy_clip, engine=engine, **half) for engine in ("eager", "openvino"))
    assert found.network.engines == ("openvino", "openvino") and found.clip.dtype == torch.bfloat16
    exact = opened(toy_clip, **{key: half[key] for key in ("method", "vision")}).logits(x, text)
    off, own = ((one.logits(x, text) - exact).abs().max() for one in (found, plain))
    assert NETWORK < off <= 3 * own, "as far from float32 as torch's halves, about"
    assert {one.dtype for one in found.clip.tokens(x, (0, 1, 2))[1].values()} == {torch.bfloat16}


def test_openvino_computes_only_what_is_wanted(toy_clip):
    tower = load_clip(str(toy_clip), torch.device("cpu"), torch.float32)
    made, _ = engines.tower_on("openvino", tower, 1, Models())
    runner, depth = made.blocks.runner, tower.depth - 1
    assert runner.outputs == (depth - 1,)
    made.tokens(pixels(1, 3, 64, 64), (1,))
    assert runner.outputs == (0, depth - 1)


@pytest.mark.soak
def test_files_are_kept_and_made_anew_where_they_are_damaged(toy_clip, monkeypatch):
    tower = load_clip(str(toy_clip), torch.device("cpu"), torch.float32)
    write, run, made, used = onnxed.write_down, onnxed.session_of, [], []
    engines.tower_on("onnx", tower, 1, Models())
    monkeypatch.setattr(onnxed, "write_down", lambda *given: made.append(1) or write(*given))
    monkeypatch.setattr(onnxed, "session_of", lambda path: used.append(path) or run(path))
    assert engines.tower_on("onnx", tower, 1, Models())[1] == "onnx" and not made
    (place,) = used
    place.write_bytes(place.read_bytes()[:100])
    assert engines.tower_on("onnx", tower, 1, Models())[1] == "onnx" and made == [1] and used[-1] == place
    assert not list(place.parent.parent.glob(".part*"))


@pytest.mark.soak
def test_int8_keeps_the_labels_of_the_bundled_model():
    how = {"method": "sclip", "short_side": 128, "crop": 128, "stride": 64, "dtype": "float32"}
    with pytest.warns(Notice, match=r"int8 keeps (99\.\d|100\.0) % of float32's labels on 3 drawn scenes"):
        found = Segmenter.from_pretrained("tiny", engine="int8", **how)
    assert found.network.engines == ("int8",)


def test_int8_does_not_look_at_neighbours(toy_clip, monkeypatch):
    monkeypatch.setattr(engined, "check_labels", lambda plain, other: None)  # random weights keep too few
    found, expected = (opened(toy_clip, method="sclip", engine=engine) for engine in ("int8", "eager"))
    x, text = pixels(2, 3, 64, 64), text_rows(5, WIDTH)
    together = found.logits(x, text)
    assert NETWORK < (together - expected.logits(x, text)).abs().max() < 0.3
    # What torch does around the engine's windows may add in another order; the engine's own scales stay.
    alone = torch.cat([found.logits(x[:1], text), found.logits(x[1:], text)])
    assert (together - alone).abs().max() <= NETWORK


def test_int8_that_changes_labels_is_refused_with_the_figure(toy_clip, monkeypatch):
    monkeypatch.setattr(agreement, "agreement", lambda plain, other: 0.9471)
    monkeypatch.setattr(agreement, "recall", lambda *_: None)
    monkeypatch.setattr(agreement, "keep", lambda *_: None)
    with pytest.raises(OptionError, match=r"keeps 94\.7 % of .*, fewer than 98%; use engine onnx"):
        opened(toy_clip, method="sclip", engine="int8")


def test_what_an_engine_cannot_run_stays_with_torch(toy_clip, root, monkeypatch):
    x, text = pixels(1, 3, 64, 64), text_rows(3, WIDTH)
    with pytest.warns(Notice, match="engine onnx does not run .*dinov3.* has no place for one"):
        found = opened(toy_clip, method="proxyclip", vision=folder(root, "dinov3"), engine="onnx")
    assert found.network.engines == ("onnx", "eager") and ", engine onnx/eager" in repr(found)

    def broken(work):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setitem(ENGINES, "compile", engines.Engine("", broken))
    with pytest.warns(Notice, match=r"does not run .* \(RuntimeError: no compiler\); torch does"):
        found = opened(toy_clip, method="sclip", engine="compile")
    assert found.network.engines == ("eager",) and ", engine" not in repr(found)
    assert torch.equal(found.logits(x, text), opened(toy_clip, method="sclip").logits(x, text))
    wrong = engines.Engine("", lambda work: lambda x, wanted: [1.01 * one for one in [x] * len(wanted)])
    monkeypatch.setitem(ENGINES, "compile", wrong)
    with pytest.warns(Notice, match="its numbers are up to .* from torch's"):
        assert opened(toy_clip, method="sclip", engine="compile").network.engines == ("eager",)


def test_auto_takes_the_faster_and_remembers(toy_clip, root, monkeypatch):
    monkeypatch.setattr(engined, "_share", lambda plain, other: 0.5)
    with pytest.warns(Notice, match="engine auto takes openvino for CLIP, 0.50 of torch's time, as timed once here"):
        assert opened(toy_clip, method="clearclip", engine="auto").network.engines == ("openvino",)
    monkeypatch.setattr(engined, "_share", lambda plain, other: pytest.fail("timed again"))
    assert opened(toy_clip, method="clearclip", engine="auto").network.engines == ("openvino",)
    monkeypatch.setattr(engined, "_share", lambda plain, other: 0.97)  # not worth it
    with pytest.warns(Notice, match="engine auto takes none but torch"):
        found = opened(toy_clip, method="proxyclip", vision=folder(root, "dino"), engine="auto")
    assert found.network.engines == ("eager", "eager") and ", engine" not in repr(found)
    assert opened(toy_clip, method="clearclip", engine="auto", fidelity="reference").network.engines == ()
    half = {**SIZE, "dtype": "bfloat16"}
    with pytest.warns(Notice, match="engine auto takes none but torch"):
        found = Segmenter.from_pretrained(toy_clip, method="clearclip", engine="auto", **half)
    assert found.network.engines == ("eager",) and engined._candidates(found.network) == ["openvino"]
    assert engined._candidates(opened(toy_clip, method="clearclip").network) == ["openvino", "onnx"]


def test_what_makes_no_sense_is_refused(toy_clip, monkeypatch):
    for options, told in (
        ({"engine": "onx"}, "there is no engine 'onx'; did you mean 'onnx'"),
        ({"engine": "onnx/int8/eager"}, "names 3"),
        ({"engine": "onnx", "fidelity": "reference"}, "reference fidelity with engine onnx; leave engine at eager"),
        ({"engine": "compile", "fidelity": "reference"}, "reference fidelity with engine compile"),
        ({"engine": "int8", "dtype": "bfloat16"}, "engine int8 computes in float32; leave dtype"),
        ({"engine": "openvino", "dtype": "float16"}, "engine openvino computes in float32 and bfloat16; leave dtype"),
    ):
        with pytest.raises(OptionError, match=told):
            Segmenter.from_pretrained(toy_clip, **options)
    with pytest.raises(OptionError, match="engine onnx runs on the processor, and the device is cuda"):
        engines.precisions_of("onnx", torch.device("cuda"), "auto", (torch.float16, torch.float32), "default")
    half = (torch.device("cpu"), "auto", (torch.bfloat16,), "default")
    for said, known in (("onnx", torch.float32), ("openvino", torch.bfloat16), ("openvino/int8", torch.float32)):
        assert engines.precisions_of(said, *half) == (known,)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"needs onnxruntime and onnx and onnxscript; pip install 'segloop\[onnx\]'"):
        opened(toy_clip, engine="onnx")
    with pytest.raises(OptionError, match=r"needs openvino and .*; pip install 'segloop\[openvino\]'"):
        opened(toy_clip, engine="openvino")
    assert opened(toy_clip, method="sclip", engine="auto").network.engines == ("eager",)


def test_one_option_says_who_works_and_what_runs_the_encoders():
    assert split(None) == ("local", None) and split("ray") == ("ray", None) and split("int8") == ("local", "int8")
    assert split("ray, onnx/eager") == ("ray", "onnx/eager") and names_of("onnx/eager") == ("onnx", "eager")
    for said, told in (("ray,onx", "no engine 'onx'"), ("onnx,int8", "several of one kind"), ("ray,local", "several")):
        with pytest.raises(OptionError, match=told):
            split(said)


def test_records_tell_the_engine(evaluate, tmp_path):
    run = ("--limit", 3, "--out", "run", "--dtype", "float32")
    assert evaluate(*run, "--engine", "onnx").exit_code == 0
    settings = json.loads((tmp_path / "run/run.json").read_text())["settings"]
    assert settings["engine"] == "onnx" and settings["onnxruntime"]
    assert evaluate(*run).exit_code == 0  # where nothing is said, it goes on as it was
    told = evaluate(*run, "--engine", "eager")
    assert told.exit_code == 2 and '--engine "onnx" there, none now' in told.stderr
    assert evaluate("--limit", 3, "--out", "plain").exit_code == 0
    assert "engine" not in json.loads((tmp_path / "plain/run.json").read_text())["settings"]


def test_the_command_line_takes_it(segment, segloop, toy_clip, street):
    done = segment(street, "--classes", "road, sky", "--engine", "onnx", "--json", "--dtype", "float32")
    assert done.exit_code == 0 and json.loads(done.stdout)["settings"]["engine"] == "onnx"
    assert "no engine 'ray'" in complaint(segment(street, "--classes", "road, sky", "--engine", "ray"))
    told = segloop("bench", street, "--clip", toy_clip, "--queries", 2, "--repeats", 1, "--engine", "onnx", "--json")
    record = json.loads(told.stdout)
    assert record["settings"]["engine"] == "onnx" and record["steps"][2]["gflop_per_second"] > 0
