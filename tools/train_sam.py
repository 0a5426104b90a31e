"""Train the bundled SAM `tiny-sam` on procedural scenes with their exact masks, from a seed, on one processor core.

    python tools/train_sam.py --out segloop-out/tiny-sam --seed 0

As SAM was: a point, a box or a coarse mask asks for the region that is meant, and focal loss, dice and the predicted
quality's error are minimised. Focal loss is content with logits near 0, which masks of a grid of points are sorted by;
so the second half has cross entropy in its place. Trident reads the last attention of the encoder, which in a large
SAM holds together what belongs together; here a small term asks for it.
"""

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from sam_prompts import EACH, GRID, PATCH, SIDE, Asked, Drawn, ask, draw
from segloop.attention.affinity import Trident
from segloop.backbones.samview import TRAINED, Sam

WIDTH, CHANNELS, BLOCKS, HEADS = 96, 64, 6, 3
BATCH, PEAK_RATE, WARM_UP, AVERAGED = 4, 1e-3, 100, 0.99
TURN = 0.625  # of half a cosine, where the second half of the training begins
GATHER = 0.02  # weight of how far the last attention is from an even one over patches of the same class
# as for `tiny`: none that a user makes with a seed below 900 is trained on
TRAINING, EVALUATION = 910_000_000, 991_000_000


@dataclass(frozen=True)
class Loss:
    """The parts of a step's loss."""

    pixels: Tensor  # 20 times the focal loss; in the second half twice the cross entropy
    dice: Tensor
    quality: Tensor
    gather: Tensor  # divergence of the last attention from an even one over patches of the same class, in nats

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.pixels + self.dice + self.quality + GATHER * self.gather


def main() -> None:
    """Train, judge on the way, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000, help="about 50 minutes of a core")
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--judge", type=int, default=200, help="steps between two judgements")
    parser.add_argument("--resume", action="store_true", help="go on from the last judgement of the same command")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    drawn = draw(TRAINING + options.seed * options.scenes, options.scenes)
    print(f"{options.scenes} scenes in {time.perf_counter() - start:.0f} s", flush=True)
    training = Training(options.steps, options.seed)
    kept = options.out.with_suffix(".training.pt")
    if options.resume and kept.exists():
        training.load(kept)
    print(f"{sum(part.numel() for part in training.model.parameters()):,} parameters", flush=True)
    while training.step < options.steps:
        loss = training.one(drawn)
        if training.step % 50 == 0 or training.step in (1, 10):
            parts = told({name: float(value.detach()) for name, value in vars(loss).items()})
            print(f"step {training.step}/{options.steps} {time.perf_counter() - start:.0f} s {parts}", flush=True)
        if training.step % options.judge == 0 or training.step == options.steps:
            print("  judged", told(judge(training.mean.module)), flush=True)
            training.save(kept)
    training.mean.module.half().save_pretrained(options.out)
    print(f"done in {(time.perf_counter() - start) / 60:.1f} minutes: {options.out}", flush=True)


def told(numbers: dict[str, float]) -> str:
    """Numbers with their names, in a line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())


def new() -> SamModel:
    """An untrained SAM of the smallest size that does it."""
    vision = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS, "mlp_dim": 4 * WIDTH}
    vision |= {"image_size": SIDE, "patch_size": PATCH, "window_size": 8, "global_attn_indexes": [2, BLOCKS - 1]}
    vision |= {"output_channels": CHANNELS, "num_pos_feats": CHANNELS // 2}
    prompts = {"hidden_size": CHANNELS, "image_size": SIDE, "patch_size": PATCH, "image_embedding_size": GRID}
    decoder = {"hidden_size": CHANNELS, "mlp_dim": 4 * CHANNELS, "num_attention_heads": 4, "iou_head_hidden_dim": 64}
    decoder |= {"attention_downsample_rate": 1}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    config._attn_implementation = "eager"  # the last attention itself is asked for
    model = SamModel(config)
    for layer in model.mask_decoder.transformer.layers.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.eps = TRAINED
    for part in model.modules():  # what the library begins with is meant to be loaded over, not to be taught
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)):
            part.reset_parameters()
    nn.init.normal_(model.shared_image_embedding.positional_embedding)
    encoder = model.vision_encoder
    nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
    for part in encoder.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.05)
    return model


class Training:
    """Model, its running mean, which is what is kept, optimiser, and how far they are."""

    def __init__(self, steps: int, seed: int) -> None:
        self.steps, self.seed, self.step = steps, seed, 0
        self.model = new()
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGED)
        self.mean = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=average)
        parts = list(self.model.parameters())
        groups = [
            {"params": [part for part in parts if part.ndim > 1], "weight_decay": 0.02},
            {"params": [part for part in parts if part.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))

    def one(self, drawn: Drawn) -> Loss:
        """One step; its random numbers come from its number alone, so that a training goes on as it would have."""
        rng = np.random.default_rng([self.seed, 41, self.step])
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, self.steps)
        several, sharp = self.step % 2 == 1, self.step >= self.steps // 2
        loss = losses(self.model, ask(rng, drawn, BATCH), several, sharp)
        self.optimiser.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.mean.update_parameters(self.model)
        self.step += 1
        return loss

    def save(self, path: Path) -> None:
        """All that a later run needs to go on."""
        state = {"model": self.model.state_dict(), "mean": self.mean.state_dict(), "step": self.step}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state | {"optimiser": self.optimiser.state_dict()}, path)

    def load(self, path: Path) -> None:
        """Go on from there."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def rate(step: int, steps: int) -> float:
    """Up in WARM_UP steps, down to three tenths by a part of a cosine in the first half, then evenly to 0."""
    half = steps // 2
    turn = 0.5 + 0.5 * math.cos(math.pi * TURN)
    down = 0.5 + 0.5 * math.cos(math.pi * TURN * step / half) if step < half else turn * (steps - step) / (steps - half)
    return PEAK_RATE * min(1, (step + 1) / WARM_UP) * down


def losses(model: SamModel, asked: Asked, several: bool, sharp: bool) -> Loss:
    """`several`: a point alone asks for three masks, of which the best is taught; `sharp`: by cross entropy."""
    with torch.autocast("cpu", torch.bfloat16):
        embedding, gather = encoded(model, asked)
        answers = [
            answer.float()
            for kind in range(3)
            for answer in answered(model, embedding, asked, kind, several and kind == 0)
        ]
    each: list[tuple[Tensor, Tensor, Tensor]] = []
    for kind, (logits, quality) in enumerate(zip(answers[::2], answers[1::2], strict=True)):
        truth = asked.masks[:, kind * EACH : (kind + 1) * EACH].flatten(0, 1)[:, None].expand_as(logits)
        pixels, dice = compared(logits, truth, sharp)
        wrong = (quality - overlap(logits, truth)).square()
        best = (pixels + dice).argmin(1, keepdim=True)
        each.append((pixels.gather(1, best).mean(), dice.gather(1, best).mean(), wrong.mean()))
    pixels, dice, wrong = (torch.stack(parts).mean() for parts in zip(*each, strict=True))
    return Loss(pixels, dice, wrong, gather)


def encoded(model: SamModel, asked: Asked) -> tuple[Tensor, Tensor]:
    """Frames -> their embeddings (B, C, g, g), and how far the last attention is from one over the patch's class."""
    encoder = model.vision_encoder
    x = encoder.patch_embed(asked.pixels) + encoder.pos_embed
    for layer in encoder.layers[:-1]:
        x = layer(x)
    last = encoder.layers[-1]
    mixed, attention = last.attn(last.layer_norm1(x))
    x = x + mixed
    x = x + last.mlp(last.layer_norm2(x))
    same = (asked.patches[:, :, None] == asked.patches[:, None]).float()
    told = attention.float().clamp_min(1e-6).log().unflatten(0, (-1, HEADS)).mean(1)  # (B, N, N)
    count = same.sum(-1)
    apart = -(told * same).sum(-1) / count - count.log()
    return encoder.neck(x), apart[asked.patches >= 0].mean()


def answered(model: SamModel, embedding: Tensor, asked: Asked, kind: int, several: bool) -> tuple[Tensor, Tensor]:
    """Prompts of one kind -> logits (B * EACH, k, m, m) and predicted quality (B * EACH, k)."""
    part = slice(kind * EACH, (kind + 1) * EACH)
    points = asked.points[:, part].flatten(0, 1)[:, None, None]
    labels = torch.ones(points.shape[:3], dtype=torch.int64)
    boxes = asked.boxes[:, part].flatten(0, 1)[:, None] if kind else None
    hints = asked.hints.flatten(0, 1)[:, None] if kind == 2 else None
    sparse, dense = model.prompt_encoder(points, labels, boxes, hints)
    frames = embedding.repeat_interleave(EACH, 0)
    places = model.get_image_wide_positional_embeddings().expand(len(frames), -1, -1, -1)
    logits, quality = model.mask_decoder(frames, places, sparse, dense, several)
    return logits[:, 0], quality[:, 0]


def compared(logits: Tensor, truth: Tensor, sharp: bool) -> tuple[Tensor, Tensor]:
    """Logits and masks (n, k, m, m) -> loss of pixels, and dice, of each (n, k)."""
    share = logits.sigmoid()
    wrong = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    pixels = 2 * wrong if sharp else 20 * (share - truth).square() * wrong
    hit = (share * truth).flatten(2).sum(-1)
    return pixels.flatten(2).mean(-1), 1 - (2 * hit + 1) / (share.flatten(2).sum(-1) + truth.flatten(2).sum(-1) + 1)


@torch.no_grad()
def overlap(logits: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of masks (n, k, m, m) -> (n, k)."""
    inside, true = logits > 0, truth > 0
    return (inside & true).flatten(2).sum(-1) / (inside | true).flatten(2).sum(-1).clamp_min(1)


@torch.no_grad()
def judge(model: SamModel, count: int = 24) -> dict[str, float]:
    """On scenes that are not trained on: IoU of what prompts ask for, and what Trident's affinity holds together."""
    drawn = draw(EVALUATION, count)
    asked = ask(np.random.default_rng([1]), drawn, count)
    embedding, _ = encoded(model, asked)
    found = {}
    for kind, name in enumerate(("point", "box", "mask")):
        logits, quality = answered(model, embedding, asked, kind, False)
        true = overlap(logits, asked.masks[:, kind * EACH : (kind + 1) * EACH].flatten(0, 1)[:, None])
        found |= {name: float(true.mean()), f"{name}'s error": float((quality - true).abs().mean())}
    sam, shares = Sam(model, "tiny-sam", torch.float32), []
    for image, label in zip(drawn.images, drawn.labels, strict=True):
        view = sam.look(sam.frame(image))
        rows, columns = view.grid
        y, x = ((np.arange(n) + 0.5) / n * side for n, side in zip(view.grid, label.shape, strict=True))
        classes = torch.from_numpy(label[y.astype(int)][:, x.astype(int)].copy()).flatten()
        assert len(classes) == rows * columns
        same = classes[:, None] == classes
        shares.append([(view.affinity(Trident()) * same).sum(-1).mean(), same.float().mean()])
    own, chance = torch.tensor(shares).mean(0).tolist()
    return found | {"affinity in class": own, "chance": chance}


if __name__ == "__main__":
    main()
