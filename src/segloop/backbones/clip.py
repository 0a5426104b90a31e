"""CLIP, opened before its last block (spec 0.2, 0.3). The only file that knows transformers' CLIP."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.types import LastBlock
from ..errors import ModelError
from ..images import CLIP, Normalisation
from .heads import check_numbers, checked_grid, dense_cosines, normed
from .loading import load_weights
from .models import SIZES
from .pixels import normalisation_of
from .positions import PositionRule, resample_positions
from .text import check_texts, end_of_text, open_tokenizer, pooled, print_of, tokens_over
from .tower import Beside, Blocks, Source, run_blocks

CLIP_WORDS = 49408  # of the tokenizer that CLIP came with; what a smaller one breaks says nothing of languages


@dataclass(frozen=True)
class Clip:
    """A frozen transformers CLIPModel: the vision tower in `dtype`, the text tower in float32.

    Nothing is hooked or changed inside the model; every method is a function of its arguments.
    """

    model: Any
    name: str  # hub id, folder or "tiny", as the user gave it
    folder: str  # what transformers opens
    device: torch.device
    dtype: torch.dtype
    positions: PositionRule = "exact"
    normalisation: Normalisation = CLIP
    blocks: Blocks = run_blocks  # what runs all that is not opened: an engine

    @property
    def vision(self) -> Any:
        """The vision transformer."""
        return self.model.vision_model

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.vision.config.patch_size)

    @property
    def depth(self) -> int:
        """Number of blocks, L."""
        return int(self.vision.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the joint embedding, E."""
        return int(self.model.config.projection_dim)

    @property
    def size(self) -> str | None:
        """Its size as the papers' tables call it; None for one that none of them has."""
        return next((size for size, shape in SIZES.items() if shape == (self.patch, self.depth)), None)

    @property
    def first_patch(self) -> int:
        """Token 0 is the class token."""
        return 1

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """(rows, columns) of whole patches in (B, 3, H, W); a remainder is dropped."""
        return pixels.shape[-2] // self.patch, pixels.shape[-1] // self.patch

    def tokens(
        self, pixels: Tensor, keep: Collection[int] = (), open_blocks: int = 1
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """All blocks but the last `open_blocks`: normalised (B, 3, H, W) -> X (B, 1+N, D), their output.

        Also the output of each block in `keep` (1-based; 0 is the input of block 1), same shape. Raises ModelError
        where they are no numbers.
        """
        x = self._embed(pixels)
        x, kept = self.blocks(self, x, keep, open_blocks)
        check_numbers(self, x)
        return x, kept

    def run_block(self, number: int, x: Tensor) -> Tensor:
        """Block `number` (from 1), as it was trained: (B, 1+N, D) -> (B, 1+N, D)."""
        return ran(self.vision.encoder.layers[number - 1], x)

    def _embed(self, pixels: Tensor) -> Tensor:
        parts = self.vision.embeddings
        grid = checked_grid(self, pixels)
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=cudnn.enabled, allow_tf32=cudnn.allow_tf32 and self.positions == "exact"):
            patches = parts.patch_embedding(pixels.to(self.dtype)).flatten(2).mT
        first = parts.class_embedding.to(patches).expand(patches.shape[0], 1, -1)
        table = resample_positions(parts.position_embedding.weight, grid, self.positions)
        return self.vision.pre_layrnorm(torch.cat([first, patches], 1) + table.to(patches))

    def open_block(self, x: Tensor, grid: tuple[int, int], index: int = -1) -> LastBlock:
        """q, k and v of a block (-1: the last) for its input (B, 1+N, D) on `grid`."""
        q, k, v = projected(self.vision.encoder.layers[index], x)
        return LastBlock(q, k, v, scale=q.shape[-1] ** -0.5, grid=grid)

    def close_block(self, mixed: Tensor, residual: Tensor | None, mlp: bool, index: int = -1) -> Tensor:
        """Mixed values (B, h, N, d) -> tokens U (B, N, D): W_o, then [+ residual], then [+ MLP] (spec 2.1)."""
        return finished(self.vision.encoder.layers[index], mixed, residual, mlp)

    def cosines(self, tokens: Tensor, text: Tensor, beside: Beside = ()) -> Tensor:
        """The dense head: tokens (B, N, D), unit text rows (Q, E) -> cosines (B, N, Q) float32, no temperature.

        More tokens, each with its weight, join between the head's layer norm, which each has for itself, and P.
        """
        features = self.model.visual_projection(normed(self.vision.post_layernorm, tokens, beside))
        return dense_cosines(self, features, text)

    @cached_property
    def tokenizer(self) -> Any:
        """Opened when text must be encoded, not before."""
        config = self.model.config
        return open_tokenizer(self.name, self.folder, config.text_config.vocab_size, config)

    @property
    def context(self) -> int:
        """Tokens that the text tower reads, its first and last one among them."""
        return int(self.model.config.text_config.max_position_embeddings)

    def tokens_cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each sentence `encode_text` does not read, 0 for most."""
        return tokens_over(self.tokenizer, texts, self.context)

    @cached_property
    def known_words(self) -> tuple[str, ...]:
        """What a model that was taught few words knows, by words.txt in its folder; empty for one that says nothing."""
        path = Path(self.folder) / "words.txt"
        return tuple(path.read_text("utf-8").split()) if path.is_file() else ()

    def pieces(self, words: list[str]) -> list[int]:
        """How many tokens each word breaks into: many for words that are not English; 0 where that says nothing."""
        if self.model.config.text_config.vocab_size < CLIP_WORDS:
            return [0] * len(words)
        whole = self.tokenizer(words, padding=False, truncation=False, add_special_tokens=False, verbose=False)
        return [len(ids) for ids in whole["input_ids"]]

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """Sentences -> (n, E) float32 on this device, not normalised; cut at the context length (spec 0.4).

        Raises ModelError for a tokenizer that is missing or does not end a text, UserError for a text that holds its
        end-of-text token.
        """
        check_texts(texts, self.tokenizer)
        config = self.model.config.text_config
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=self.context, return_tensors="pt")
        ids = batch["input_ids"].to(self.device)
        states = self.model.text_model(input_ids=ids).last_hidden_state
        return self.model.text_projection(
            pooled(self.name, states, ids, end_of_text(self.name, self.tokenizer, config))
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the text tower and the tokenizer: the same rows come from the same print."""
        model = self.model
        return print_of(model.text_model, model.text_projection.weight, model.config.text_config, self.tokenizer)


def projected(block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """LN1 and the three projections: (B, N, D) -> three (B, h, N, d)."""
    attention, y = block.self_attn, block.layer_norm1(x)
    heads = (attention.num_heads, attention.head_dim)
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    q, k, v = (projection(y).unflatten(-1, heads).transpose(1, 2) for projection in projections)
    return q, k, v


def finished(block: Any, mixed: Tensor, residual: Tensor | None, mlp: bool) -> Tensor:
    """W_o [+ residual] [+ MLP]: (B, h, N, d) -> (B, N, D)."""
    tokens = block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))
    if residual is not None:
        tokens = residual + tokens
    return tokens + block.mlp(block.layer_norm2(tokens)) if mlp else tokens


def ran(block: Any, x: Tensor) -> Tensor:
    """An ordinary block: (B, N, D) -> (B, N, D)."""
    return finished(block, F.scaled_dot_product_attention(*projected(block, x)), x, mlp=True)


def open_clip(source: Source) -> Clip:
    """A folder of transformers' CLIP -> its tower. Raises ModelError."""
    model = load_weights(clip_class(), source.folder, source.offline)
    model.to(source.device)
    model.vision_model.to(source.dtype)
    model.visual_projection.to(source.dtype)
    normalisation = normalisation_of(source.folder)
    return Clip(model, source.name, source.folder, source.device, source.dtype, source.positions, normalisation)


def clip_class() -> Any:
    """The CLIPModel of transformers. Raises ModelError where torchvision keeps it from opening."""
    try:
        from transformers import CLIPModel
    except (ImportError, RuntimeError) as error:
        if "torchvision" not in str(error):
            raise
        what = "the installed torchvision does not fit the installed torch"
        raise ModelError(what, "run `pip uninstall torchvision`, segloop does not need it") from error
    return CLIPModel
