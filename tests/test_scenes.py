import json

import numpy as np
import pytest
from PIL import Image

from segloop.errors import OptionError
from segloop.scenes.draw import CLASSES, COLOURS, GROUNDS, SHAPES, caption, scene, write_scenes

SMALL = (96, 128)


def test_same_seed_same_bytes():
    first, again, other = scene(3, SMALL), scene(3, SMALL), scene(4, SMALL)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_size_is_height_then_width_and_does_not_change_the_scene():
    small, large = scene(7, SMALL), scene(7, (192, 256))
    assert large.image.shape == (192, 256, 3) and large.mask.shape == (192, 256)
    assert small.caption == large.caption
    assert (large.mask[::2, ::2] == small.mask).mean() > 0.97


@pytest.mark.parametrize("seed", range(25))
def test_mask_and_caption_name_what_is_visible(seed):
    drawn = scene(seed, SMALL)
    assert drawn.image.dtype == drawn.mask.dtype == np.uint8
    visible = {CLASSES[index] for index in np.unique(drawn.mask)}  # an index outside the classes fails here
    words = set(drawn.caption.replace(",", "").split())
    assert words & set(CLASSES) == visible
    assert words & set(SHAPES) == {shape for _, shape in drawn.shapes}
    assert 1 <= len(visible & set(GROUNDS)) <= 3 and len(visible & set(COLOURS)) <= 3


@pytest.mark.parametrize("seed", range(25))
def test_each_shape_has_its_colour_where_the_mask_says(seed):
    drawn = scene(seed, SMALL)
    for tint, _ in drawn.shapes:
        inside = drawn.image[drawn.mask == CLASSES.index(tint)].astype(int)
        red, green, blue = np.median(inside, axis=0)
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


def test_grounds_differ_from_each_other_in_colour_and_texture():
    spread = {}
    for seed in range(60):
        drawn = scene(seed, SMALL)
        for name in GROUNDS:
            pixels = drawn.image[drawn.mask == CLASSES.index(name)]
            if len(pixels) > 500:
                spread.setdefault(name, []).append(pixels.mean(0))
    assert set(spread) == set(GROUNDS)
    # the same ground never has one constant colour
    assert all(np.std(means, axis=0).max() > 8 for name, means in spread.items())


def test_captions_read_well():
    assert caption(["grass"], ()) == "grass"
    assert caption(["grass", "sand"], (("red", "circle"),)) == "grass and sand with a red circle"
    shapes = (("orange", "star"), ("blue", "square"), ("red", "circle"))
    assert caption(["snow"], shapes) == "snow with an orange star, a blue square and a red circle"


def test_written_layout(tmp_path):
    write_scenes(tmp_path / "one", 3, seed=5, size=(48, 64))
    write_scenes(tmp_path / "two", 2, seed=5, size=(48, 64))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "captions.jsonl",
        "classes.txt",
        "images",
        "masks",
    ]
    assert (tmp_path / "one/classes.txt").read_text().splitlines() == list(CLASSES)
    lines = [json.loads(line) for line in (tmp_path / "one/captions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"images/{index:06d}.png" for index in range(3)]
    for index, line in enumerate(lines):
        drawn = scene(5_000_000 + index, (48, 64))
        with Image.open(tmp_path / "one" / line["image"]) as image:
            assert image.mode == "RGB" and np.array_equal(np.asarray(image), drawn.image)
        with Image.open(tmp_path / "one" / line["image"].replace("images", "masks")) as mask:
            assert mask.mode == "P" and np.array_equal(np.asarray(mask), drawn.mask)
        assert line["caption"] == drawn.caption
    for name in ("000000.png", "000001.png"):
        assert (tmp_path / "one/images" / name).read_bytes() == (tmp_path / "two/images" / name).read_bytes()


@pytest.mark.parametrize("seed, size", [(-1, (48, 64)), (0, (8, 64))])
def test_impossible_scenes_say_what_to_do(seed, size):
    with pytest.raises(OptionError, match="at least"):
        scene(seed, size)


def test_counts_out_of_range(tmp_path):
    with pytest.raises(OptionError, match="choose a count"):
        write_scenes(tmp_path, 0, seed=0)
