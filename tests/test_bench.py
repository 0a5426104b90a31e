"""`segloop bench`: every step of the line is there, counted by hand where that can be, and none is counted twice."""

import json

import numpy as np
import torch

from command import complaint
from models import folder
from segloop import Segmenter, Vocabulary
from segloop.line.gauges import cost, operations
from segloop.line.timed import Way, timed

FIELDS = {"step", "seconds", "share", "gflop_per_second", "of_matrix_rate", "peak_mib"}


def test_a_table_and_one_line(segloop, toy_clip, photos):
    told = segloop("bench", photos / "street.jpg", "--clip", toy_clip, "--queries", "3", "--repeats", "1")
    assert told.exit_code == 0 and "Where the time goes" in told.stderr + told.stdout
    record = json.loads(told.stdout.strip().splitlines()[-1])
    names = [step["step"] for step in record["steps"]]
    assert names[:3] == ["read", "resize", "CLIP"] and names[-3:] == ["upsample", "decide", "write"]
    assert all(step.keys() == FIELDS for step in record["steps"])
    assert abs(sum(step["share"] for step in record["steps"]) - 1) < 0.01
    assert record["queries"] == 3 and record["matrix_gflop_per_second"] > 0 and record["machine"]["processor"]


def test_every_kind_of_method_has_its_steps(tmp_path):
    photo, words = np.zeros((64, 80, 3), np.uint8), Vocabulary(["a", "b"], embeddings=torch.eye(2, 16))
    clip, guide = folder(tmp_path, "b16"), folder(tmp_path, "dino")
    words = Vocabulary(["a", "b"], embeddings=torch.eye(2, Segmenter.from_pretrained(clip, method="qq").clip.width))
    for options, middle in (
        ({"method": "sfp"}, ["CLIP", "attention", "readout"]),
        ({"host": "proxyclip", "vision": guide}, ["CLIP", "guide", "attention", "feedback", "readout"]),
    ):
        segmenter = Segmenter.from_pretrained(clip, short_side=64, crop=64, stride=16, dtype="float32", **options)
        written = []
        way = Way(segmenter, photo, words, written.append)
        found = timed(way, 1)
        assert list(found) == ["read", "resize", *middle, "upsample", "decide", "write"]
        assert (written[-1].labels == segmenter(photo, words).labels).all()
        assert found["CLIP"].operations > found["readout"].operations > 0


def test_operations_are_those_of_products_and_attention():
    left, right = torch.ones(5, 7), torch.ones(7, 11)
    assert operations(lambda: left @ right)[0] == 2 * 5 * 7 * 11
    x = torch.ones(2, 3, 6, 4)
    attention = operations(lambda: torch.nn.functional.scaled_dot_product_attention(x, x, x))[0]
    assert attention == 2 * 3 * (2 * 6 * 4 * 6) * 2
    assert cost(lambda: 3, torch.device("cpu"))[1] == 3


def test_a_size_that_is_none_is_refused(segloop, toy_clip):
    for size in ("375", "0x20", "axb", "99999x3"):
        assert "height x width" in complaint(segloop("bench", "--clip", toy_clip, "--size", size))
