"""Every reference case whose method this version knows, through the public seams, within its stated tolerance."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from golden import MORE, ROOT, Case, cases
from segloop import Segmenter, Vocabulary
from segloop.backbones.positions import resample_positions
from segloop.choice.methods import METHODS
from segloop.images import normalise, resize_uint8, resized_size
from segloop.maps.refine import PAMR
from segloop.maps.windows import layout, padding
from tolerances import U

ELSEWHERE = {"coco_ids", "reduce_zero_label"}  # in test_prepare.py and test_labels.py
SCORES = {"lposs"}  # no cosines: in test_lposs.py


def known(collection: str) -> list[Case]:
    def is_known(case: Case) -> bool:
        method = case.manifest["method"]
        return method not in SCORES and (method in METHODS or "+" in method or len(method) == 2)

    return [case for case in cases(collection) if is_known(case)]


def check(actual: np.ndarray, expected: np.ndarray, tolerance: dict) -> None:
    difference = np.abs(actual - expected)
    assert difference.max() <= tolerance.get("never_above", tolerance["max_abs"])
    assert (difference > tolerance["max_abs"]).mean() <= tolerance.get("may_exceed_fraction", 0)


@pytest.mark.skipif(not ROOT.is_dir(), reason="reference cases are not beside the project")
def test_the_cases_are_there():
    assert len(known("A_tensor")) >= 47
    assert len(known("B_end_to_end")) >= 16


@pytest.mark.skipif(not MORE.is_dir(), reason="reference cases are not beside the project")
def test_the_cases_of_sc_clip_are_there():
    counts = {"A_tensor": 6, "B_end_to_end": 2}
    for collection, count in counts.items():
        assert sum(case.manifest["method"] == "sc-clip" for case in known(collection)) == count


@pytest.mark.parametrize("case", known("A_tensor"), ids=str)
def test_tensors(case: Case):
    manifest, arrays = case.manifest, case.arrays
    segmenter = Segmenter.from_pretrained(
        case.beside("models") / manifest["clip"],
        method=manifest["method"],
        host=manifest["host"],
        vision=manifest["vision"] and case.beside("models") / manifest["vision"],
        fidelity="reference",
        **manifest["params"],
    )
    pixels = torch.from_numpy(arrays["pixels"]).float()
    logits = segmenter.logits(pixels, torch.from_numpy(arrays["text"]))
    assert logits.dtype == torch.float32
    check(logits.numpy(), arrays["logits"], manifest["tolerance"])


@pytest.mark.parametrize("case", known("B_end_to_end"), ids=str)
def test_end_to_end(case: Case):
    manifest, arrays, recipe = case.manifest, case.arrays, case.manifest["recipe"]
    segmenter = Segmenter.from_pretrained(
        case.beside(manifest["clip_model"]),
        method=manifest["method"],
        host=manifest["host"],
        vision=manifest["vision_model"] and case.beside(manifest["vision_model"]),
        fidelity="reference",
        **recipe,
    )
    vocabulary = Vocabulary(
        [f"c{i}" for i in range(manifest["classes"])],
        background=0 if recipe["background_threshold"] or recipe["area_threshold"] else None,
        embeddings=torch.from_numpy(arrays["text"]),
        query_index=torch.from_numpy(arrays["query_index"]),
    )
    photo, tolerance = case.beside(manifest["image"]), manifest["tolerance"]
    difference = np.abs(segmenter.cosines(photo, vocabulary)[:, ::8, ::8].numpy() - arrays["scores"])
    assert difference.max() <= tolerance["scores_max_abs"]
    assert difference.mean() <= tolerance["scores_mean_abs"]
    labels = segmenter(photo, vocabulary).labels
    assert labels.dtype == np.int64
    assert (labels == arrays["labels"]).mean() >= tolerance["label_agreement"]


@pytest.mark.parametrize("case", cases("D_pamr"), ids=str)
def test_pamr(case: Case):
    arrays, params = case.arrays, case.manifest["params"]
    image, maps = (torch.from_numpy(arrays[name]) for name in ("image", "map"))
    maps = F.interpolate(maps, size=image.shape[-2:], mode="bilinear", align_corners=True)  # as the release does
    refined = PAMR(params["steps"], tuple(params["dilations"])).ready(image[0])(maps[0])[None]
    check(refined.numpy(), arrays["output"], case.manifest["tolerance"])


def windows(case: Case) -> None:
    arrays = case.arrays
    for i, (height, width, crop, stride) in enumerate(arrays["table"].tolist()):
        where = layout((height, width), crop, stride, multiple=1)
        found = [(*row, *column) for row in where.rows for column in where.columns]
        assert found == [tuple(box) for box in arrays[f"windows_{i}"].tolist()], (height, width, crop, stride)
        for multiple in (56, 16, 14):
            rows, columns = (padding(min(crop, n) if crop else n, multiple) for n in (height, width))
            assert [*rows, *columns] == arrays[f"pad{multiple}_{i}"].tolist()


def resized_sizes(case: Case) -> None:
    for (height, width, short), size in zip(case.arrays["table"].tolist(), case.arrays["size"].tolist(), strict=True):
        assert resized_size(height, width, short, 2048) == tuple(size)


def resize_uint8_and_normalise(case: Case) -> None:
    arrays = case.arrays
    for name in (name for name in arrays if name.startswith("input_")):
        expected = arrays[name.replace("input", "output")]
        np.testing.assert_array_equal(resize_uint8(arrays[name], expected.shape[:2]), expected)
    unit = U[torch.float32]  # a mean of 123, rounded on either side, over a deviation of 67
    np.testing.assert_allclose(normalise(arrays["output_0"]), arrays["normalised_0"], rtol=4 * unit, atol=4 * unit)


def positions(case: Case) -> None:
    arrays = case.arrays
    for grid in (grid for grid in case.manifest["grids"] if grid["kind"] == "clip"):
        table, expected = (torch.from_numpy(arrays[f"clip_{name}_{grid['index']}"]) for name in ("table", "out"))
        found = resample_positions(table, (grid["rows"], grid["columns"]), "published")
        check(found.numpy(), expected.numpy(), case.manifest["tolerance"])


GEOMETRY = {
    "windows": windows,
    "resized_sizes": resized_sizes,
    "resize_uint8": resize_uint8_and_normalise,
    "positions": positions,
}


@pytest.mark.parametrize("case", [c for c in cases("E_geometry") if str(c) not in ELSEWHERE], ids=str)
def test_geometry(case: Case):
    GEOMETRY[str(case)](case)
