"""What feedback costs: FSA on ProxyCLIP with DINO ViT-B/8 at 336 pixels, against its host and its textbook form.

    python benchmarks/feedback.py [--until 0.05] [--most 60] [--minutes 10]

Both sides take turns until the interval of their ratio is narrower than --until to either side, and narrower in all
than the bar, or until --most rounds or --minutes are over for one of them, which is then said. N = 1764 patches, 12
heads, ViT-B/16 and ViT-B/8 with random weights at true size, 21 and 171 classes. The textbook stage holds an N x N x Q
tensor for the divergence, sorts whole rows, and multiplies N x N matrices for every head.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from common import (
    SMALL,
    Patience,
    add_patience,
    clip_folder,
    dino_folder,
    patience_of,
    peak_mib,
    peak_of,
    ratios,
    report,
    side_by_side,
    text_rows,
    verdict,
)
from segloop import FSA, Segmenter
from segloop.attention.operators import Shared, proxy_weights
from segloop.line.network import Network
from segloop.line.stages import BlockReadout, on_guide_grid

CLASSES = (21, 171)
BARS = {("float32", 21): 6, ("float32", 171): 8, ("bfloat16", 21): 12}  # percent of the host's time
STAGE_BARS = {21: 15}  # times the textbook's speed
SIDE, LARGE = (14, 20) if SMALL else (42, 64)  # patches of DINO's grid, and of SAM's


def window(size: int = 8 * SIDE) -> Tensor:
    """A smooth CLIP-normalised window (1, 3, H, W)."""
    noise = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, size=(size, size), mode="bicubic")


PIXELS = window()


def networks(dtype: str) -> tuple[Network, Network]:
    """The host, and the same with feedback, sharing their weights."""
    segmenter = Segmenter.from_pretrained(clip_folder(), method="fsa", vision=dino_folder(), dtype=dtype)
    fed = segmenter.network
    return replace(fed, plan=replace(fed.plan, feedback=None)), fed


@torch.no_grad()
def stage_inputs(network: Network, text: Tensor) -> tuple[Shared, Tensor, BlockReadout]:
    """What the feedback stage gets from its host: attention, values (1, 12, N, 64), readout."""
    grid = network.clip.grid(PIXELS)
    x, _ = network.clip.tokens(PIXELS)
    assert network.guide is not None
    block = on_guide_grid(replace(network.clip.open_block(x, grid), guide=network.guide(PIXELS)))
    assert block.guide is not None
    mix = Shared(proxy_weights(block.guide).to(block.v.dtype))
    return mix, block.v, BlockReadout(network.clip, text, None, mlp=False)


@torch.no_grad()
def textbook_stage(matrix: Tensor, values: Tensor, z: Tensor, readout: BlockReadout) -> Tensor:
    """Spec 3.1, word for word: A (N, N), values and Z = A V (1, h, N, d), which the host has made."""
    heads = values.shape[1]
    attention = matrix.expand(1, heads, -1, -1)
    count = len(matrix)
    uniform = torch.ones(count, count).softmax(-1)
    delta = 20 * readout(z)[0] - 35 * readout(uniform.expand(1, heads, -1, -1) @ values)[0]
    p = delta.softmax(-1)
    log_p = (p + 1e-10).log()
    divergence = (p[:, None] * (log_p[:, None] - log_p[None])).sum(-1).clamp_min(0)
    s = 1 / (1 + divergence)
    order = s.sort(-1, descending=True)
    keep = s.softmax(-1).gather(-1, order.indices).cumsum(-1) <= 0.45
    keep[:, 0] = True
    mask = torch.zeros_like(keep).scatter(-1, order.indices, keep)
    new = (s * (3 * s).exp()).masked_fill(~mask, -torch.inf).softmax(-1)
    new = new.expand(1, heads, -1, -1)
    return ((new @ attention + attention @ new + new) / 3) @ values


@dataclass(frozen=True)
class Evaluated:
    """The host's attention with its A V made already: asked for it again, it does not compute."""

    mix: Shared
    values: Tensor
    z: Tensor
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """(1, h, N, d) -> (1, h, N, d)."""
        return self.z if values is self.values else self.mix(values)


@torch.no_grad()
def ours_stage(mix: Shared, values: Tensor, z: Tensor, readout: BlockReadout) -> Tensor:
    """The same by segloop."""
    return FSA()(Evaluated(mix, values, z), values, readout)


def shares(patience: Patience, rows: list[tuple[str, str]], record: dict) -> None:
    """Host against host + FSA."""
    for dtype in dict.fromkeys(("float32", "auto")):
        host, fed = networks(dtype)
        name = str(host.clip.dtype).removeprefix("torch.")
        if name in record["share"]:
            continue
        record["share"][name] = {}
        for queries in CLASSES:
            text, bar = text_rows(queries), BARS.get((name, queries))
            enough = replace(patience, until=min(patience.until, (bar or 12) / 200))
            tasks = {
                "host": lambda host=host, text=text: host.logits(PIXELS, text),
                "fed": lambda fed=fed, text=text: fed.logits(PIXELS, text),
            }
            seconds, found = ratios(tasks, {"share": ("fed", "host")}, enough)
            share = found["share"]
            record["share"][name][queries] = {"seconds": seconds, **asdict(share)}
            times = f"host {seconds['host']:.3f} s, with FSA {seconds['fed']:.3f} s"
            judged = f" (bar {bar} %: {verdict(share, 1 + bar / 100, 'less')})" if bar else ""
            rows.append((f"{name}, {queries} classes", f"{times}, share {share.told(100, 1, 1, ' %')}{judged}"))


def stages(patience: Patience, rows: list[tuple[str, str]], record: dict) -> None:
    """The feedback stage alone, against the textbook's."""
    for queries in CLASSES:
        seconds, found = ratios(stage_tasks(queries), {"stage": ("textbook", "segloop")}, patience)
        times, bar = found["stage"], STAGE_BARS.get(queries)
        record["stage"][queries] = {"seconds": seconds, **asdict(times)}
        judged = f" (bar {bar}: {verdict(times, bar)})" if bar else ""
        each = f"textbook {seconds['textbook']:.2f} s, segloop {seconds['segloop']:.3f} s"
        rows.append((f"stage, {queries} classes", f"{each}: {times.told(digits=1, unit=' times')}{judged}"))


def stage_tasks(queries: int) -> dict[str, Callable[[], Tensor]]:
    """Both forms of the stage on the same inputs, which are seen to agree."""
    host, _ = networks("float32")
    mix, values, readout = stage_inputs(host, text_rows(queries))
    z = mix(values)
    tasks = {
        "textbook": lambda: textbook_stage(mix.weights[0], values, z, readout),
        "segloop": lambda: ours_stage(mix, values, z, readout),
    }
    torch.testing.assert_close(tasks["segloop"](), tasks["textbook"]())
    return tasks


def large_stage(rows: list[tuple[str, str]], record: dict) -> None:
    """Ours at SAM's grid; the textbook's memory there by arithmetic."""
    host, _ = networks("float32")
    count, heads = LARGE**2, int(host.clip.model.config.vision_config.num_attention_heads)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 256, LARGE, LARGE, generator=generator) + 1
    width = int(host.clip.model.config.vision_config.hidden_size)
    values = torch.randn(1, heads, count, width // heads, generator=generator)
    mix = Shared(proxy_weights(features))
    z = mix(values)
    for queries in CLASSES:
        readout = BlockReadout(host.clip, text_rows(queries), None, mlp=False)
        found = side_by_side({"segloop": lambda r=readout: ours_stage(mix, values, z, r)}, 2)["segloop"]
        need = (2 * count**2 * queries + 3 * heads * count**2) * 4 / 2**30
        record["large"][queries] = {"seconds": found, "textbook_gib": need}
        rows.append(
            (f"stage, N = {count}, {queries} classes", f"segloop {found:.2f} s; the textbook needs {need:.0f} GiB")
        )


def peaks(rows: list[tuple[str, str]], record: dict, count: int = SIDE**2) -> None:
    """Peak memory of host and host + FSA, each in processes of its own: the least of three, where allocators wander."""
    for queries in (21, 847):
        found = {who: min(peak_of(__file__, who, str(queries)) for _ in range(3)) for who in ("host", "fed")}
        added = found["fed"] - found["host"]
        bar = (4 * count**2 + 4 * count * queries) * 4 / 2**20
        record["peak_mib"][queries] = {**found, "extra": added, "bar": bar}
        rows.append((f"peak memory, {queries} classes", f"FSA adds {added:.0f} MiB to its host's (bar {bar:.0f})"))


def peak(who: str, queries: int) -> None:
    """Print what this process took at most after one window."""
    host, fed = networks("float32")
    (fed if who == "fed" else host).logits(PIXELS, text_rows(queries))
    print(peak_mib())


def run(patience: Patience) -> None:
    """All of it."""
    rows: list[tuple[str, str]] = []
    record: dict = {"benchmark": "feedback", "share": {}, "stage": {}, "large": {}, "peak_mib": {}}
    shares(patience, rows, record)
    stages(patience, rows, record)
    large_stage(rows, record)
    peaks(rows, record)
    report(rows, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_patience(parser, Patience(minutes=10))
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "CLASSES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak[0], int(arguments.peak[1]))
    else:
        run(patience_of(arguments))
