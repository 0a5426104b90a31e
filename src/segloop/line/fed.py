"""Feedback as a stage: the last block's output is fed back into its mixing, and that of earlier blocks that listen."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..attention.feedback import FSA
from ..attention.operators import product
from ..attention.types import Needs, RunBlock
from ..errors import OptionError
from .stages import Batch, BlockReadout, Opened


@dataclass(frozen=True)
class Fed:
    """FSA on whatever attention stands before it in the line (spec 3)."""

    fsa: FSA

    def needs(self, depth: int) -> Needs:
        """Nothing, unless blocks before the last listen too. Raises OptionError where there are too few."""
        layers = self.fsa.feedback_layers
        if layers > depth:
            raise OptionError(f"feedback_layers={layers} is not possible", f"this CLIP has {depth} blocks")
        return Needs(around=self._listening, first_block=depth + 1 - layers) if layers > 1 else Needs()

    def __call__(self, opened: Opened) -> Opened:
        """Mixes the values."""
        block = opened.block
        mixed = self.fsa(opened.mix, block.v, opened.readout, class_token=block.has_class_token)
        return replace(opened, mixed=mixed)

    def _listening(self, batch: Batch, run: RunBlock) -> RunBlock:
        """Blocks before the last keep their own attention, input and MLP; what they would say is read by the head."""
        tower = batch.tower
        if tower.first_patch > 1:
            what = f"feedback_layers={self.fsa.feedback_layers} needs one class token, and {tower.name} has more"
            raise OptionError(what, "leave feedback_layers out")
        first = tower.depth + 1 - self.fsa.feedback_layers

        def listen(number: int, x: Tensor) -> Tensor:
            if number < first:
                return run(number, x)
            block = tower.open_block(x, batch.grid, number - 1)
            readout = BlockReadout(tower, batch.text, x[:, tower.first_patch :], mlp=True, index=number - 1)
            mixed = self.fsa(product("qk")(block), block.v, readout, class_token=block.has_class_token)
            return tower.close_block(mixed, x, mlp=True, index=number - 1)

        return listen
