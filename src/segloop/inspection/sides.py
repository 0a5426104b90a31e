"""One photo seen three ways with one set of weights: the host, feedback on it, and SFP in the host's geometry."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..choice.methods import METHODS
from ..choice.naming import PURIFIER
from ..choice.plan import Plan
from ..choice.settings import Surroundings
from ..common.records import override
from ..line.network import Network
from ..line.segmenter import Segmenter

Constants = Mapping[str, Any]


@dataclass(frozen=True)
class Sides:
    """Three segmenters that share their networks, windows and thresholds."""

    host: Segmenter
    fsa: Segmenter
    sfp: Segmenter

    @property
    def feedback(self) -> FSA:
        """FSA's constants."""
        feedback = self.fsa.plan.feedback
        assert feedback is not None
        return feedback

    @property
    def purify(self) -> SFP:
        """The constants that outliers are detected and repaired with: the host's own where it purifies, else SFP's."""
        purify = self.host.plan.purify or self.sfp.plan.purify
        assert purify is not None
        return purify

    def named(self) -> tuple[tuple[str, Segmenter], ...]:
        """("host", segmenter), ("fsa", ...), ("sfp", ...)."""
        return ("host", self.host), ("fsa", self.fsa), ("sfp", self.sfp)


def sides_of(segmenter: Segmenter, changes: Constants | None = None) -> Sides:
    """A segmenter of any method -> the three sides; no weights are loaded.

    With fsa its host is taken. `changes` are fields of FSA and SFP (`split` finds them), whichever method was
    chosen. FSA's and SFP's constants are the published ones where nothing else was said; geometry, scale and
    thresholds are the host's throughout, so that the maps can be compared. Raises OptionError.
    """
    fed_back, purifying = (_of(record, changes or {}) for record in (FSA, SFP))
    reference = segmenter.fidelity == "reference"
    guide, depth, size = segmenter.network.guide, segmenter.clip.depth, segmenter.clip.size

    def settled(plan: Plan) -> Plan:
        plan = plan.for_models(depth, size, guide.kind if guide else None, reference)
        feedback = override(plan.feedback, fed_back) if plan.feedback else None
        purify = override(plan.purify, purifying).on(depth, reference) if plan.purify else None
        return replace(plan, feedback=feedback, purify=purify)

    plan = segmenter.plan
    host = replace(plan, method=plan.host or "", host=None, feedback=None) if plan.feedback else plan
    name = f"{host.method}:{host.host}" if host.host else host.method
    fsa = plan if plan.feedback else replace(plan, method="fsa", host=name, feedback=FSA())
    sfp = replace(
        host,
        method=PURIFIER,
        host=None,
        around=Surroundings(),
        attention=METHODS[PURIFIER].variant(PURIFIER).attention,
        guidance=None,
        vision=None,
        purify=METHODS[PURIFIER].purify,
        stages=METHODS[PURIFIER].stages,
    )

    def opened(plan: Plan) -> Segmenter:
        own = segmenter.network
        network = Network(segmenter.clip, settled(plan), guide if plan.vision else None, own.memory, own.models)
        return replace(segmenter, network=network)

    return Sides(opened(host), opened(fsa), opened(sfp))


def split(changes: Constants) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides -> (those that every method has, and unknown ones), (those of FSA and SFP)."""
    records = {item.name for record in (FSA, SFP) for item in fields(record)}
    plain = {name: value for name, value in changes.items() if name not in records}
    return plain, {name: value for name, value in changes.items() if name in records}


def _of(record: type, changes: Constants) -> dict[str, Any]:
    known = {item.name for item in fields(record)}
    return {name: value for name, value in changes.items() if name in known}
