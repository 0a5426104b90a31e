"""TIPSv2 (model_type tipsv2): patches trained towards text. Experimental, since no method was published on it.

Its text lies where its patches do, without a projection. Two tokens stand before the patches, one trained on captions
of the web and one on captions that were made; where the last block is opened only the first is there.
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
from ..errors import Notice
from ..images import Normalisation
from .heads import check_numbers, checked_grid, dense_cosines, normed
from .loading import library_class, load_weights
from .pixels import normalisation_of
from .siglip import EXPERIMENTAL
from .text import open_tokenizer, padded, print_of, tokens_over
from .tower import Beside, Blocks, Source, run_blocks

AS_THEY_ARE = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # pixels between 0 and 1, where the folder does not say


@dataclass(frozen=True)
class Tips:
    """A frozen transformers Tipsv2Model: the vision tower in `dtype`, the text tower in float32. See `Tower`."""

    model: Any
    name: str
    folder: str
    device: torch.device
    dtype: torch.dtype
    normalisation: Normalisation = AS_THEY_ARE
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
        """Patches stand behind a class token and the registers, of which the releases have one."""
        return 1 + int(self.model.config.vision_config.num_register_tokens)

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """(rows, columns) of whole patches in (B, 3, H, W); a remainder is dropped."""
        return pixels.shape[-2] // self.patch, pixels.shape[-1] // self.patch

    def tokens(
        self, pixels: Tensor, keep: Collection[int] = (), open_blocks: int = 1
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """All blocks but the last `open_blocks`: normalised (B, 3, H, W) -> (B, first_patch+N, D), and those in `keep`.

        Positions are the library's. Raises UserError for pixels without a patch, ModelError for no numbers.
        """
        rows, columns = checked_grid(self, pixels)
        whole = pixels[..., : rows * self.patch, : columns * self.patch]
        x = self.model.vision_model.embeddings(whole.to(self.dtype))
        x, kept = self.blocks(self, x, keep, open_blocks)
        check_numbers(self, x)
        return x, kept

    def _block(self, index: int) -> Any:
        return self.model.vision_model.encoder.layer[index]

    def run_block(self, number: int, x: Tensor) -> Tensor:
        """Block `number` (from 1), as it was trained: (B, first_patch+N, D) -> same."""
        return self.close_block(F.scaled_dot_product_attention(*self._projected(x, number - 1)), x, True, number - 1)

    def _projected(self, x: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
        attention, y = self._block(index).attention, self._block(index).norm1(x)
        heads = (attention.num_attention_heads, attention.head_dim)
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        q, k, v = (part(y).unflatten(-1, heads).transpose(1, 2) for part in parts)
        return q, k, v

    def open_block(self, x: Tensor, grid: tuple[int, int], index: int = -1) -> LastBlock:
        """q, k and v of a block (-1: the last) for its input (B, first_patch+N, D): of class token and patches.

        Of patches alone, (B, N, D), those of all that came.
        """
        q, k, v = self._projected(x, index)
        if x.shape[1] == self.first_patch + grid[0] * grid[1]:
            q, k, v = (torch.cat([part[:, :, :1], part[:, :, self.first_patch :]], 2) for part in (q, k, v))
        return LastBlock(q, k, v, scale=q.shape[-1] ** -0.5, grid=grid)

    def close_block(self, mixed: Tensor, residual: Tensor | None, mlp: bool, index: int = -1) -> Tensor:
        """Mixed values (B, h, N, d) -> tokens (B, N, D): W_o, then [+ residual], then [+ MLP]."""
        block = self._block(index)
        tokens = block.layer_scale1(block.attention.o_proj(mixed.transpose(1, 2).flatten(2)))
        if residual is not None:
            tokens = residual + tokens
        return tokens + block.layer_scale2(block.mlp(block.norm2(tokens))) if mlp else tokens

    def cosines(self, tokens: Tensor, text: Tensor, beside: Beside = ()) -> Tensor:
        """The dense head, which is the last norm: tokens (B, N, D), unit rows (Q, E) -> cosines (B, N, Q) float32.

        More tokens, each with its weight, join behind the norm, which each has for itself.
        """
        return dense_cosines(self, normed(self.model.vision_model.layernorm, tokens, beside), text)

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
        """Sentences -> (n, E) float32 on this device, not normalised: in small letters, the mean over their tokens.

        Raises ModelError for a tokenizer that is missing, UserError for a text that holds its end-of-text token.
        """
        batch = padded(self.tokenizer, texts, self.context).to(self.device)
        return self.model.text_model(batch["input_ids"], attention_mask=batch["attention_mask"]).pooler_output

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the text tower and the tokenizer: the same rows come from the same print."""
        text = self.model.text_model
        return print_of(text, text.final_layer_norm.weight, self.model.config.text_config, self.tokenizer)


def open_tips(source: Source) -> Tips:
    """A folder of transformers' TIPSv2 -> its tower. Raises ModelError."""
    spare = ("vision_model.embeddings.mask_token", "temperature")  # of training
    model: Any = load_weights(library_class("Tipsv2Model"), source.folder, source.offline, spare)
    warnings.warn(f"TIPSv2 {EXPERIMENTAL}", Notice, stacklevel=2)
    model.to(source.device)
    model.vision_model.to(source.dtype)
    pixels = normalisation_of(source.folder, AS_THEY_ARE)
    return Tips(model, source.name, source.folder, source.device, source.dtype, pixels)
