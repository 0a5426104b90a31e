"""What made a result, in words and numbers: what every record of a run or a photo says of it."""

from typing import Any

from ..common.records import own_values
from ..common.visible import plain
from ..images import Reading
from ..words.bank import Bank
from ..words.vocabulary import Vocabulary
from .banking import said
from .engined import said_of_engines
from .network import Network

LETTERS = 24  # of a constant in a line


def in_a_line(network: Network, fidelity: str) -> str:
    """Model, method, what it stands on and with which constants of the attention's that are not its defaults."""
    plan, clip = network.plan, network.clip
    host = f" on {plan.host}" if plan.host else ""
    own = [f"{name}={plain(value)}" for name, value in own_values(plan.attention).items()]
    constants = "".join(f" {one if len(one) <= LETTERS else one[:LETTERS] + '...'}" for one in own)
    guide = f" with {network.guide.name}" if network.guide else ""
    engine = f", engine {engine}" if (engine := said_of_engines(network.engines).get("engine")) else ""
    how = f"fidelity {fidelity}, {str(clip.dtype).removeprefix('torch.')} on {clip.device}{engine}"
    return f"{clip.name}: {plan.method}{host}{constants}{guide}, {how}"


def described(
    network: Network,
    fidelity: str,
    reading: Reading,
    vocabulary: Vocabulary,
    masks: Any = None,
    bank: Bank | None = None,
) -> dict[str, Any]:
    """Model, method and what it stands on, precision, every constant, the class list's name; only what is in use.

    Code of the user's own stands there by the hashes of its files.
    """
    plan, clip = network.plan, network.clip
    guide = {"vision": network.guide.name} if network.guide else {}
    sam = {name: model.name for name, model in network.models.items()}
    host = {"host": plan.host} if plan.host else {}
    regions = dict(getattr(masks, "said", {}))
    unseen = [*network.code.get("code_unseen", ()), *regions.pop("code_unseen", ())]
    return {
        "model": clip.name,
        "method": plan.method,
        **guide,
        **sam,
        **host,
        **plan.records,
        "fidelity": fidelity,
        "dtype": str(clip.dtype).removeprefix("torch."),
        **said_of_engines(network.engines),
        **plan.constants,
        **({"rows": "given"} if vocabulary.is_given else {}),
        **({"experts": vocabulary.experts.digest} if vocabulary.experts else {}),
        **({"aliases": vocabulary.aliases} if vocabulary.aliases else {}),
        **said(bank),
        "vocabulary": vocabulary.source,
        **network.code,
        **regions,
        **({"code_unseen": unseen} if unseen else {}),
        **reading.said(),
        **clip.normalisation.said(),
    }
