"""The renderer `cells`: the classes and colours of the first, and nothing else of it."""

import numpy as np
import pytest
from typer.testing import CliRunner

from command import complaint
from segloop.cli import app
from segloop.errors import OptionError
from segloop.scenes import cells, draw
from segloop.scenes.draw import CLASSES, COLOURS, GROUNDS
from segloop.scenes.fields import FIELDS, field
from segloop.scenes.renderers import RENDERERS

SMALL = (96, 128)


@pytest.fixture(scope="module")
def scenes():
    return [cells.scene(seed, SMALL) for seed in range(16)]


def test_same_seed_same_bytes(scenes):
    again = cells.scene(3, SMALL)
    assert again.image.tobytes() == scenes[3].image.tobytes() and again.mask.tobytes() == scenes[3].mask.tobytes()
    assert scenes[3].image.tobytes() != scenes[4].image.tobytes()
    assert scenes[3].image.tobytes() != draw.scene(3, SMALL).image.tobytes()


@pytest.mark.parametrize("size", [(192, 256), (144, 192)])
def test_a_larger_picture_shows_the_same_scene(scenes, size):
    large = cells.scene(7, size)
    assert large.image.shape == (*size, 3) and large.mask.shape == size
    assert large.caption == scenes[7].caption
    rows, columns = (np.arange(side) * full // side for side, full in zip(SMALL, size, strict=True))
    assert (large.mask[rows][:, columns] == scenes[7].mask).mean() > 0.97


@pytest.mark.parametrize("size", [(16, 16), (40, 20), (16, 200)])
def test_any_sides(size):
    assert cells.scene(1, size).image.shape == (*size, 3)


def test_mask_and_caption_name_what_is_visible(scenes):
    for drawn in scenes:
        assert drawn.image.dtype == drawn.mask.dtype == np.uint8
        visible = {CLASSES[index] for index in np.unique(drawn.mask)}
        words = set(drawn.caption.replace(",", "").split())
        assert words & set(CLASSES) == visible
        assert words & set(cells.OUTLINES) == {shape for _, shape in drawn.shapes}
        assert {tint for tint, _ in drawn.shapes} == visible & set(COLOURS)
        assert 1 <= len(visible & set(GROUNDS)) <= 3


def test_words_and_outlines():
    assert set(FIELDS) == set(GROUNDS) and not set(cells.OUTLINES) & set(draw.SHAPES)
    seen = [cells.scene(seed, (24, 32)) for seed in range(50)]
    assert {tint for one in seen for tint, _ in one.shapes} == set(COLOURS)
    assert {shape for one in seen for _, shape in one.shapes} == set(cells.OUTLINES)
    assert {CLASSES[index] for one in seen for index in np.unique(one.mask)} == set(CLASSES)


def test_each_thing_has_its_colour_where_the_mask_says(scenes):
    """Hue and value of COLOURS, shaded by at most a sixth; grounds are not the colour of a thing."""
    for drawn in scenes:
        for tint, _ in drawn.shapes:
            red, green, blue = np.median(drawn.image[drawn.mask == CLASSES.index(tint)].astype(int), axis=0)
            seen = {
                "red": red > 2 * max(green, blue),
                "green": green > 1.4 * max(red, blue),
                "blue": blue > 1.8 * max(red, green),
                "yellow": min(red, green) > 2 * blue and green > 0.75 * red,
                "purple": min(red, blue) > 1.3 * green and blue > 0.9 * red,
                "orange": red > 1.4 * green > 1.4 * 2 * blue,
                "black": max(red, green, blue) < 50,
                "white": min(red, green, blue) > 205,
            }
            assert seen[tint], (tint, red, green, blue)


def test_the_mask_is_exact():
    """With a thing's paint changed, no pixel changes outside its mask but at its edge."""
    thing = next(t for seed in range(9) for t in cells._things(np.random.default_rng(seed), (1.0, 1.0), []))
    y, x = (np.mgrid[:96, :96].astype(np.float32) + 0.5) / 96
    ground, under = np.full((96, 96, 3), 0.5, np.float32), np.zeros((96, 96), np.uint8)
    image, mask = cells._laid(thing, ground, under, x, y)
    bare = cells._laid(cells.Thing(**{**vars(thing), "shadow": 0.0}), ground, under, x, y)[0]
    inside = mask == CLASSES.index(thing.tint)
    assert 0.02 < inside.mean() < 0.5
    changed = np.abs(bare - ground).max(-1) > 1e-6
    edge = sum(np.roll(inside, step, axis) != inside for step in (1, -1) for axis in (0, 1)) > 0
    assert (changed | edge)[inside].all() and not (changed & ~inside & ~edge).any()
    most = 0.5 * 0.5 * thing.shadow  # of what the ground shows through, at most half, half of it in shadow
    assert np.abs(image - bare)[inside].max() <= most + 1e-6 < np.abs(image - bare).max()


def test_a_ground_does_not_hang_on_where_it_is_asked():
    y, x = np.mgrid[:40, :60].astype(np.float32)
    for name in FIELDS:
        whole, part = (field(name, np.random.default_rng(2), *at) for at in ((x, y), (x[10:, 20:], y[10:, 20:])))
        np.testing.assert_allclose(whole[10:, 20:], part, atol=1e-3, err_msg=name)


def test_impossible_scenes_say_what_to_do():
    for seed, size in ((-1, SMALL), (0, (8, 64))):
        with pytest.raises(OptionError, match="at least"):
            cells.scene(seed, size)


def test_the_command_draws_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    sizes = ["--count", "1", "--size", "32x48"]
    for name, more in {"plain": [], "named": ["--renderer", "bands"], "other": ["--renderer", "cells"]}.items():
        assert run(app, ["scenes", name, *sizes, *more]).exit_code == 0
    plain, named, other = ((tmp_path / name / "images/000000.png").read_bytes() for name in ("plain", "named", "other"))
    assert plain == named != other
    assert "did you mean 'cells'" in complaint(run(app, ["scenes", "x", "--renderer", "cell"]))
    assert list(RENDERERS) == ["bands", "cells"]
