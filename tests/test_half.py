"""Which precision is chosen where nobody says, and that float16 is tried before it is trusted. No GPU is needed."""

from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPModel, ViTModel

from golden import Case, cases
from models import folder
from segloop import Segmenter, Vocabulary
from segloop.backbones import half
from segloop.backbones.device import pick_dtype, pick_dtypes
from segloop.backbones.families import load_clip
from segloop.backbones.half import first_that_fits, fits, trial_windows
from segloop.backbones.vision import load_guide
from segloop.errors import ModelError, OptionError
from segloop.images import CLIP, Normalisation
from segloop.line import opening
from tolerances import U

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))
F16, B16, F32 = torch.float16, torch.bfloat16, torch.float32


# --- the choice ---


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_a_gpu_gets_float16_and_float32_where_that_overflows(device):
    assert pick_dtypes("auto", device, "default") == (F16, F32)
    assert pick_dtype("auto", device, "default") == F16


@pytest.mark.parametrize(("avx", "amx", "chosen"), [(True, False, B16), (False, True, B16), (False, False, F32)])
def test_a_cpu_gets_bfloat16_where_it_is_fast_at_it(monkeypatch, avx, amx, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert pick_dtypes("auto", CPU, "default") == (chosen,)


@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
def test_what_is_said_is_done_untried(device):
    for name, dtype in {"float16": F16, "bfloat16": B16, "float32": F32, F16: F16}.items():
        assert pick_dtypes(name, device, "default") == (dtype,)
    assert pick_dtypes("auto", device, "reference") == pick_dtypes("float32", device, "reference") == (F32,)
    with pytest.raises(OptionError, match="reference fidelity with float16"):
        pick_dtypes("float16", device, "reference")
    with pytest.raises(OptionError, match="unknown dtype 'half'"):
        pick_dtypes("half", device, "default")


def test_the_first_that_fits_is_taken_and_the_last_is_not_tried(monkeypatch):
    tried, opened = [], []

    def trial(tower, guide):
        tried.append(tower)
        return tower == B16

    def open_pair(dtype):
        opened.append(dtype)
        return dtype, None

    monkeypatch.setattr(half, "fits", trial)
    assert first_that_fits((F16, B16, F32), open_pair) == (B16, None)
    assert (tried, opened) == ([F16, B16], [F16, B16])
    assert first_that_fits((F16, F32), open_pair) == (F32, None)
    assert first_that_fits((F16,), open_pair) == (F16, None)
    assert tried == [F16, B16, F16]


# --- the trial ---


def test_trial_windows_hold_the_extremes_of_every_channel():
    for how in (CLIP, Normalisation((0.5, 0.4, 0.3), (0.5, 0.6, 0.7))):
        windows = trial_windows(48, how)
        assert windows.shape == (5, 3, 48, 48)
        for channel, (mean, std) in enumerate(zip(how.mean, how.std, strict=True)):
            assert windows[:, channel].min().item() == pytest.approx(-mean / std, rel=8 * U[F32])
            assert windows[:, channel].max().item() == pytest.approx((1 - mean) / std, rel=8 * U[F32])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("half")


@pytest.fixture(scope="module")
def loud(root):
    """Folders of a CLIP and of a guide whose inner numbers pass 65504: `up` in a block's MLP, undone behind it."""
    for name, kind, layers in (
        ("b16", CLIPModel, lambda model: model.vision_model.encoder.layers),
        ("dino", ViTModel, lambda model: model.layers),
    ):
        model = kind.from_pretrained(folder(root, name)).requires_grad_(False)
        mlp = layers(model)[0].mlp
        mlp.fc1.weight *= 1e5
        mlp.fc1.bias *= 1e5
        mlp.fc2.weight *= 1e-5
        model.save_pretrained(root / f"loud-{name}")
    return root


def clip(path, dtype):
    return load_clip(str(path), CPU, dtype)


def guide(path, dtype):
    return load_guide(str(path), CPU, dtype)


def test_ordinary_networks_fit(root):
    assert fits(clip(folder(root, "b16"), F16), None)
    assert fits(clip(folder(root, "l14"), F16), guide(folder(root, "dino"), F16))


def test_networks_that_overflow_do_not(loud):
    assert not fits(clip(loud / "loud-b16", F16), None)
    assert not fits(clip(folder(loud, "b16"), F16), guide(loud / "loud-dino", F16))
    assert fits(clip(loud / "loud-b16", F32), guide(loud / "loud-dino", F32))


def test_blocks_that_come_near_the_end_do_not_fit_though_all_is_finite(root):
    tower = clip(folder(root, "b16"), F16)
    tower.model.vision_model.encoder.layers[1].mlp.fc2.bias.data[0] = 30000
    x, _ = tower.tokens(trial_windows(224))
    assert x.isfinite().all()
    assert not fits(tower, None)


def test_an_error_of_the_network_is_no_fit():
    def raises(*arguments):
        raise ModelError("no numbers", "fetch it again")

    assert not fits(SimpleNamespace(patch=16, device=CPU, depth=3, normalisation=CLIP, tokens=raises), None)


# --- the whole ---


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """`auto` chooses as on CUDA, computed here."""
    monkeypatch.setattr(opening, "pick_dtypes", lambda dtype, device, fidelity: pick_dtypes(dtype, CUDA, fidelity))


def test_a_segmenter_takes_float16_unless_a_network_overflows(loud, as_on_a_gpu):
    def dtype(clip, guide=None, **options):
        method = {"method": "proxyclip", "vision": guide} if guide else {"method": "naclip"}
        opened = Segmenter.from_pretrained(clip, **method, **options)
        assert guide is None or opened.network.guide.dtype == opened.clip.dtype
        return opened.clip.dtype

    quiet, quiet_guide = folder(loud, "b16"), folder(loud, "dino")
    assert dtype(quiet) == dtype(quiet, quiet_guide) == F16
    assert dtype(loud / "loud-b16") == dtype(quiet, loud / "loud-dino") == F32
    assert dtype(quiet, fidelity="reference") == F32
    assert dtype(loud / "loud-b16", dtype="float16") == F16  # said, so done


HALF = ("naclip_windows", "fsa_dino_336", "sfp_som_area", "fsa_off_dino_336")


@pytest.mark.parametrize("case", [case for case in cases("B_end_to_end") if str(case) in HALF], ids=str)
def test_labels_in_float16_agree_with_float32_on_99_percent(case: Case):
    manifest, arrays, recipe = case.manifest, case.arrays, case.manifest["recipe"]
    vocabulary = Vocabulary(
        [f"c{i}" for i in range(manifest["classes"])],
        background=0 if recipe["background_threshold"] or recipe["area_threshold"] else None,
        embeddings=torch.from_numpy(arrays["text"]),
        query_index=torch.from_numpy(arrays["query_index"]),
    )
    found = []
    for dtype in ("float32", "float16"):
        opened = Segmenter.from_pretrained(
            case.beside(manifest["clip_model"]),
            method=manifest["method"],
            host=manifest["host"],
            vision=manifest["vision_model"] and case.beside(manifest["vision_model"]),
            dtype=dtype,
            **recipe,
        )
        found.append(opened(case.beside(manifest["image"]), vocabulary).labels)
    assert (found[0] == found[1]).mean() >= 0.99
