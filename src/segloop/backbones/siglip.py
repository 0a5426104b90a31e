"""SigLIP and SigLIP 2 of fixed size (model_type siglip): experimental, since no method was published on them.

They have no class token: a head pools all patches by attention. What it says of one patch alone, its value through the
head's projection and MLP, lies where the text does, and is the dense head here; that is segloop's own reading.
"""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.types import LastBlock
from ..errors import ModelError, Notice
from ..images import Normalisation
from .clip import finished, projected, ran
from .folders import like
from .heads import check_numbers, checked_grid, dense_cosines, normed
from .loading import library_class, load_weights
from .pixels import normalisation_of
from .positions import resample_positions
from .text import open_tokenizer, padded, print_of, tokens_over
from .tower import Beside, Blocks, Source, run_blocks

HALVES = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # where the folder does not say
EXPERIMENTAL = "is experimental: methods and their constants were made for CLIP"


@dataclass(frozen=True)
class Siglip:
    """A frozen transformers SiglipModel: the vision tower in `dtype`, the text tower in float32. See `Tower`."""

    model: Any
    name: str
    folder: str
    device: torch.device
    dtype: torch.dtype
    normalisation: Normalisation = HALVES
    blocks: Blocks = run_blocks  # what runs all that is not opened: an engine

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.model.config.vision_config.patch_size)

    @property
    def depth(self) -> int:
        """Number of blocks, L."""
        return int(self.model.config.vision_config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the joint embedding, E."""
        return int(self.model.config.vision_config.hidden_size)

    @property
    def size(self) -> str | None:
        """None: no published table has it, whatever its size is called."""
        return None

    @property
    def first_patch(self) -> int:
        """There is no class token."""
        return 0

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """(rows, columns) of whole patches in (B, 3, H, W); a remainder is dropped."""
        return pixels.shape[-2] // self.patch, pixels.shape[-1] // self.patch

    def tokens(
        self, pixels: Tensor, keep: Collection[int] = (), open_blocks: int = 1
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """All blocks but the last `open_blocks`: normalised (B, 3, H, W) -> (B, N, D), and those in `keep`.

        Positions are resampled by size. Raises UserError for pixels without a patch, ModelError for no numbers.
        """
        grid = checked_grid(self, pixels)
        parts = self.model.vision_model.embeddings
        table = resample_positions(parts.position_embedding.weight, grid, "exact", first_patch=0)
        x = parts.patch_embedding(pixels.to(self.dtype)).flatten(2).mT
        x = x + table.to(x)
        x, kept = self.blocks(self, x, keep, open_blocks)
        check_numbers(self, x)
        return x, kept

    def run_block(self, number: int, x: Tensor) -> Tensor:
        """Block `number` (from 1), as it was trained: (B, N, D) -> (B, N, D)."""
        return ran(self.model.vision_model.encoder.layers[number - 1], x)

    def open_block(self, x: Tensor, grid: tuple[int, int], index: int = -1) -> LastBlock:
        """q, k and v of a block (-1: the last) for its input (B, N, D) on `grid`."""
        q, k, v = projected(self.model.vision_model.encoder.layers[index], x)
        return LastBlock(q, k, v, scale=q.shape[-1] ** -0.5, grid=grid, has_class_token=False)

    def close_block(self, mixed: Tensor, residual: Tensor | None, mlp: bool, index: int = -1) -> Tensor:
        """Mixed values (B, h, N, d) -> tokens (B, N, D): W_o, then [+ residual], then [+ MLP]."""
        return finished(self.model.vision_model.encoder.layers[index], mixed, residual, mlp)

    def cosines(self, tokens: Tensor, text: Tensor, beside: Beside = ()) -> Tensor:
        """The dense head: tokens (B, N, D), unit text rows (Q, E) -> cosines (B, N, Q) float32.

        The pooling head where a patch stands alone: attention over one token gives its value, whatever asks. More
        tokens, each with its weight, join between the last norm, which each has for itself, and the head.
        """
        head = self.model.vision_model.head
        pooling, width = head.attention, self.width
        x = normed(self.model.vision_model.post_layernorm, tokens, beside)
        values = F.linear(x, pooling.in_proj_weight[2 * width :], pooling.in_proj_bias[2 * width :])
        x = pooling.out_proj(values)
        return dense_cosines(self, x + head.mlp(head.layernorm(x)), text)

    @cached_property
    def tokenizer(self) -> Any:
        """Opened when text must be encoded, not before."""
        config = self.model.config
        return open_tokenizer(self.name, self.folder, config.text_config.vocab_size, config)

    @property
    def context(self) -> int:
        """Tokens that the text tower reads."""
        return int(self.model.config.text_config.max_position_embeddings)

    def tokens_cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each sentence `encode_text` does not read, 0 for most."""
        return tokens_over(self.tokenizer, [text.lower() for text in texts], self.context)

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """Sentences -> (n, E) float32 on this device, not normalised; as trained: in small letters, padded to the end
        of the context, and pooled at its last token.

        Raises ModelError for a tokenizer that is missing, UserError for a text that holds its end-of-text token.
        """
        ids = padded(self.tokenizer, texts, self.context)["input_ids"].to(self.device)
        return self.model.text_model(input_ids=ids).pooler_output

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the text tower and the tokenizer: the same rows come from the same print."""
        text = self.model.text_model
        return print_of(text, text.head.weight, self.model.config.text_config, self.tokenizer)


def open_siglip(source: Source) -> Siglip:
    """A folder of transformers' SigLIP -> its tower. Raises ModelError."""
    model: Any = load_weights(library_class("SiglipModel"), source.folder, source.offline)
    if not model.config.vision_config.vision_use_head:
        what = f"model {source.name!r} is a SigLIP without the head that brings patches to the text"
        raise ModelError(what, f"give one that has it, or {like(source.name)}")
    warnings.warn(f"SigLIP {EXPERIMENTAL}", Notice, stacklevel=2)
    model.to(source.device)
    model.vision_model.to(source.dtype)
    pixels = normalisation_of(source.folder, HALVES)
    return Siglip(model, source.name, source.folder, source.device, source.dtype, pixels)
