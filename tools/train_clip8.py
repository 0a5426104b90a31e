"""Train the bundled CLIP `tiny-clip8` on whole scenes, from a seed, on one processor core.

    python tools/train_clip8.py --out src/segloop/backbones/tiny-clip8 --seed 0 [--resume]

Pictures of several things and captions of them are all that it learns from, by a contrastive loss on the class token:
each true pair against the false ones of its batch, and against captions that differ in one word. No mask, no map, no
loss on patches. What a patch's output says is therefore nobody's concern, as in a real CLIP.

For half of the pictures the class token enters the last block as it entered the first. What it says then comes from
the patches' values there, under its own attention. Without this, the class token of so small a model takes what it
needs from early blocks, and no reading of the last one finds the colours (docs/study.md).
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from clip8_watch import Geometry, watch
from scene_words import Narrator, Picture, draw_pictures, single, truth, view
from segloop.scenes.draw import CLASSES, scene
from tiny_captions import CONTEXT, build_tokenizer, known_words, templates
from tiny_dense import ATTENTIONS, best_scale, ensemble, evaluate, normalised, tokens

CROP, PATCH, WIDTH, DEPTH, DRAWN = 80, 8, 128, 8, 104
BATCH, PEAK_RATE, WARM_UP, RESET = 96, 1e-3, 150, 0.5
EASY, ALWAYS_EASY, EASY_UNTIL = 0.3, 0.1, 0.4  # share of pictures of one thing: at first, always, and until when more
MOST_SCALE = 50.0
# as for `tiny`: none that a user makes with a seed below 900 is trained on
TRAINING, EVALUATION = 900_000_000, 990_000_000
GEOMETRIES = [(short, CROP, CROP // 2) for short in (112, 136, 160, 192)]
WATCHED = Geometry(160, CROP, CROP // 2, PATCH)


def main() -> None:
    """Train, judge, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000, help="about 75 minutes on one core")
    parser.add_argument("--scenes", type=int, default=4000, help="how many scenes of each kind are drawn")
    parser.add_argument("--every", type=int, default=500, help="steps between two looks at the model")
    parser.add_argument("--resume", action="store_true", help="go on from the last look")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    trainer = Trainer(options, tokenizer)
    print(f"{sum(part.numel() for part in trainer.model.parameters()):,} parameters", flush=True)
    if options.resume:
        trainer.load()
    trainer.run()
    model = trainer.model.eval().half().float()  # judged as it is stored
    save(options.out, model, tokenizer, judge(model, tokenizer))


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIPModel of about 2.3 million parameters."""
    shared: dict[str, object] = {"projection_dim": WIDTH, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH}
    shared |= {"num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    special["pad_token_id"] = tokenizer.pad_token_id
    text = {"num_hidden_layers": 2, "vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    vision = {"num_hidden_layers": DEPTH, "image_size": CROP, "patch_size": PATCH}
    config = CLIPConfig(
        text_config=shared | text | special,
        vision_config=shared | vision,
        projection_dim=WIDTH,
        logit_scale_init_value=math.log(14),
    )
    model = CLIPModel(config)
    model.set_attn_implementation("eager")  # twice as quick as the fused kernel in bfloat16 on a processor
    for part in model.modules():  # transformers' CLIP init is made for wide models; this is the usual one
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.05)
    for block in model.vision_model.encoder.layers:  # branches of a deep tower start small
        for part in (block.self_attn.out_proj, block.mlp.fc2):
            part.weight.data.mul_((DEPTH / 2) ** -0.5)
    return model.train()


class Trainer:
    """A model in training, with all that its next step depends on."""

    def __init__(self, options: argparse.Namespace, tokenizer: CLIPTokenizer) -> None:
        torch.manual_seed(options.seed)
        self.options, self.tokenizer = options, tokenizer
        self.model = build_model(tokenizer)
        self.rng = np.random.default_rng([options.seed, 41])
        self.narrator = Narrator(self.rng)
        heavy = [part for part in self.model.parameters() if part.ndim > 1]
        light = [part for part in self.model.parameters() if part.ndim <= 1]
        groups = [{"params": heavy, "weight_decay": 0.05}, {"params": light, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
        self.step = 0
        self.curve: list[dict[str, float]] = []  # a row for each look
        self.kept = options.out.with_name(options.out.name + ".training.pt")

    def run(self) -> None:
        """AdamW with warm-up and cosine decay; a look every so many steps, and the state is kept."""
        options, shown = self.options, time.perf_counter()
        start = shown - (self.curve[-1]["seconds"] if self.curve else 0)
        many, alone = draw_pictures(TRAINING + options.seed * options.scenes, options.scenes, DRAWN)
        scenes = [scene(EVALUATION + index, (192, 256)) for index in range(24)]
        judged = [single(EVALUATION + index, DRAWN) for index in range(300)]
        while self.step < options.steps:
            done = self.step / options.steps
            rate = PEAK_RATE * min(1, (self.step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * done))
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            easy = ALWAYS_EASY + EASY * max(0, 1 - done / EASY_UNTIL)
            drawn = [alone if self.rng.uniform() < easy else many for _ in range(BATCH)]
            losses = step_losses(self.model, *self.batch([pool[self.rng.integers(len(pool))] for pool in drawn]))
            self.optimiser.zero_grad()
            losses.sum().backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.step += 1
            seconds = time.perf_counter() - start
            if time.perf_counter() - shown > 30:
                shown = time.perf_counter()
                print(f"step {self.step}/{options.steps}  {seconds:.0f} s  loss {said(losses)}", flush=True)
            if self.step % options.every == 0 or self.step == options.steps:
                found = watch(self.model, self.tokenizer, scenes, judged, WATCHED)
                scale = self.model.logit_scale.exp().item()
                row = {"step": self.step, "seconds": round(seconds), "scale": round(scale, 1), **found}
                row |= dict(zip(("words", "pictures"), np.round(losses.tolist(), 3).tolist(), strict=True))
                self.curve.append(row)
                print(json.dumps(row), flush=True)
                self.keep()

    def batch(self, pictures: list[Picture]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels (B, 3, S, S), token ids (2B, L), and which caption is true of which picture (2B, B) bool.

        Caption i is one of picture i, and caption B + i differs from it in a word.
        """
        told = [self.narrator.tell(picture.things) for picture in pictures]
        told += [self.narrator.twist(claims) for _, claims in told]
        ids = self.tokenizer([text for text, _ in told], padding=True, truncation=True, return_tensors="pt")
        true = truth([claims for _, claims in told], [picture.things for picture in pictures])
        views = np.stack([view(self.rng, picture, CROP) for picture in pictures])
        return normalised(views), ids["input_ids"], torch.from_numpy(true)

    def keep(self) -> None:
        """Write the state, whole or not at all."""
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}
        state |= {"torch": torch.get_rng_state(), "numpy": json.dumps(self.rng.bit_generator.state)}
        state |= {"curve": json.dumps(self.curve)}
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.kept.with_suffix(".new"))
        self.kept.with_suffix(".new").replace(self.kept)
        self.kept.with_suffix(".json").write_text(json.dumps(self.curve, indent=1) + "\n", encoding="utf-8")

    def load(self) -> None:
        """Go on from the last look."""
        state = torch.load(self.kept, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.curve = state["step"], json.loads(state["curve"])
        torch.set_rng_state(state["torch"])
        self.rng.bit_generator.state = json.loads(state["numpy"])


def said(losses: Tensor) -> str:
    """The two losses in a line."""
    return " ".join(f"{value:.4f}" for value in losses.tolist())


def step_losses(model: CLIPModel, pixels: Tensor, ids: Tensor, true: Tensor) -> Tensor:
    """Captions against pictures, and pictures against captions, (2,): the false pairs only count against the true."""
    with torch.autocast("cpu", torch.bfloat16):
        pictures = class_token(model, pixels)
        words = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    words = F.normalize(words.float(), dim=-1)
    logits = model.logit_scale.exp().clamp(max=MOST_SCALE) * words @ pictures.T
    count = len(pictures)
    return torch.stack([contrast(logits[:count], true[:count]), contrast(logits.T, true.T)])


def contrast(logits: Tensor, true: Tensor) -> Tensor:
    """Mean over rows of the mean over their true pairs of -log(e^z / (e^z + sum of the row's false e^z))."""
    false = torch.where(true, -torch.inf, logits).logsumexp(1, keepdim=True)
    each = F.softplus(false - logits) * true
    return (each.sum(1) / true.sum(1).clamp(min=1)).mean()


def class_token(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, S, S) -> unit rows (B, E): the class token's row of the last block, entering it fresh or not."""
    x = tokens(model, pixels)
    vision = model.vision_model
    parts, block = vision.embeddings, vision.encoder.layers[-1]
    fresh = vision.pre_layrnorm((parts.class_embedding + parts.position_embedding.weight[0])[None])
    first = torch.where(torch.rand(len(x), 1) < RESET, fresh.to(x.dtype), x[:, 0])[:, None]
    y = block.layer_norm1(torch.cat([first, x[:, 1:]], 1))
    part = block.self_attn
    q, k, v = (
        projection(rows).unflatten(-1, (part.num_heads, -1)).transpose(1, 2)
        for projection, rows in ((part.q_proj, y[:, :1]), (part.k_proj, y), (part.v_proj, y))
    )
    mixed = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1).to(v.dtype) @ v
    out = first + part.out_proj(mixed.transpose(1, 2).flatten(2))
    out = out + block.mlp(block.layer_norm2(out))
    return F.normalize(model.visual_projection(vision.post_layernorm(out[:, 0])).float(), dim=-1)


def judge(model: CLIPModel, tokenizer: CLIPTokenizer) -> dict[str, object]:
    """Print what each reading makes of it at each geometry; return the best of both, and the scale of its logits."""
    with torch.inference_mode():
        rows = ensemble(model, tokenizer, list(CLASSES), templates())
    scenes = [scene(EVALUATION + 500 + index, (192, 256)) for index in range(24)]
    table: dict[tuple[str, tuple[int, int, int]], float] = {}
    for geometry in GEOMETRIES:
        for kind, means in evaluate(model, rows, scenes, geometry, list(ATTENTIONS)).items():
            table[kind, geometry] = means["all"]
            print(geometry, kind, {name: round(value, 1) for name, value in means.items()}, flush=True)
    kind, geometry = max(table, key=lambda one: table[one])
    scale = best_scale(model, rows, scenes[:8], geometry, kind)
    short, crop, stride = geometry
    method = {"kk": "kk", "qq": "qq", "qq+kk": "qq+kk"}.get(kind, kind)
    return {"method": method, "short_side": short, "crop": crop, "stride": stride, "logit_scale": scale}


def save(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer, settings: dict[str, object]) -> None:
    """Write the Hugging Face folder, weights in float16, segloop.json and words.txt."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "segloop.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join(known_words()) + "\n", encoding="utf-8")
    print(json.dumps(settings), flush=True)


if __name__ == "__main__":
    main()
