"""What methods can hold on to besides the last block: earlier blocks, the whole photo, masks, the map, labels."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segloop import Segmenter, Vocabulary
from segloop.attention.operators import Softmax, product
from segloop.attention.types import MARGIN, Needs
from segloop.backbones.shared import Memory, Models
from segloop.backbones.tower import run_blocks
from segloop.choice.method import Method
from segloop.choice.methods import METHODS
from segloop.errors import ImageError, OptionError
from segloop.line.straight import straight_line
from segloop.maps.refine import MAP_STEPS
from segloop.maps.relabel import LABEL_STEPS

PHOTO = np.random.default_rng(0).integers(0, 256, (70, 120, 3), np.uint8)
GEOMETRY = {"short_side": 64, "crop": 64, "stride": 24, "dtype": "float32"}
WORDS = Vocabulary(["grass", "sand", "water"], templates="plain")


def early(block):
    """Queries and keys of the block before the last, values of the last."""
    (before,) = block.earlier.values()
    return Softmax(before.q, before.k, before.scale)


early.needs = lambda depth: Needs(blocks=frozenset({depth - 1}))


def test_an_attention_reads_queries_and_keys_of_an_earlier_block():
    segmenter = Segmenter.from_pretrained("tiny", method=early, dtype="float32")
    clip, pixels = segmenter.clip, torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    text = segmenter.text(WORDS)
    x, states = clip.tokens(pixels, {clip.depth - 2})
    before = clip.open_block(states[clip.depth - 2], (8, 6), clip.depth - 2)
    mixed = product("qk")(before)(clip.open_block(x, (8, 6)).v)
    expected = clip.cosines(clip.close_block(mixed[:, :, 1:], None, mlp=False), text)
    found = segmenter.logits(pixels, text)
    torch.testing.assert_close(found, expected.mT.unflatten(-1, (8, 6)), rtol=0, atol=1e-5)


def test_earlier_blocks_lie_on_the_grid_of_a_guide(tmp_path):
    from models import folder

    guide = folder(tmp_path, "dino")
    segmenter = Segmenter.from_pretrained("tiny", method=early, vision=guide, dtype="float32")
    assert segmenter.logits(torch.zeros(1, 3, 64, 64), segmenter.text(WORDS)).isfinite().all()


def test_blocks_that_are_not_there_are_told():
    def wrong(block):
        return block.earlier[3]

    with pytest.raises(OptionError, match=r"queries and keys of block 3, .*blocks=frozenset"):
        Segmenter.from_pretrained("tiny", method=wrong, dtype="float32")(PHOTO, WORDS)
    wrong.needs = lambda depth: Needs(blocks=frozenset({depth}))
    with pytest.raises(OptionError, match="needs queries and keys of block 5"):
        Segmenter.from_pretrained("tiny", method=wrong, dtype="float32")(PHOTO, WORDS)


@dataclass(frozen=True)
class Level:
    """Cosines less their mean over the photo."""

    makes_one_map = False

    def needs(self, depth: int) -> Needs:
        return Needs()

    def hand(self, opened) -> Tensor:
        return opened.cosines()

    def join(self, whole) -> Tensor:
        assert whole.image().shape[2] == 3 and len(whole.handed) == len(whole.where.rows) * len(whole.where.columns)
        return whole.handed - whole.handed.mean((0, 2, 3), keepdim=True)


@dataclass(frozen=True)
class Mosaic:
    """The first window's block, stretched over the photo."""

    makes_one_map = True

    def needs(self, depth: int) -> Needs:
        return Needs()

    def hand(self, opened) -> Tensor:
        return opened.block.x[:, 1:].mT.unflatten(-1, opened.block.grid)

    def join(self, whole):
        from segloop.line.stages import Batch, open_last

        tower, x = whole.tower, whole.handed[:1]
        grid = (x.shape[-2], x.shape[-1])
        tokens = torch.cat([x.flatten(2).mT.mean(1, keepdim=True), x.flatten(2).mT], 1)
        batch = Batch(tower, grid, whole.text, torch.empty(1, 3, *whole.size))
        return open_last(batch, {tower.depth - 1: tokens})


def row(stage) -> Method:
    return Method("", "", "P", host="qq", stages=(stage,), published=False)


def test_windows_are_joined_photo_by_photo(monkeypatch):
    monkeypatch.setitem(METHODS.own, "level", row(Level()))
    level, host = (Segmenter.from_pretrained("tiny", method=name, **GEOMETRY) for name in ("level", "qq"))
    photos = [PHOTO, PHOTO[:, ::-1].copy(), PHOTO[:40, :80]]
    ready = [host.prepare(photo) for photo in photos]
    expected = [tile - tile.mean((0, 2, 3), keepdim=True) for tile in host.tiles(ready, host.text(WORDS))]
    for found, wanted in zip(level.tiles(ready, level.text(WORDS)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    alone = [level(photo, WORDS).labels for photo in photos]
    assert all((a == b.labels).all() for a, b in zip(alone, level(photos, WORDS), strict=True))
    window = ready[0].windows[:1]
    one = host.logits(window, host.text(WORDS))
    found = level.logits(window, host.text(WORDS))
    torch.testing.assert_close(found, one - one.mean((0, 2, 3), keepdim=True), rtol=0, atol=1e-6)


def test_feedback_needs_an_attention_behind_the_windows(monkeypatch):
    monkeypatch.setitem(METHODS.own, "level", row(Level()))
    monkeypatch.setitem(METHODS.own, "mosaic", row(Mosaic()))
    with pytest.raises(OptionError, match="no attention behind its scores"):
        Segmenter.from_pretrained("tiny", host="level", **GEOMETRY)
    plain, fed = (Segmenter.from_pretrained("tiny", **GEOMETRY, **{name: "mosaic"}) for name in ("method", "host"))
    ready = plain.prepare(PHOTO)
    assert len(ready.windows) > 1
    tiles = [segmenter.tiles([ready], segmenter.text(WORDS))[0] for segmenter in (plain, fed)]
    assert [tile.shape for tile in tiles] == [(1, 3, 8, 8)] * 2 and not tiles[0].allclose(tiles[1])
    assert plain.score_map(ready, tiles[0]).shape == (3, 70, 120)
    assert plain.layout(ready).columns == ((0, ready.size[1]),)
    with pytest.raises(OptionError, match="joins the windows"):
        plain.network.opened(ready.windows, plain.text(WORDS))


@dataclass(frozen=True)
class Blur:
    """Sees the resized photo."""

    blur: int = 0
    at_network_size = True

    @property
    def is_on(self) -> bool:
        return self.blur > 0

    def ready(self, image: Tensor):
        assert image.shape == (3, 64, 110)
        return lambda maps: torch.nn.functional.avg_pool2d(maps, 3, 1, 1)


def test_a_step_on_the_map_at_the_networks_size(monkeypatch):
    monkeypatch.setitem(MAP_STEPS, "blur", Blur())
    segmenter, plain = (Segmenter.from_pretrained("tiny", method="qq", blur=blur, **GEOMETRY) for blur in (1, 0))
    ready = plain.prepare(PHOTO)
    (tile,) = plain.tiles([ready], plain.text(WORDS))
    inner = plain.score_map(ready, tile).at_network_size(slice(None))
    maps = torch.nn.functional.avg_pool2d(inner, 3, 1, 1)
    expected = torch.nn.functional.interpolate(maps[None], size=(70, 120), mode="bilinear")[0]
    torch.testing.assert_close(segmenter.cosines(PHOTO, WORDS), expected, rtol=0, atol=1e-5)


@dataclass(frozen=True)
class First:
    """Every region takes the class of its first pixel."""

    first_pixel: bool = False

    @property
    def is_on(self) -> bool:
        return self.first_pixel

    def __call__(self, settled):
        labels = settled.decision.labels.numpy().copy()
        for region in np.unique(settled.regions):
            labels[settled.regions == region] = labels[settled.regions == region][0]
        return replace(settled.decision, labels=torch.from_numpy(labels))


def halves(photo, image: np.ndarray) -> np.ndarray:
    ids = np.zeros(image.shape[:2], np.uint8)
    ids[:, image.shape[1] // 2 :] = 7
    return ids


def test_regions_reach_windows_and_labels(monkeypatch):
    monkeypatch.setitem(LABEL_STEPS, "first", First())
    seen = []

    def mix(block):
        seen.append(block.regions)
        return product("qq")(block)

    segmenter = Segmenter.from_pretrained("tiny", method=mix, first_pixel=True, **GEOMETRY)
    segmenter = replace(segmenter, masks=halves)
    labels = segmenter(PHOTO, WORDS).labels
    assert len(np.unique(labels[:, :60])) == len(np.unique(labels[:, 60:])) == 1
    assert (straight_line(segmenter, PHOTO, WORDS).numpy() == labels).all()
    assert segmenter.describe(WORDS)["first_pixel"] is True
    ready = segmenter.prepare(PHOTO)
    assert ready.window_regions.shape == (len(ready.windows), 64, 64)
    assert ready.window_regions[0].unique().tolist() == [0, 7]
    assert all(set(ids.unique().tolist()) <= {0, 7} for ids in seen)
    small = segmenter.prepare(PHOTO[:20, :24])
    padded = replace(small, where=replace(small.where, pad_rows=(1, 1)))
    assert small.window_regions.min() >= 0 and padded.where.window[0] == small.where.window[0] + 2 and MARGIN < 0


def test_masks_of_another_size_are_refused():
    segmenter = Segmenter.from_pretrained("tiny", method="qq", **GEOMETRY)
    for bad in (np.zeros((3, 4), np.int64), np.zeros((70, 120))):
        with pytest.raises(ImageError, match="a whole number for every pixel"):
            replace(segmenter, masks=lambda photo, image, bad=bad: bad)(PHOTO, WORDS)


@dataclass(frozen=True)
class Counted:
    """Blocks in a row as torch runs them, each run noted."""

    ran: list[int]

    def __call__(self, tower, x, keep, open_blocks):
        self.ran.append(open_blocks)
        return run_blocks(tower, x, keep, open_blocks)


def test_methods_that_share_a_clip_run_it_once_whatever_blocks_they_open():
    every = [
        {"method": "clip"},
        {"method": "resclip"},
        {"method": "sc-clip"},
        {"method": "sfp", "repair": "each"},
        {"method": "fsa", "host": "sclip", "feedback_layers": 3},
        {"method": early},
    ]
    ran, memory, models = [], Memory(), Models()
    pixels = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    alone = [Segmenter.from_pretrained("tiny", dtype="float32", models=models, **options) for options in every]
    clip = replace(alone[0].clip, blocks=Counted(ran))
    together = [replace(one.network, clip=clip, memory=memory) for one in alone]
    text = alone[0].text(WORDS)
    for one, network in zip(alone, together, strict=True):
        assert torch.equal(network.logits(pixels, text), one.logits(pixels, text))
    assert len(ran) == 1
