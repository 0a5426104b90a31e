"""Train the bundled CLIP `tiny` on procedural scenes, from a seed, on two processor cores.

    python tools/train_tiny.py --out src/segloop/backbones/tiny --seed 0

The model is an ordinary CLIP. It sees random crops of scenes with captions of what they show, and learns by a
sigmoid contrastive loss: each caption of a batch against each picture of it, true or not. The same loss is applied
to patch embeddings, pooled over the picture, under the attentions that segmentation uses, so patches speak the
language of the captions; no mask enters the loss.
"""

import argparse
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads crawl where the cores are shared

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from segloop.scenes.draw import CLASSES, COLOURS, SHAPES, Scene, scene
from segloop.scenes.textures import GROUNDS
from tiny_captions import (
    ABSENT,
    CONCEPTS,
    CONTEXT,
    PRESENT,
    UNCLEAR,
    Captions,
    build_tokenizer,
    known_words,
    templates,
    truth,
)
from tiny_dense import ATTENTIONS, best_scale, embed, ensemble, evaluate, normalised, tokens

CROP, PATCH, WIDTH, SIZE = 64, 8, 128, (192, 256)
BATCH, UNRELATED, PEAK_RATE, WARM_UP = 64, 16, 1.2e-3, 150
# scenes are told apart by their seed: none that a user makes with a seed below 900 is trained on
TRAINING, EVALUATION = 900_000_000, 990_000_000
DENSE = ["sclip", "kk", "qq", "qq+kk", "clip"]
GEOMETRIES = [(192, 64, 32), (256, 64, 32), (320, 64, 32), (384, 64, 32)]


def main() -> None:
    """Train, judge, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2400, help="about 15 minutes on two cores")
    parser.add_argument("--scenes", type=int, default=3000, help="how many scenes the crops are cut from")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    pool = Pool(render(TRAINING + options.seed * options.scenes, options.scenes, SIZE))
    print(f"{options.scenes} scenes in {time.perf_counter() - start:.0f} s", flush=True)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    print(f"{sum(part.numel() for part in model.parameters()):,} parameters", flush=True)
    train(model, tokenizer, pool, options.steps, options.seed)
    model = model.half().float()  # judged as it is stored
    settings = judge(model, tokenizer)
    save(options.out, model, tokenizer, settings)
    print(f"done in {(time.perf_counter() - start) / 60:.1f} minutes: {options.out}", flush=True)


def render(first: int, count: int, size: tuple[int, int]) -> list[Scene]:
    """`count` scenes of consecutive seeds."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        return list(workers.map(scene, range(first, first + count), [size] * count, chunksize=32))


class Pool:
    """Scenes to cut training pictures from."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.images = [scene.image for scene in scenes]
        self.masks = [scene.mask for scene in scenes]
        self.shapes = [dict(scene.shapes) for scene in scenes]
        self.painted = [np.argwhere(scene.mask[::4, ::4] >= len(GROUNDS)) * 4 for scene in scenes]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """A square cut, resized: picture (CROP, CROP, 3) uint8, status (concepts,), shapes of its colours."""
        index = int(rng.integers(len(self.images)))
        image, mask, shapes = self.images[index], self.masks[index], self.shapes[index]
        height, width = mask.shape
        side = round(math.exp(rng.uniform(math.log(26), math.log(150))))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        painted = self.painted[index]
        if len(painted) and rng.uniform() < 0.4:
            spot = painted[rng.integers(len(painted))] - rng.integers(0, side, 2)
            top, left = int(np.clip(spot[0], 0, height - side)), int(np.clip(spot[1], 0, width - side))
        box = (left, top, left + side, top + side)
        cut = Image.fromarray(image[box[1] : box[3], box[0] : box[2]])
        picture = np.asarray(cut.resize((CROP, CROP), Image.Resampling.BICUBIC))
        if rng.uniform() < 0.5:
            picture = picture[:, ::-1]
        counted = np.bincount(mask[top : top + side, left : left + side].ravel(), minlength=len(CLASSES))
        return varied(rng, picture), status_of(counted / side**2, shapes), shapes


def varied(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Another light, sometimes blur, grain or hardly any texture, for pictures other than our own renderings."""
    if rng.uniform() < 0.15:
        small = Image.fromarray(picture).resize((int(rng.integers(20, 56)),) * 2, Image.Resampling.BILINEAR)
        picture = np.asarray(small.resize((CROP, CROP), Image.Resampling.BILINEAR))
    mean = picture.mean((0, 1))
    light = rng.uniform(0.85, 1.12) * (1 + rng.normal(0, 0.025, 3))
    contrast = rng.uniform(0.55, 1.2) if rng.uniform() < 0.85 else rng.uniform(0.25, 0.55)
    changed = (mean + (picture - mean) * contrast) * light
    if rng.uniform() < 0.25:
        changed = changed + rng.normal(0, rng.uniform(2, 14), changed.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


def status_of(share: np.ndarray, shapes: dict[str, str]) -> np.ndarray:
    """Share of each class in a picture -> which concepts a caption may name (concepts,)."""
    floor = np.where(np.arange(len(CLASSES)) < len(GROUNDS), 0.08, 0.03)
    known = np.where(share >= floor, PRESENT, np.where(share < floor / 8, ABSENT, UNCLEAR))
    status = np.concatenate([known, np.full(len(SHAPES), ABSENT)])
    for tint, shape in shapes.items():
        column = CONCEPTS.index(shape)
        status[column] = max(status[column], known[CLASSES.index(tint)], key=lambda value: (value == 1, value))
    return status


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIPModel of about 1.7 million parameters."""
    shared = {"projection_dim": WIDTH, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH}
    shared |= {"num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    special["pad_token_id"] = tokenizer.pad_token_id
    text = {"num_hidden_layers": 2, "vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    vision = {"num_hidden_layers": 5, "image_size": CROP, "patch_size": PATCH}
    config = CLIPConfig(
        text_config=shared | text | special,
        vision_config=shared | vision,
        projection_dim=WIDTH,
        logit_scale_init_value=math.log(10),
    )
    model = CLIPModel(config)
    model.set_attn_implementation("eager")  # quicker than the fused kernel for 65 tokens on a processor
    for part in model.modules():  # transformers' CLIP init is made for wide models; this is the usual one
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.05)
    return model.train()


def train(model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, steps: int, seed: int) -> None:
    """AdamW with warm-up and cosine decay; the biases of the sigmoid loss are thrown away afterwards."""
    rng = np.random.default_rng([seed, 21])
    captions = Captions(rng)
    bias = nn.Parameter(torch.tensor([-4.0, -4.0]))
    heavy = [part for part in model.parameters() if part.ndim > 1]
    light = [part for part in model.parameters() if part.ndim <= 1]
    groups = [{"params": heavy, "weight_decay": 0.05}, {"params": [*light, bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
    start = shown = time.perf_counter()
    for step in range(steps):
        rate = PEAK_RATE * min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        pixels, ids, answers = batch(pool, captions, tokenizer, rng)
        losses = step_losses(model, bias, pixels, ids, answers, DENSE[step % len(DENSE)])
        optimiser.zero_grad()
        losses.sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if time.perf_counter() - shown > 20 or step in (0, steps - 1):
            shown = time.perf_counter()
            parts = " ".join(f"{value:.4f}" for value in losses.tolist())
            scale = float(model.logit_scale.detach().exp())
            print(f"step {step + 1}/{steps}  {shown - start:.0f} s  loss {parts}  scale {scale:.1f}", flush=True)
    model.eval()


def batch(
    pool: Pool, captions: Captions, tokenizer: CLIPTokenizer, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (B, 3, S, S), token ids (T, L), and which caption is true of which picture (T, B)."""
    drawn = [pool.draw(rng) for _ in range(BATCH)]
    status = np.stack([known for _, known, _ in drawn])
    told = [
        captions.draw([name for name in CLASSES if known[CONCEPTS.index(name)] == PRESENT], shapes)
        for _, known, shapes in drawn
    ]
    told += [captions.unrelated() for _ in range(UNRELATED)]
    ids = tokenizer([text for text, _ in told], padding=True, truncation=True, return_tensors="pt")["input_ids"]
    answers = torch.from_numpy(truth([needs for _, needs in told], status))
    return normalised(np.stack([picture for picture, _, _ in drawn])), ids, answers


def step_losses(model: CLIPModel, bias: Tensor, pixels: Tensor, ids: Tensor, answers: Tensor, attention: str) -> Tensor:
    """The three losses: whole picture; patches without attention; patches under one attention, in turn."""
    with torch.autocast("cpu", torch.bfloat16):
        x = tokens(model, pixels)
        whole = embed(model, x, "clip")[:, 0]
        alone = embed(model, x, "maskclip")[:, 1:]
        mixed = embed(model, x, attention)[:, 1:]
        text = F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output).float(), dim=-1)
    scale = model.logit_scale.exp()
    logits = [scale * text @ whole.T + bias[0]]
    logits += [scale * pooled(text, patches) + bias[1] for patches in (alone, mixed)]
    return torch.stack([sigmoid_loss(value, answers) for value in logits])


def pooled(text: Tensor, patches: Tensor, sharpness: float = 20.0) -> Tensor:
    """Soft maximum over the patches of a picture: (T, E), (B, N, E) -> (T, B) cosines."""
    similar = torch.einsum("te,bne->tbn", text, patches)
    return (torch.logsumexp(sharpness * similar, -1) - math.log(patches.shape[1])) / sharpness


def sigmoid_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean binary cross entropy, true and false pairs weighing the same, unclear pairs nothing."""
    each = F.softplus(torch.where(answers == PRESENT, -logits, logits))
    return each[answers == PRESENT].mean() + each[answers == ABSENT].mean()


def judge(model: CLIPModel, tokenizer: CLIPTokenizer) -> dict[str, object]:
    """Print what the model can do; return method and geometry at which it segments best."""
    with torch.inference_mode():
        rows = ensemble(model, tokenizer, list(CLASSES), templates())
    scenes = [scene(EVALUATION + index, (384, 512)) for index in range(24)]
    table: dict[tuple[str, tuple[int, int, int]], float] = {}
    print(f"{'geometry':>16} {'attention':>9}    all  grounds  colours   (mIoU, {len(scenes)} scenes)")
    for geometry in GEOMETRIES:
        for kind, means in evaluate(model, rows, scenes, geometry, list(ATTENTIONS)).items():
            table[kind, geometry] = means["all"]
            numbers = f"{means['all']:6.1f}  {means['grounds']:7.1f}  {means['colours']:7.1f}"
            print(f"{'/'.join(map(str, geometry)):>16} {kind:>9} {numbers}", flush=True)
    zero_shot(model, rows)
    geometry = max(GEOMETRIES, key=lambda one: table["sclip", one])
    scale = best_scale(model, rows, scenes[:8], geometry, "sclip")
    short, crop, stride = geometry
    return {"method": "sclip", "short_side": short, "crop": crop, "stride": stride, "logit_scale": scale}


@torch.inference_mode()
def zero_shot(model: CLIPModel, rows: Tensor) -> None:
    """Print how often the best ground names a picture of one ground, and the best colour one of a shape."""
    rng = np.random.default_rng(22)
    pool = Pool([scene(EVALUATION + 1000 + index, SIZE) for index in range(150)])
    drawn = [pool.draw(rng)[:2] for _ in range(1500)]
    for title, names in (("ground", tuple(GROUNDS)), ("colour", tuple(COLOURS))):
        columns = [CONCEPTS.index(name) for name in names]
        single = [
            d
            for d in drawn
            if (d[1][columns] == PRESENT).sum() == 1 and (d[1][columns] == ABSENT).sum() == len(names) - 1
        ]
        whole = embed(model, tokens(model, normalised(np.stack([picture for picture, _ in single]))), "clip")[:, 0]
        guess = (whole @ rows[[CLASSES.index(name) for name in names]].T).argmax(1).numpy()
        right = np.mean([known[columns][best] == PRESENT for (_, known), best in zip(single, guess, strict=True)])
        print(f"zero-shot {title}: {100 * right:.1f} % of {len(single)} pictures", flush=True)


def save(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer, settings: dict[str, object]) -> None:
    """Write the Hugging Face folder, weights in float16, segloop.json and words.txt."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "segloop.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join(known_words()) + "\n", encoding="utf-8")
    print(json.dumps(settings), flush=True)


if __name__ == "__main__":
    main()
