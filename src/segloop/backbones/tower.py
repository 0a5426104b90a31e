"""What a CLIP's vision tower is to the rest: opened before its last block, whatever family it comes from."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..attention.types import LastBlock
from ..images import Normalisation
from .positions import PositionRule


@dataclass(frozen=True)
class Source:
    """A model's folder, and how it is to be opened."""

    name: str  # hub id, folder or "tiny", as the user gave it
    folder: str  # where its files lie; weights are fetched when they are loaded
    config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype  # of the vision tower; text is float32
    positions: PositionRule = "exact"  # "published" for reference fidelity
    offline: bool = False  # never ask the hub


Beside = Sequence[tuple[float, Tensor]]
"""Weights, and tokens (B, N, D)."""


class Tower(Protocol):
    """A frozen image-text model whose patches can be read by text. Every method is a function of its arguments."""

    @property
    def name(self) -> str:
        """Hub id, folder or "tiny", as the user gave it."""

    @property
    def model(self) -> Any:
        """The frozen module, whose weights a record tells by their hash."""

    @property
    def fingerprint(self) -> str:
        """Changes with whatever the text's rows depend on."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Sentences -> (n, E) float32 on this device, not normalised; cut at the context length (spec 0.4)."""

    def tokens_cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each sentence `encode_text` does not read, 0 for most."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """What its vision tower computes in."""

    @property
    def normalisation(self) -> Normalisation:
        """Mean and deviation of the pixels that it was trained on."""

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""

    @property
    def depth(self) -> int:
        """Number of blocks, L."""

    @property
    def width(self) -> int:
        """Width of the joint embedding, E."""

    @property
    def size(self) -> str | None:
        """Its size as the papers' tables call it, such as "ViT-L/14"; None for one that none of them has."""

    @property
    def first_patch(self) -> int:
        """Number of the first patch among the tokens: 1 behind a class token, else 0; 2 or more behind further ones."""

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """(rows, columns) of whole patches in (B, 3, H, W); a remainder is dropped."""

    def tokens(
        self, pixels: Tensor, keep: Collection[int] = (), open_blocks: int = 1
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """All blocks but the last `open_blocks`: normalised (B, 3, H, W) -> their output (B, [1+]N, D).

        Also the output of each block in `keep` (1-based; 0 is the input of block 1), same shape.
        """

    def run_block(self, number: int, x: Tensor) -> Tensor:
        """Block `number` (from 1), as it was trained: (B, [1+]N, D) -> same."""

    def open_block(self, x: Tensor, grid: tuple[int, int], index: int = -1) -> LastBlock:
        """q, k and v of a block (-1: the last) for its input (B, [1+]N, D) on `grid`."""

    def close_block(self, mixed: Tensor, residual: Tensor | None, mlp: bool, index: int = -1) -> Tensor:
        """Mixed values (B, h, N, d) -> tokens (B, N, D): W_o, then [+ residual], then [+ MLP] (spec 2.1)."""

    def cosines(self, tokens: Tensor, text: Tensor, beside: Beside = ()) -> Tensor:
        """The dense head: tokens (B, N, D), unit text rows (Q, E) -> cosines (B, N, Q) float32, no temperature.

        More tokens, each with its weight, join between the head's layer norm, which each has for itself, and P.
        """


Blocks = Callable[["Tower", Tensor, Collection[int], int], tuple[Tensor, dict[int, Tensor]]]
"""What runs blocks in a row, as `run_blocks` does; a tower that has it as its field `blocks` can be given an engine."""


def run_blocks(tower: Tower, x: Tensor, keep: Collection[int], open_blocks: int) -> tuple[Tensor, dict[int, Tensor]]:
    """The input of block 1 through all blocks but the last `open_blocks`, and the outputs of those in `keep`."""
    kept = {0: x} if 0 in keep else {}
    for number in range(1, tower.depth + 1 - open_blocks):
        x = tower.run_block(number, x)
        if number in keep:
            kept[number] = x
    return x, kept
