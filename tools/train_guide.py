"""Train the bundled guide `tiny-dino` on procedural scenes, without labels, from a seed, on one processor core.

    python tools/train_guide.py --out segloop-out/tiny-dino --seed 0

A student learns to say what a slowly moving copy of itself, the teacher, says of another view: of the whole crop
(as DINO), of patches that it is not shown (as iBOT), and of the patch that shows the same place in the other view.
What the teacher says is balanced over the batch, so that it cannot say the same of everything. No mask, no caption.
"""

import argparse
import copy
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
from transformers import CLIPModel, ViTConfig, ViTModel

import tiny_dense
from guide_judge import Features, colour_features, judge
from guide_views import GLOBAL, LOCALS, MEAN, PATCH, STD, Views, draw_pictures, draw_views

WIDTH, BLOCKS, HEADS, PROTOTYPES = 128, 6, 4, 512
BATCH, PEAK_RATE, WARM_UP = 32, 1e-3, 100
STUDENT_HEAT, TEACHER_HEAT, MOMENTUM = 0.1, 0.03, 0.99
# as for `tiny`: none that a user makes with a seed below 900 is trained on
TRAINING, EVALUATION = 900_000_000, 990_000_000


@dataclass(frozen=True)
class Loss:
    """The parts of a step's loss, and how the teacher fares."""

    whole: Tensor
    hidden: Tensor
    place: Tensor
    entropy: Tensor  # of what the teacher says of one patch, in nats; its most is log PROTOTYPES
    spread: Tensor  # deviation of the teacher's unit features over a batch, times sqrt(WIDTH): 0 is collapse

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.whole + self.hidden + self.place


class Network(nn.Module):
    """A ViT, the token for hidden patches, and the head that names prototypes; only the ViT is kept in the end."""

    def __init__(self) -> None:
        super().__init__()
        shape = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS}
        shape |= {"intermediate_size": 4 * WIDTH, "image_size": GLOBAL, "patch_size": PATCH}
        self.body = ViTModel(ViTConfig(**shape, layer_norm_eps=1e-6), add_pooling_layer=False)
        self.body.set_attn_implementation("eager")  # quicker than the fused kernel for 65 tokens on a processor
        self.hidden = nn.Parameter(torch.zeros(WIDTH))
        self.head = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 64))
        self.prototypes = nn.Linear(64, PROTOTYPES, bias=False)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.05)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, pixels: Tensor, hide: Tensor | None = None) -> Tensor:
        """(B, 3, S, S), which patches are hidden (B, N) -> tokens after the final norm (B, 1+N, D)."""
        parts = self.body.embeddings
        kernel = parts.patch_embeddings.projection
        patches = F.unfold(pixels, PATCH, stride=PATCH).mT  # the backward pass of a product is quicker
        x = F.linear(patches, kernel.weight.flatten(1), kernel.bias)
        if hide is not None:
            x = torch.where(hide[..., None], self.hidden.to(x.dtype), x)
        x = torch.cat([parts.cls_token.to(x.dtype).expand(len(x), 1, -1), x], 1)
        x = x + self.positions(pixels.shape[-1] // PATCH)
        for block in self.body.layers:
            x = block(x)
        return self.body.layernorm(x)

    def positions(self, side: int) -> Tensor:
        """The table of positions on a grid of side x side, (1, 1+N, D)."""
        table = self.body.embeddings.position_embeddings
        base = GLOBAL // PATCH
        if side == base:
            return table
        grid = table[:, 1:].mT.unflatten(2, (base, base))
        return torch.cat([table[:, :1], F.interpolate(grid, (side, side), mode="bicubic").flatten(2).mT], 1)

    def name(self, tokens: Tensor) -> Tensor:
        """Tokens (..., D) -> cosines with the prototypes (..., K) float32."""
        points = F.normalize(self.head(tokens).float(), dim=-1)
        with torch.autocast("cpu", enabled=False):  # half precision would round what the heats magnify
            return points @ F.normalize(self.prototypes.weight, dim=-1).mT


def main() -> None:
    """Train, judge on the way, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000, help="about 15 minutes of a core")
    parser.add_argument("--scenes", type=int, default=600, help="how many scenes the views are cut from")
    parser.add_argument("--judge", type=int, default=200, help="steps between two judgements")
    parser.add_argument("--resume", action="store_true", help="go on from the last judgement of the same command")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    for name, features in (("colour", colour_features), ("tiny's values", clip_values())):
        print(name, told(judge(features, EVALUATION)), flush=True)
    pictures = draw_pictures(TRAINING + options.seed * options.scenes, options.scenes)
    print(f"{options.scenes} scenes in {time.perf_counter() - start:.0f} s", flush=True)
    training = Training(options.steps, options.seed)
    kept = options.out.with_suffix(".training.pt")
    if options.resume and kept.exists():
        training.load(kept)
    print(f"{sum(part.numel() for part in training.student.body.parameters()):,} parameters", flush=True)
    while training.step < options.steps:
        loss = training.one(pictures)
        if training.step % 50 == 0 or training.step in (1, 10):
            parts = told({name: float(value.detach()) for name, value in vars(loss).items()})
            print(f"step {training.step}/{options.steps} {time.perf_counter() - start:.0f} s {parts}", flush=True)
        if training.step % options.judge == 0 or training.step == options.steps:
            print("  guide", told(judge(training.features, EVALUATION)), flush=True)
            training.save(kept)
    save(options.out, training.teacher.body)
    print(f"done in {(time.perf_counter() - start) / 60:.1f} minutes: {options.out}", flush=True)


def told(numbers: dict[str, float]) -> str:
    """Numbers with their names, in a line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())


class Training:
    """Student, teacher, optimiser, and how far they are."""

    def __init__(self, steps: int, seed: int) -> None:
        self.steps, self.seed, self.step = steps, seed, 0
        self.student = Network()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        parts = list(self.student.parameters())
        groups = [
            {"params": [part for part in parts if part.ndim > 1], "weight_decay": 0.04},
            {"params": [part for part in parts if part.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))

    def one(self, pictures: np.ndarray) -> Loss:
        """One step; its random numbers come from its number alone, so that a training goes on as it would have."""
        rng = np.random.default_rng([self.seed, 31, self.step])
        done = self.step / self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1, (self.step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * done))
        loss = losses(self.student, self.teacher, draw_views(rng, pictures, BATCH), hidden_patches(rng))
        self.optimiser.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        rate = (1 - MOMENTUM) * (0.5 + 0.5 * math.cos(math.pi * done))
        with torch.no_grad():
            for slow, quick in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                slow.lerp_(quick, rate)
        self.step += 1
        return loss

    def features(self, pixels: Tensor) -> Tensor:
        """The teacher's patches: (B, 3, S, S) in [0, 1] -> (B, N, D)."""
        return torch.cat([self.teacher((part - MEAN) / STD)[:, 1:] for part in pixels.split(64)])

    def save(self, path: Path) -> None:
        """All that a later run needs to go on."""
        state = {"student": self.student.state_dict(), "teacher": self.teacher.state_dict(), "step": self.step}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state | {"optimiser": self.optimiser.state_dict()}, path)

    def load(self, path: Path) -> None:
        """Go on from there."""
        state = torch.load(path, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def hidden_patches(rng: np.random.Generator) -> Tensor:
    """Which patches the student is not shown, (2B, N) bool: none in half of the views, up to two thirds in others."""
    share = rng.uniform(0.1, 0.65, (2 * BATCH, 1)) * (rng.uniform(size=(2 * BATCH, 1)) < 0.5)
    return torch.from_numpy(rng.uniform(size=(2 * BATCH, (GLOBAL // PATCH) ** 2)) < share)


def losses(student: Network, teacher: Network, views: Views, hide: Tensor) -> Loss:
    """Cross entropies between what the teacher says and what the student says."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            taught = teacher(views.whole)
            named = teacher.name(taught)
        tokens = student(views.whole, hide)
        said = student.name(tokens)
        local = student.name(student(views.part)[:, 0])
    target = balanced(named[:, 0])
    patches = balanced(named[:, 1:].flatten(0, 1)).unflatten(0, (2 * BATCH, -1))
    said, local = F.log_softmax(said / STUDENT_HEAT, -1), F.log_softmax(local / STUDENT_HEAT, -1)
    other = target.roll(BATCH, 0)  # of the other view
    local = local.unflatten(0, (BATCH, LOCALS))
    whole = -(other * said[:, 0]).sum(-1).mean() - (
        (target.unflatten(0, (2, BATCH)).mean(0)[:, None] * local).sum(-1).mean()
    )
    hidden = -(patches * said[:, 1:]).sum(-1)[hide].mean()
    seen = views.twin >= 0
    there = patches.roll(BATCH, 0).gather(1, views.twin.clamp_min(0)[..., None].expand_as(patches))
    place = -(there * said[:, 1:]).sum(-1)[seen].mean()
    entropy = -(patches * patches.clamp_min(1e-9).log()).sum(-1).mean()
    spread = F.normalize(taught[:, 1:].float(), dim=-1).flatten(0, 1).std(0).mean() * WIDTH**0.5
    return Loss(whole / 2, hidden, place, entropy, spread)


@torch.no_grad()
def balanced(cosines: Tensor, rounds: int = 3) -> Tensor:
    """Cosines with prototypes (n, K) -> shares (n, K): rows sum to 1, each prototype is used about as much."""
    share = torch.exp((cosines - cosines.max()) / TEACHER_HEAT)
    for _ in range(rounds):
        share = share / share.sum(0).clamp_min(1e-12)
        share = share / share.sum(1, keepdim=True).clamp_min(1e-12)
    return share


def clip_values() -> Features:
    """Values of the last block of `tiny`, beside which the guide is judged."""
    folder = Path(__file__).resolve().parents[1] / "src/segloop/backbones/tiny"
    model = CLIPModel.from_pretrained(folder).float().eval()
    model.set_attn_implementation("eager")
    block = model.vision_model.encoder.layers[-1]

    def values(pixels: Tensor) -> Tensor:
        x = tiny_dense.tokens(model, (pixels - tiny_dense.MEAN) / tiny_dense.STD)
        return block.self_attn.v_proj(block.layer_norm1(x))[:, 1:]

    return values


def save(folder: Path, model: ViTModel) -> None:
    """Write the Hugging Face folder, weights in float16."""
    model.half().save_pretrained(folder)


if __name__ == "__main__":
    main()
