"""A labelling in plain values, so that other processes do some of its shards."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from ..line.network import Memory
from ..runs.inputs import made_by
from ..runs.networks import Networks
from ..runs.record import Record, versions
from ..runs.sameness import check_agreed, check_there
from ..words.vocabulary import Vocabulary
from .job import Labelling
from .outcomes import SHARDS

BOUND = ("record", "segmenter", "text", "rule")  # fields of a job that are of its process


@dataclass(frozen=True)
class Sent:
    """All of a labelling's job but what is bound to its process; see `runs.work.Portable`."""

    folder: Path
    inputs: dict[str, Any]
    networks: Networks
    vocabulary: Vocabulary  # its rows on the CPU
    others: dict[str, Any]  # the job's other fields

    def jobs(self, device: str) -> tuple[list[Labelling], Memory | None]:
        """The job, with networks of its own. Raises MachineError where it would not give the same maps."""
        check_there(self.folder, self.inputs)
        known = self.inputs["settings"]
        torch.set_num_threads(known["threads"])
        settled = {"dtype": known["dtype"], "batch": known["batch"], "engine": known.get("engine")}
        networks = replace(self.networks, device=device, **settled)
        segmenter, rows = networks.open(), self.vocabulary.embeddings
        assert rows is not None
        made = made_by(segmenter, self.vocabulary, networks.named)
        own = {**known, **made, "device": segmenter.clip.device.type}
        check_agreed(self.inputs, {"settings": own, "versions": versions()})
        record = Record(self.folder, self.inputs, SHARDS)
        rule = segmenter.rule(self.vocabulary)
        text = rows.to(segmenter.clip.device)
        return [Labelling(record=record, segmenter=segmenter, text=text, rule=rule, **self.others)], None


def sent(job: Labelling, networks: Networks, vocabulary: Vocabulary, offline: bool) -> Sent:
    """A job for others; `vocabulary` has the rows that it works with, `offline` where models have been fetched."""
    networks = replace(networks.elsewhere(), offline=offline or networks.offline)
    rows = vocabulary.with_embeddings(job.text.cpu(), vocabulary.made_by)
    others = {one.name: getattr(job, one.name) for one in fields(job) if one.name not in BOUND}
    return Sent(job.record.folder.absolute(), job.record.inputs, networks, rows, others)
