"""The hub, as it answers and as it fails: asked once, and what was fetched earlier is used where it cannot be asked."""

import json
import os
import shutil
import socket
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

import models
import openclip
from command import WORDS, complaint, done
from hub import COMMIT, Hub, closed_port, keep
from segloop.backbones import hub as asking
from segloop.backbones import names
from segloop.backbones.families import load_clip
from segloop.backbones.loading import resolve
from segloop.errors import ModelError

SMALL = ("--templates", "plain", "--set", "short_side=64", "--set", "crop=64", "--set", "stride=64")
NAME = "some/clip"
PORTAL = (200, {"Content-Type": "text/html"}, b"<html><body>Welcome! Please log in.</body></html>")


@pytest.fixture(autouse=True)
def nothing_asked_yet(monkeypatch):
    """Every test is a process of its own to the hub."""
    asking.answers.forget()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    yield
    asking.answers.forget()


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def point_at(monkeypatch, url: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch, cache):
    """A hub that answers."""
    with Hub().open() as found:
        point_at(monkeypatch, found.url)
        yield found


@pytest.fixture
def attempts(monkeypatch, cache) -> list:
    """No network: whatever would be connected to is listed, and nothing answers."""
    calls: list = []

    def refuse(*arguments, **_):
        calls.append(arguments)
        raise OSError(101, "Network is unreachable")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return calls


@pytest.fixture
def run(segloop, street):
    """`segloop segment` with a model of the hub."""
    return lambda *options, clip=NAME: segloop("segment", street, *WORDS, "--clip", clip, *SMALL, *options)


@pytest.fixture
def kept(cache, toy_clip) -> Path:
    """The toy CLIP, fetched earlier; its segloop.json names naclip."""
    return keep(cache, NAME, "1" * 40, list(toy_clip.iterdir()))


@pytest.fixture(scope="session")
def dino(tmp_path_factory) -> Path:
    return models.folder(tmp_path_factory.mktemp("guides"), "dino")


def method(result) -> str:
    return json.loads(result.stdout)["settings"]["method"]


# a hub that answers --------------------------------------------------------------------------------------------


def test_what_is_fetched_and_what_is_asked(hub, run, toy_clip, cache):
    hub.add(NAME, toy_clip, **{"README.md": b"words", "flax_model.msgpack": b"x" * 10})
    first = done(run("--json"))
    assert method(first) == "naclip"  # of the model's own segloop.json
    snapshot = cache / "models--some--clip/snapshots" / COMMIT
    assert {path.name for path in snapshot.iterdir()} == {path.name for path in toy_clip.iterdir()}
    assert (snapshot.parents[1] / "refs/main").read_text() == COMMIT
    assert sum("/api/" in line for line in hub.asked) == 1
    hub.asked.clear()
    asking.answers.forget()
    again = done(run("--json", "--out", "again"))
    assert hub.asked == [f"GET /api/models/{NAME}/revision/main?blobs=true"]
    hub.asked.clear()
    offline = done(run("--json", "--offline", "--out", "offline"))
    assert not hub.asked
    assert method(again) == method(offline) == "naclip"
    maps = [Path(out, "street.png").read_bytes() for out in ("segloop-out", "again", "offline")]
    assert maps[0] == maps[1] == maps[2]


def test_a_process_asks_once(hub, toy_clip):
    hub.add(NAME, toy_clip)
    assert resolve(NAME) == resolve(NAME)
    assert sum("/api/" in line for line in hub.asked) == 1


def test_weights_wait_until_the_kind_is_known(hub, run, toy_clip):
    hub.add(NAME, toy_clip, "config.json", **{"config.json": b'{"model_type": "siglip2"}'})
    told = complaint(run())
    assert "is of type 'siglip2', not 'clip'" in told
    assert not any("model.safetensors" in line for line in hub.asked)


def test_a_lone_bin_of_the_hub(hub, run, toy_clip, tmp_path):
    torch.save(load_file(toy_clip / "model.safetensors"), tmp_path / "weights")
    more = {"pytorch_model.bin": (tmp_path / "weights").read_bytes()}
    hub.add(NAME, toy_clip, "model.safetensors", **more)
    done(run("--out", "bin"))
    hub.add("some/safe", toy_clip)
    done(run("--out", "safe", clip="some/safe"))
    assert Path("bin/street.png").read_bytes() == Path("safe/street.png").read_bytes()


def sharded(folder: Path, target: Path) -> Path:
    """The same model in two parts behind an index."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("model.safetensors"))
    weights = load_file(folder / "model.safetensors")
    parts = {f"model-0000{n}-of-00002.safetensors": sorted(weights)[n - 1 :: 2] for n in (1, 2)}
    for part, keys in parts.items():
        save_file({key: weights[key] for key in keys}, target / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: part for part, keys in parts.items() for key in keys}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


def test_weights_in_parts(hub, run, toy_clip, tmp_path, cache):
    hub.add(NAME, sharded(toy_clip, tmp_path / "parts"))
    done(run())
    assert len([*cache.glob("*/snapshots/*/model-0000*")]) == 2
    os.remove(next(cache.glob("*/snapshots/*/model-00002*")))
    asking.answers.forget()
    done(run("--out", "mended"))  # what is missing is fetched, nothing else
    asking.answers.forget()
    os.remove(next(cache.glob("*/snapshots/*/model-00002*")))
    assert "of model 'some/clip' only a part is on this machine" in complaint(run("--offline"))


def test_a_new_commit_is_taken_and_an_old_one_where_it_breaks_off(hub, run, toy_clip, kept, cache):
    hub.add(NAME, toy_clip, "segloop.json", **{"segloop.json": b'{"method": "sclip", "crop": 64, "stride": 64}'})
    assert method(done(run("--json"))) == "sclip"
    assert method(done(run("--json", "--offline"))) == "sclip"


def test_downloads_that_break_off_leave_the_older_commit(hub, run, toy_clip, kept, cache):
    changed = (toy_clip / "model.safetensors").read_bytes() + b""
    hub.add(NAME, toy_clip, "segloop.json", "model.safetensors")
    hub.files[NAME] |= {"segloop.json": b'{"method": "sclip"}', "model.safetensors": changed}
    hub.failure, hub.broken_downloads = (403, {}, b"no"), True
    result = run("--json")
    assert result.exit_code == 0 and method(result) == "naclip"
    assert "the hub does not give some/clip again (it is not given to you, 403)" in result.stderr
    assert method(done(run("--json", "--offline"))) == "naclip"


def test_a_large_download_is_told(hub, run, toy_clip, monkeypatch):
    monkeypatch.setattr(asking, "LARGE", 1000)
    hub.add(NAME, toy_clip)
    result = run()
    assert result.exit_code == 0 and "fetching some/clip from the hub, " in result.stderr
    assert "warning" not in result.stderr


# a hub that cannot be asked ------------------------------------------------------------------------------------

FAILURES = {
    "unauthorised": ((401, {}, b""), "does not give some/clip again"),
    "token": ((401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""), "your token, 401"),
    "gated": ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), "it is gated"),
    "forbidden": ((403, {}, b"Forbidden by policy"), "does not give some/clip again (it is not given to you, 403)"),
    "gone": ((404, {"X-Error-Code": "RepoNotFound"}, b"{}"), "the hub has none of this name, 404"),
    "not found": ((404, {}, b"not here"), "the hub has none of this name, 404"),
    "too often": ((429, {}, b""), "answers 429: it is asked too often"),
    "broken": ((500, {}, b""), "answers 500: it has trouble of its own"),
    "busy": ((503, {}, b"<html>"), "answers 503"),
    "proxy": ((407, {}, b""), "answers 407: the proxy wants a name"),
    "portal": (PORTAL, "is not the hub"),
    "other json": ((200, {}, b"[1, 2]"), "is not the hub"),
    "empty json": ((200, {}, b"{}"), "is not the hub"),
    "strange commit": ((200, {}, b'{"sha": "../../x", "siblings": []}'), "is not the hub"),
    "strange list": ((200, {}, json.dumps({"sha": COMMIT, "siblings": 5}).encode()), "is not the hub"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_was_fetched_is_used_after_one_attempt(hub, run, kept, case):
    hub.failure, words = FAILURES[case]
    result = run("--json")
    assert result.exit_code == 0 and method(result) == "naclip"
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: ") and words in line and "what was fetched earlier is used" in line
    assert len(hub.asked) == 1


REMEDIES = {
    "unauthorised": "run `hf auth login`",
    "token": "unset HF_TOKEN",
    "gated": "ask for access on https://huggingface.co/some/clip",
    "forbidden": "whether a proxy forbids it",
    "gone": "check the name",
    "not found": "check the name",
    "too often": "in some minutes",
    "broken": "try again later",
    "busy": "try again later",
    "proxy": "HTTPS_PROXY",
    "portal": "log in to the network in a browser",
}


@pytest.mark.parametrize("case", REMEDIES)
def test_what_was_never_fetched_is_an_error_with_its_remedy(hub, run, case):
    hub.failure, _ = FAILURES[case]
    told = complaint(run())
    assert "model 'some/clip' cannot be had" in told and REMEDIES[case] in told
    assert len(hub.asked) == 1


def test_a_portal_that_redirects(hub, run, kept):
    hub.failure = (302, {"Location": f"{hub.url}/login"}, b"")
    result = run()
    assert result.exit_code == 0 and "what was fetched earlier is used" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_hub_that_never_answers(hub, run, kept, monkeypatch):
    monkeypatch.setattr(asking, "QUICK", 0.2)
    hub.silent = True
    result = run()
    assert result.exit_code == 0 and "no answer" in result.stderr
    assert len(hub.asked) == 1


def test_a_closed_port(run, kept, monkeypatch):
    point_at(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    result = run()
    assert result.exit_code == 0 and "refused" in result.stderr.lower() and len(result.stderr.splitlines()) == 1


def test_all_models_share_one_failed_attempt(attempts, run, kept, cache, dino):
    keep(cache, "facebook/dino-vitb8", "2" * 40, list(dino.iterdir()))
    result = run("--method", "proxyclip", "--vision", "dino")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert "unreachable" in line and "--offline spares the attempt" in line
    assert len(attempts) == 1


def test_a_guide_that_was_never_fetched(attempts, run, kept):
    result = run("--method", "proxyclip", "--vision", "dino")
    told = result.stderr.splitlines()
    assert result.exit_code == 2 and len(told) == 2
    assert "model 'facebook/dino-vitb8' cannot be had" in told[1] and "`hf download facebook/dino-vitb8`" in told[1]
    assert len(attempts) == 1


def test_no_network_and_nothing_fetched(attempts, run):
    told = complaint(run())
    assert "'some/clip' cannot be had" in told and "check the name and the connection" in told
    assert len(attempts) == 1


def test_only_a_part_was_fetched(attempts, run, cache, toy_clip):
    keep(cache, NAME, "1" * 40, [toy_clip / "config.json"])
    told = complaint(run())
    assert "of model 'some/clip' only a part is on this machine, and no more can be had" in told
    assert len(attempts) == 1


def test_who_tries_again_is_not_told_the_old_answer(attempts, kept, monkeypatch):
    for _ in range(2):
        with pytest.raises(ModelError):
            resolve("some/other")
    assert len(attempts) == 2
    clock = [1000.0]
    monkeypatch.setattr(asking.time, "monotonic", lambda: clock[0])
    with pytest.warns(UserWarning, match="fetched earlier"):
        resolve(NAME)
    with pytest.raises(ModelError):
        resolve("some/third")  # not asked: the hub was away a moment ago
    assert len(attempts) == 3
    asking.answers.forget()
    with pytest.warns(UserWarning, match="fetched earlier"):
        resolve(NAME)
    clock[0] += asking.FORGET + 1
    with pytest.raises(ModelError):
        resolve("some/third")
    assert len(attempts) == 5


@pytest.mark.parametrize("kind", ["safetensors", "bin", "converted"])
def test_what_was_fetched_earlier_opens_offline(attempts, run, toy_clip, cache, tmp_path, kind):
    rest = [file for file in toy_clip.iterdir() if file.name != "model.safetensors"]
    torch.save(load_file(toy_clip / "model.safetensors"), tmp_path / "pytorch_model.bin")
    own = {"safetensors": [toy_clip / "model.safetensors"], "bin": [tmp_path / "pytorch_model.bin"], "converted": []}
    keep(cache, NAME, "0" * 40, [*rest, *own[kind]])
    if kind == "converted":  # the hub's own conversion is another snapshot
        keep(cache, NAME, "1" * 40, [toy_clip / "model.safetensors"], "refs/pr/3")
    result = done(run("--offline", "--json"))
    assert json.loads(result.stdout)["settings"]["model"] == NAME
    assert not attempts


def test_weights_of_another_commit_are_not_mixed_in(attempts, run, toy_clip, cache):
    keep(cache, NAME, "0" * 40, [toy_clip / "config.json"])
    keep(cache, NAME, "1" * 40, [toy_clip / "model.safetensors"], "old")
    assert "of model 'some/clip' only a part is on this machine" in complaint(run("--offline"))


def test_a_hub_that_is_switched_off(monkeypatch, attempts, run, kept):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert method(done(run("--json"))) == "naclip"
    told = complaint(run(clip="nobody/no-such-clip"))
    assert "'nobody/no-such-clip' is not on this machine" in told and "`hf download nobody/no-such-clip`" in told
    assert not attempts


def test_offline_never_asks(attempts, run, kept):
    assert method(done(run("--json", "--offline"))) == "naclip"
    assert "'some/other' is not on this machine" in complaint(run("--offline", clip="some/other"))
    assert not attempts


def test_the_newest_whole_snapshot_counts_where_main_is_a_part(attempts, run, kept, cache, toy_clip):
    newer = cache / "models--some--clip/snapshots" / ("2" * 40)
    newer.mkdir()
    shutil.copy(toy_clip / "config.json", newer)
    (cache / "models--some--clip/refs/main").write_text("2" * 40)
    assert method(done(run("--json", "--offline"))) == "naclip"


def test_an_evaluation_asks_once(hub, evaluate, toy_clip):
    hub.add(NAME, toy_clip)
    result = evaluate("--out", "run", "--clip", NAME, "--limit", 2, "--method", "naclip")
    assert result.exit_code == 0, result.output
    assert sum("/api/" in line for line in hub.asked) == 1


def test_as_a_process_of_its_own(start, kept, cache, street, tmp_path):
    port = closed_port()
    more = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_CACHE": str(cache)}
    process = start("segment", street, *WORDS, "--clip", NAME, *SMALL, env={**os.environ, **more})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "street.overlay.png" in out
    (line,) = err.splitlines()
    assert f"127.0.0.1:{port}" in line and "what was fetched earlier is used" in line


def test_a_cache_that_cannot_be_written(hub, run, toy_clip, monkeypatch, tmp_path):
    hub.add(NAME, toy_clip)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file/hub"))
    told = complaint(run())
    assert "cannot be had (" in told and "cannot be written); set HF_HOME to a folder that can" in told


def test_a_repository_of_openclip(hub, run, toy_clip, tmp_path, cache):
    folder = openclip.write(tmp_path / "open", CLIPModel.from_pretrained(toy_clip))
    words = {file: (toy_clip / file).read_bytes() for file in ("tokenizer.json", "tokenizer_config.json")}
    hub.add(NAME, folder, **words, **{openclip.OLD: b"not asked for"})
    hub.files[NAME]["config.json"] = b'{"architecture": "vit_base_patch8_clip_64"}'  # as timm adds it
    naclip = ("--method", "naclip", "--json")
    done(run(*naclip))
    snapshot = cache / "models--some--clip/snapshots" / COMMIT
    wanted = {"config.json", "open_clip_config.json", openclip.SAFE, *words}
    assert {path.name for path in snapshot.iterdir()} == wanted
    del hub.files[NAME]["config.json"]
    for more in ((), ("--offline",)):
        (snapshot / "config.json").unlink(missing_ok=True)
        asking.answers.forget()
        hub.asked.clear()
        done(run(*naclip, "--out", f"again{len(more)}", *more))
        assert not any(openclip.SAFE in line for line in hub.asked)
    assert Path("again1/street.png").read_bytes() == Path("segloop-out/street.png").read_bytes()


# models of the hub that segloop does not open -------------------------------------------------------------------


def test_a_repository_for_openclip_alone(hub, run):
    hub.files["apple/some-CLIP-ViT-B-16"] = {"open_clip_config.json": b"{}", "open_clip_pytorch_model.bin": b"x"}
    told = complaint(run(clip="apple/some-CLIP-ViT-B-16"))
    assert "has no model_cfg; fetch it again, or give openai/clip-vit-base-patch16" in told
    hub.files["timm/vit_large_patch14_clip_336.openai"] = {
        "open_clip_config.json": b"{}",
        "config.json": b'{"architecture": "vit"}',
    }
    assert "give openai/clip-vit-large-patch14-336" in complaint(run(clip="timm/vit_large_patch14_clip_336.openai"))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model.fp16.safetensors", ["a variant, model.fp16.safetensors", "`hf download some/clip --local-dir DIR`"]),
        ("tf_model.h5", ["TensorFlow only"]),
        ("onnx/model.onnx", ["ONNX weights only"]),
        ("clip-q4.gguf", ["GGUF weights only"]),
        ("adapter_model.safetensors", ["PEFT adapter", "merge"]),
        ("README.md", ["has no weights"]),
    ],
)
def test_a_repository_without_weights_that_open(hub, run, toy_clip, file, words):
    hub.add(NAME, toy_clip, "model.safetensors", **{file: b"x"})
    told = complaint(run())
    assert all(word in told for word in words), told


def test_a_repository_of_sentence_transformers(hub, run):
    name = "sentence-transformers/clip-ViT-B-32"
    hub.files[name] = {"modules.json": b"[]", "0_CLIPModel/config.json": b"{}"}
    assert "give openai/clip-vit-base-patch32" in complaint(run(clip=name))


def test_a_name_close_to_a_known_one(hub, run):
    assert "give openai/clip-vit-base-patch16, if that is meant" in complaint(run(clip="openai/clip-vit-basse-patch16"))
    assert "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in complaint(run(clip="laion/CLIP-ViT-H-14-laion2B"))
    assert names.nearest_model("someone/other") is None


def test_how_pixels_are_normalised_comes_with_the_model(hub, toy_clip):
    said = json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.4, 0.3]}).encode()
    hub.add(NAME, toy_clip, **{"preprocessor_config.json": said})
    assert load_clip(NAME, torch.device("cpu"), torch.float32).normalisation.std == (0.5, 0.4, 0.3)
