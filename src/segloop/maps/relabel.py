"""The table of steps on labels, behind deciding."""

from .presence import Presence
from .settled import LabelStep, Settled

__all__ = ["LABEL_STEPS", "LabelStep", "Settled"]

LABEL_STEPS: dict[str, LabelStep] = {"presence": Presence()}
"""In the order in which they are done, with the constants of a method that says nothing."""
