"""What keeps a number from being the number of its data set: unfinished, limited, other images."""

from ..common.visible import counted
from ..data.datasets import DATASETS
from ..labels.strays import sentence
from ..scoring.unlabelled import sentence as of_unlabelled
from .runs import Run, unlabelled_of


def caveats(run: Run) -> list[str]:
    """Footnotes of a run's own number; empty where it stands for the whole published split."""
    if not run.done:
        return [f"unfinished, {counted(run.listed, 'image')} in all: run the same `segloop evaluate` command again"]
    found = []
    images = counted(run.listed, "image")
    row = DATASETS.get(run.dataset)
    limit, split = run.settings.get("limit"), run.settings.get("split")
    whole = (row.expected, *row.also) if row and row.expected else ()
    limited = limit is not None and run.listed <= limit and run.listed not in whole
    published = split is None or (row is not None and split == row.part)
    if not published:
        found.append(f"split {split}")
    if limited:
        found.append(f"limited to {images}")
    elif published and whole and run.listed not in whole:
        found.append(f"{images} here, {whole[0]} in the data set")
    if run.failed:
        found.append(f"{run.failed} of {run.listed} images failed")
    if run.images + run.failed < run.listed:
        found.append(f"scored on {run.images} of {run.listed} images")
    said = sentence(run.labels, str(run.settings.get("void")))
    return [*found, said] if said else found


def of_labels(run: Run) -> str:
    """Footnote of its mIoU where classes that no label holds are in it; empty where none is."""
    found = unlabelled_of(run)
    return of_unlabelled(found) if found else ""
