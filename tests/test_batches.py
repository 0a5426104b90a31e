"""Batches: packed by shape, halved where memory runs out, measured once; photos read ahead and written behind."""

import json
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from command import done, left_over
from models import folder
from segloop import Segmenter
from segloop.backbones.clip import Clip
from segloop.backbones.vision import Guide
from segloop.common import ahead as threads
from segloop.common.attempts import attempt
from segloop.errors import Notice, TooLargeError
from segloop.line import measured as measuring
from segloop.line.batches import Room, full, tiles
from segloop.line.measured import fastest, measured
from segloop.line.network import Network
from segloop.runs.networks import Networks
from tolerances import NETWORK

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("--classes", "road, car, sky")
OUT_OF_MEMORY = {
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError(),
}


def waiting(count: int, shape: tuple[int, int] = (4, 4), megabytes: int = 0, seed: int = 0):
    """A photo in `count` windows, with ids of regions."""
    draw = torch.Generator().manual_seed(seed)
    windows = torch.rand(count, 3, *shape, generator=draw)
    image = np.empty((megabytes, 2**20), np.uint8)
    ids = torch.arange(count)[:, None, None].expand(-1, *shape) + 100 * seed
    return SimpleNamespace(where=SimpleNamespace(window=shape), windows=windows, window_regions=ids, image=image)


class Small:
    """A network with room for some windows, which raises for more."""

    def __init__(self, room: int, error: BaseException):
        self.room, self.error, self.seen = room, error, []

    def __call__(self, windows, regions, features):
        self.seen.append(len(windows))
        if len(windows) > self.room:
            raise self.error
        return torch.stack([windows.mean(1), regions * 1.0, features], 1)


# fewer where memory runs out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_a_batch_is_halved_and_nothing_is_lost(error):
    photos = [waiting(5, seed=1), waiting(1, (6, 4), seed=2), waiting(6, seed=3)]
    small, room, relieved = Small(3, error), Room(), []

    def guides(photo):
        return photo.windows.amax(1)

    expected = tiles(photos, Small(99, error), 8, guides)
    with pytest.warns(Notice, match=r"^memory ran out on 8 windows together: from here on 4 go together$") as told:
        found = tiles(photos, small, 8, guides, room, lambda: relieved.append(1))
    assert all(map(torch.equal, found, expected)) and len(told) == 1
    assert small.seen == [8, 4, 2, 2, 2, 2, 2, 1, 1] and room.windows == 2 and len(relieved) == 2
    assert all(map(torch.equal, tiles(photos, small, 8, guides, room), expected))  # kept for the next call
    assert max(small.seen[9:]) == 2


def test_one_window_that_has_no_room_is_the_error_of_its_photo():
    room, small = Room(), Small(0, OUT_OF_MEMORY["cpu"])
    with pytest.warns(Notice, match="on 2 windows together: from here on 1 go"):
        found = attempt(lambda: tiles([waiting(2)], small, 8, lambda photo: photo.windows[:, 0], room), "a.jpg")
    assert isinstance(found, TooLargeError) and found.what == "memory ran out on a.jpg" and small.seen == [2, 1]


def test_other_errors_are_not_tried_again():
    small = Small(0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="do not fit"):
        tiles([waiting(4)], small, 8, lambda photo: photo.windows[:, 0])
    assert small.seen == [4]


def test_a_command_goes_on_with_fewer_windows_and_says_so_once(segment, street, tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(street.read_bytes())
    options = ("a.jpg", "b.jpg", *WORDS, "--dtype", "float32", "--set", "crop=32", "--format", "npz")
    done(segment(*options, "--out", "alone", "--batch", 1))
    real = Network.windows

    def small(self, pixels, *others, **named):
        if len(pixels) > 2:
            raise OUT_OF_MEMORY["cuda"]
        return real(self, pixels, *others, **named)

    monkeypatch.setattr(Network, "windows", small)
    result = segment(*options, "--out", "halved")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["memory ran out on 8 windows together: from here on 4 go together"]
    for name in ("a.npz", "b.npz"):
        alone, halved = (np.load(tmp_path / out / name) for out in ("alone", "halved"))
        assert (alone["labels"] == halved["labels"]).all()
        np.testing.assert_allclose(alone["confidence"], halved["confidence"], rtol=0, atol=100 * NETWORK)


# packed ------------------------------------------------------------------------------------------------------------


def test_photos_wait_until_batches_are_full():
    assert not full([], 8) and not full([waiting(6)], 8) and full([waiting(6)], 1)
    assert full([waiting(8)], 8) and full([waiting(4)] * 2, 8) and full([waiting(6)] * 4, 8)
    assert not full([waiting(6)] * 2, 8)  # 8 and 4
    assert full([waiting(7)] * 5, 8)  # the last of five is not full: a fifth at most is lost
    assert not full([waiting(4), waiting(4, (6, 4))], 8)  # of two shapes, none is full
    assert full([waiting(4, (4, side)) for side in range(8)], 8)
    assert full([waiting(1, megabytes=128)] * 2, 64)  # or much memory waits


# the best batch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({count: count for count in (1, 2, 4, 8, 16, 32, 64, 128)}, 1),  # a processor that is full with one
        ({1: 1, 2: 1.1, 4: 1.3, 8: 1.7, 16: 3.0, 32: 6.0, 64: 12, 128: 24}, 16),
        ({1: 1, 2: 1.0, 4: 1.0, 8: 20}, 4),  # gets slower
        ({1: 1, 2: 1.0, 4: None}, 2),  # memory runs out
        ({1: None}, 1),
    ],
)
def test_the_smallest_batch_that_is_about_as_fast_as_any(seconds, best):
    now = [0.0]

    def run(count: int) -> None:
        if seconds[count] is None:
            raise OUT_OF_MEMORY["cuda"]
        now[0] += seconds[count] / 1000

    assert fastest(run, lambda: now[0]) == best


def test_a_slow_machine_is_not_measured_for_long():
    now = [0.0]

    def run(count: int) -> None:
        now[0] += count

    assert fastest(run, lambda: now[0]) == 1 and now[0] <= 3 * (1 + 2)


def test_what_was_measured_is_kept_for_the_same_machine(toy_clip, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path))
    segmenter, told = Segmenter.from_pretrained(toy_clip, dtype="float32"), []
    assert measured(segmenter, measuring.MANY - 1, told.append) is segmenter and not told
    monkeypatch.setattr(measuring, "fastest", lambda run, clock: (run(2) and 2) or 3)
    found = measured(segmenter, measuring.MANY, told.append).batch
    assert told == [f"measured here: {found} windows of 64 pixels go together; --batch sets another number"]
    monkeypatch.setattr(measuring, "fastest", None)
    assert measured(segmenter, 1, told.append).batch == found and len(told) == 1
    sclip = Segmenter.from_pretrained(toy_clip, dtype="float32", method="sclip", crop=64)
    assert measured(sclip, 1, told.append).batch == found  # the same for all methods
    (file,) = (tmp_path / "batch").iterdir()
    for spoilt in (b"", b"[]", b'{"windows": 0}', b'{"windows": "8"}'):
        file.write_bytes(spoilt)
        assert measured(segmenter, 1, told.append) is segmenter


def test_a_number_that_is_given_or_recorded_goes_before(segloop, toy_clip, photos, drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "MANY", 1)
    monkeypatch.setattr(measuring, "fastest", lambda run, clock: 3)

    def batch_of(command: str, *words, out: str) -> int:
        where = (photos,) if command == "label" else ("scenes", "--data", drawn, "--limit", 1)
        words = ("--classes", "road, sky", *words) if command == "label" else words
        result = segloop(command, *where, "--clip", toy_clip, "--templates", "plain", "--out", out, *words)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / out / "run.json").read_text())["settings"]["batch"]

    for command in ("label", "evaluate"):
        assert batch_of(command, out=f"{command}-measured") == 3
        assert batch_of(command, "--batch", 2, out=f"{command}-given") == 2
        assert batch_of(command, out=f"{command}-given") == 2  # goes on
    monkeypatch.setattr(Segmenter, "stream", lambda self, *others, **named: iter(told.append(self.batch) or ()))
    told: list[int] = []
    for words in ((), ("--batch", 2)):
        segloop("segment", *sorted(photos.iterdir()), *WORDS, "--clip", toy_clip, "--templates", "plain", *words)
    assert told == [3, 2] and Networks(str(toy_clip)).open().batch == 8


# ahead and behind --------------------------------------------------------------------------------------------------


def test_what_is_read_ahead_is_in_order_and_bounded():
    begun, lock = [], threading.Lock()

    def do(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    with threads.threads() as pool:
        results = threads.ahead(pool, do, range(100))
        assert next(results) == 0 and len(begun) <= threads.AHEAD + 1
        assert list(results) == list(range(1, 100))
        begun.clear()
        heavy = threads.ahead(pool, do, range(30), lambda number: threads.ROOM // 3)
        for place, number in enumerate(heavy):
            assert number == place and len(begun) <= place + 1 + 3
        begun.clear()
        for place, _ in enumerate(threads.ahead(pool, do, range(9), lambda number: 2 * threads.ROOM)):
            assert len(begun) <= place + 2


def test_an_error_comes_in_its_turn_and_what_was_not_begun_never_is():
    gate, begun = threading.Event(), []

    def do(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError
        gate.wait(10)
        return number

    with pytest.raises(ValueError), threads.threads(2) as pool:
        results = threads.ahead(pool, do, range(10))
        gate.set()
        assert next(results) == 0
        next(results)
    before = len(begun)
    gate.wait(0)
    assert len(begun) == before <= 10


def test_what_is_finished_behind_is_in_order_and_bounded():
    gate, made = threading.Event(), []

    def items():
        for number in range(40):
            made.append(number)
            if len(made) > threads.BEHIND:
                gate.set()  # or nothing would ever be done
            yield number

    with threads.threads(2) as pool:
        found = list(threads.behind(pool, lambda number: gate.wait(10) and number, items(), lambda number: 1))
        assert found == list(range(40)) and gate.is_set()
        made.clear()
        for place, _ in enumerate(threads.behind(pool, str, items(), lambda number: 2 * threads.ROOM)):
            assert len(made) == place + 1  # nothing beside what is heavy


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_made_before_an_error_is_finished(error):
    def items():
        yield from range(3)
        raise error

    found: list[int] = []
    with threads.threads(1) as pool, pytest.raises(error):
        for number in threads.behind(pool, lambda number: time.sleep(0.01) or number, items(), lambda number: 1):
            found.append(number)
    assert found == [0, 1, 2]


def test_a_slow_disk_holds_the_network_back():
    slow: Future = Future()
    later = threading.Timer(0.05, slow.set_result, [None])
    some = deque([(slow, threads.ROOM), (Future(), 1)])
    later.start()
    threads.hold_back(some)
    assert slow.done() and len(some) == 1


def test_many_photos_at_once_are_as_one_by_one(segment, tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        Image.fromarray(draw.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "2.png").write_bytes(b"none")
    options = (*WORDS, "--dtype", "float32", "--batch", 1, "--format", "png,json,coco")
    result = segment(*names, *options, "--out", "all", "--json")
    assert result.exit_code == 3
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == [
        name for name in names if name != "2.png"
    ]
    for name in ("0.png", "4.png"):
        done(segment(name, *options, "--out", "alone"))
        for file in (name, name.replace("png", "json")):
            assert (tmp_path / "all" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    assert len(json.loads((tmp_path / "all/annotations.coco.json").read_text())["images"]) == 4
    (line,) = (tmp_path / "all/failed.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "2.png"


def test_ctrl_c_among_many_keeps_what_was_finished(segment, street, tmp_path, monkeypatch):
    names = [f"{number}.jpg" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(street.read_bytes())
    real, calls = Segmenter._decide, []

    def interrupted(self, *others, **named):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *others, **named)

    monkeypatch.setattr(Segmenter, "_decide", interrupted)
    options = (*names, *WORDS, "--batch", 1, "--format", "png,coco")
    result = segment(*options)
    assert result.exit_code == 130 and "what was finished is kept" in result.stderr
    out = tmp_path / "segloop-out"
    assert sorted(path.stem for path in out.glob("*.png")) == list("012") and not left_over(out)
    assert len(json.loads((out / "annotations.coco.json").read_text())["images"]) == 3
    monkeypatch.setattr(Segmenter, "_decide", real)
    again = segment(*options)
    assert again.exit_code == 0 and again.stderr.startswith("3 of 6 photos were done before")


# once for all methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["window", "photo"])
def test_words_and_windows_are_seen_once_by_all_methods(evaluate, tmp_path, monkeypatch, view):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "cache"))
    seen: dict[str, list[int]] = {"guide": [], "text": []}
    look, encode = Guide.__call__, Clip.encode_text

    def looking(self, pixels, *others, **named):
        seen["guide"].append(len(pixels))
        return look(self, pixels, *others, **named)

    def encoding(self, texts):
        seen["text"].append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(Guide, "__call__", looking)
    monkeypatch.setattr(Clip, "encode_text", encoding)
    guide = folder(tmp_path, "dino")
    options = ("--vision", guide, "--set", f"vision_view={view}", "--dtype", "float32", "--limit", 2)
    counts = []
    for out, methods in (("one", ("--methods", "proxyclip")), ("all", ("--methods", "proxyclip", "--fsa", "off,on"))):
        for calls in seen.values():
            calls.clear()
        result = evaluate(*options, *methods, "--out", tmp_path / out)
        assert result.exit_code == 0, result.output
        counts.append({name: sum(calls) for name, calls in seen.items()})
    assert len(list((tmp_path / "all").rglob("run.json"))) == 2
    assert counts[0]["guide"] == counts[1]["guide"] > 0  # of one run, and of two
    assert counts[0]["text"] > 0 and counts[1]["text"] == 0


def test_a_batch_that_was_given_stays_below_what_memory_holds():
    assert Room().of(8) == 8 and Room(2).of(8) == 2 and Room(16).of(8) == 8
    assert replace(Room(2), windows=1).of(1) == 1
