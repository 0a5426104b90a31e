"""The table of steps on labels, behind deciding."""

from .presence import Presence
from .prompts import Refinement
from .settled import LabelStep, Settled
from .vote import Vote

__all__ = ["LABEL_STEPS", "LabelStep", "Settled"]

LABEL_STEPS: dict[str, LabelStep] = {"presence": Presence(), "vote": Vote(), "refinement": Refinement()}
"""In the order in which they are done, with the constants of a method that says nothing."""
