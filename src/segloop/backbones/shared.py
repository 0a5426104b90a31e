"""Networks that several plans share: each is opened once, and what it says of a window is computed once."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..attention.custom import attention_from_file, is_file_place
from .families import load_clip
from .ownguide import own_guide
from .prompted import Masker, load_masker
from .samview import Sam, load_sam
from .tower import Tower
from .vision import Guide, load_guide

Value = TypeVar("Value")


@dataclass
class Memory:
    """Features of windows by what was asked and by the pixels themselves, until `forget`."""

    limit: int = 2 * 2**30  # bytes; beyond, nothing more is kept
    kept: dict[Hashable, Any] = field(default_factory=dict)
    size: int = 0
    wanted: dict[int, frozenset[int]] = field(default_factory=dict)  # by tower: blocks whose outputs are read

    def want(self, tower: Tower, numbers: Iterable[int]) -> None:
        """From now on `outputs` of a tower have those of these blocks too, for everyone who shares it."""
        self.wanted[id(tower)] = self.wanted.get(id(tower), frozenset()) | frozenset(numbers)

    def outputs(self, tower: Tower, pixels: Tensor) -> Mapping[int, Tensor]:
        """Windows (B, 3, H, W) -> outputs of all blocks that anyone wants, (B, [1+]N, D) by number; run once."""
        numbers = self.wanted[id(tower)]
        behind = tower.depth - max(numbers)
        return self.recall((id(tower), numbers), pixels, lambda: tower.tokens(pixels, numbers, behind)[1])

    def recall(self, what: Hashable, pixels: Tensor, make: Callable[[], Value]) -> Value:
        """What `make()` gave for these very pixels before, else what it gives now."""
        key = what, tuple(pixels.shape), _digest(pixels)
        if key in self.kept:
            return self.kept[key]
        made = make()
        size = _bytes(made)
        if self.size + size <= self.limit:
            self.kept[key] = made
            self.size += size
        return made

    def forget(self) -> None:
        """Drop everything."""
        self.kept.clear()
        self.size = 0


@dataclass
class Models:
    """Opens networks, each once. With a memory, its Segmenters also share features; then call `memory.forget()`
    now and then, since nothing else does."""

    memory: Memory | None = None
    opened: dict[Hashable, Any] = field(default_factory=dict)

    def clip(self, *how: Any) -> Tower:
        """`load_clip(*how)`, the same object for the same arguments."""
        return self._once(load_clip, how)

    def guide(self, *how: Any) -> Guide:
        """`load_guide(*how)`, or `own_guide` for FILE.py:function; the same object for the same arguments."""
        return self._once(own_guide if is_file_place(str(how[0])) else load_guide, how)

    def masker(self, *how: Any) -> Masker:
        """`load_masker(*how)`, the same object for the same arguments."""
        return self._once(load_masker, how)

    def sam(self, *how: Any) -> Sam:
        """`load_sam(*how)`, the same weights for the same arguments."""
        return self._once(load_sam, how)

    def attention(self, name: str | None) -> Any:
        """A method's name as it is, or what FILE.py:function names, its file run once. Raises OptionError."""
        return self._once(attention_from_file, (name,)) if name and is_file_place(name) else name

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make()` gave for this key before, else what it gives now."""
        if key not in self.opened:
            self.opened[key] = make()
        return self.opened[key]

    def _once(self, load: Callable[..., Value], how: tuple[Any, ...]) -> Value:
        return self.once((load.__name__, how), lambda: load(*how))


def _digest(tensor: Tensor) -> bytes:
    return hashlib.blake2b(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data, digest_size=16).digest()


def _bytes(value: Any) -> int:
    """Of all tensors in a tensor, a tuple or a dict."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    parts = value.values() if isinstance(value, dict) else value
    return sum(map(_bytes, parts))


def weights_hash(module: Any) -> str:
    """SHA-256 over the names and values of all weights and buffers, in the precision they were opened in."""
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
