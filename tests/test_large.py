"""Scenes that are too large to be read whole: by bands of rows, they get the maps that they would get whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import complaint
from segloop.errors import ImageError, TooManyPixelsError
from segloop.images import read_image, reading, resize_bands, resize_uint8, scene_of
from segloop.images.levels import STRETCHES, ends_of
from segloop.maps.decide import Block, Rule, decide, decide_strips

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 90, 120
AT = rasterio.transform.from_origin(500_000, 5_400_000, 10, 10)
TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}
REFUSED = TooManyPixelsError("it is too large", "make it smaller first")


def pixels(bands: int = 3, dtype: str = "uint8", height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(bands, height, width): smooth areas and noise, a corner of zeros."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(20, 200, (bands, height // 10, width // 10))
    fine = np.kron(coarse, np.ones((10, 10), int)) + rng.integers(0, 50, (bands, height, width))
    fine[:, :20, :30] = 0
    return (fine if dtype == "uint8" else fine * 200).astype(dtype)


def written(path: Path, values: np.ndarray, **how) -> str:
    """A GeoTIFF of (bands, H, W)."""
    count, height, width = values.shape
    how = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype, **how}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=AT, **how) as file:
        file.write(values)
    return str(path)


# rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 25), (37, 50), (80, 99), (111, 130), (1, 1), (37, 1), (74, 90)])
@pytest.mark.parametrize("step", [1, 7, 16, 37])
def test_bands_are_resized_to_rows_of_the_whole(size, step):
    whole = np.moveaxis(pixels(height=40, width=50), 0, 2)[:37]
    bands = (whole[start : start + step] for start in range(0, 37, step))
    assert np.array_equal(np.concatenate(list(resize_bands(bands, (37, 50), size))), resize_uint8(whole, size))


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("size", [1, 2, 3, 50, 51, 1000, 4097])
def test_ends_of_counts_are_numpys(stretch, size):
    values = np.random.default_rng(size).integers(0, 900, size).astype(np.uint16)
    expected = np.percentile(values, STRETCHES[stretch])
    assert ends_of(np.bincount(values, minlength=2**16), stretch) == tuple(expected)
    assert ends_of(np.zeros(2**16, np.int64), stretch) == (0, 0)


@pytest.mark.parametrize(
    ("bands", "dtype", "how", "read"),
    [
        (3, "uint8", {"photometric": "RGB"}, {}),
        (3, "uint8", {"photometric": "RGB", **TILES}, {}),
        (3, "uint8", {"photometric": "RGB", "interleave": "band", "compress": "deflate"}, {"stretch": "minmax"}),
        (3, "uint8", {"photometric": "YCBCR", "compress": "JPEG", "blockysize": 16}, {}),
        (3, "uint8", {"photometric": "YCBCR", "compress": "JPEG", **TILES}, {"bands": "3,2,1"}),
        (3, "uint8", {"photometric": "YCBCR", "compress": "JPEG", **TILES, "BIGTIFF": "YES"}, {"stretch": "minmax"}),
        (3, "uint8", {"photometric": "YCBCR", "compress": "JPEG", **TILES, "ENDIANNESS": "BIG"}, {}),
        (3, "uint8", {"photometric": "RGB", "compress": "JPEG", **TILES}, {}),
        (1, "uint8", {"compress": "JPEG", **TILES}, {}),
        (3, "uint8", {"photometric": "RGB", "nodata": 0}, {"stretch": "percentile"}),
        (4, "uint8", {"photometric": "RGB", "ALPHA": "YES"}, {}),
        (4, "uint8", {"photometric": "RGB", "ALPHA": "YES"}, {"stretch": "minmax"}),
        (1, "uint8", {}, {}),
        (1, "uint16", {"nodata": 0, "compress": "lzw", "predictor": 2}, {"stretch": "percentile"}),
        (3, "uint16", {"photometric": "RGB"}, {}),
        (6, "uint16", {"nodata": 0, "compress": "deflate"}, {"bands": "5,3,1", "stretch": "percentile"}),
        (6, "uint8", {"nodata": 0}, {"bands": (2, 2, 6), "stretch": "minmax"}),
        (6, "uint8", {}, {"bands": (4,)}),
    ],
)
def test_rows_of_a_file_are_what_the_whole_file_gives(tmp_path, monkeypatch, bands, dtype, how, read):
    monkeypatch.setattr("segloop.images.scene.NUMBERS", 17 * WIDTH)
    path, read = written(tmp_path / "s.tif", pixels(bands, dtype), **how), reading(**read)
    scene = scene_of(path, read, REFUSED)
    rows = list(scene.bands())
    assert len(rows) > 1 and np.array_equal(np.concatenate(rows), read_image(path, read))


def test_what_is_said_of_a_scene_is_said_once(tmp_path, recwarn):
    scene = scene_of(written(tmp_path / "s.tif", pixels(3, "uint16") // 20, photometric="RGB"), reading(), REFUSED)
    list(scene.bands())
    assert ["looks almost black" in str(one.message) for one in recwarn] == [True]


def test_what_is_not_read_by_rows_is_refused_as_before(tmp_path):
    values = pixels()
    Image.fromarray(np.moveaxis(values, 0, 2)).save(tmp_path / "s.png")
    Image.fromarray(np.moveaxis(values, 0, 2)).save(tmp_path / "turned.tif", exif=b"Exif\0\0" + turned())
    written(tmp_path / "float.tif", values.astype("float32"))
    for photo in (b"bytes", str(tmp_path / "s.png")):
        with pytest.raises(TooManyPixelsError, match=r"too large; make it smaller first\.$"):
            scene_of(photo, reading(), REFUSED)
    for name in ("turned.tif", "float.tif"):
        with pytest.raises(TooManyPixelsError, match=r"smaller first; by bands of rows only .*COMPRESS"):
            scene_of(str(tmp_path / name), reading(), REFUSED)
    with pytest.raises(ImageError, match="no band 7"):
        scene_of(written(tmp_path / "s.tif", values), reading("7"), REFUSED)


def test_a_scene_whose_map_has_no_room_is_refused_as_before(tmp_path, monkeypatch):
    path = written(tmp_path / "s.tif", pixels(), photometric="RGB")
    monkeypatch.setattr("segloop.images.scene.free_memory", lambda: 4 * HEIGHT * WIDTH - 1)
    with pytest.raises(TooManyPixelsError, match=r"too large; make it smaller first\.$"):
        scene_of(path, reading(), REFUSED)
    monkeypatch.setattr("segloop.images.scene.free_memory", lambda: 4 * HEIGHT * WIDTH)
    assert scene_of(path, reading(), REFUSED).size == (HEIGHT, WIDTH)


def turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("compress", ["deflate", "JPEG"])
def test_a_file_that_is_cut_off(tmp_path, compress):
    path = Path(written(tmp_path / "s.tif", pixels(), photometric="RGB", compress=compress))
    scene = scene_of(str(path), reading(), REFUSED)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImageError, match="damaged or cut off"):
        list(scene.bands())


# deciding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", [None, 0.0, 0.1, 0.3])
def test_strips_are_decided_as_the_whole(area):
    cosines = torch.randn(7, 12, 9, generator=torch.Generator().manual_seed(2)) / 10
    rule = Rule(torch.tensor([0, 1, 1, 2, 3, 3, 0]), 4, background_threshold=0.3, area_threshold=area)

    def blocks():
        return (Block(slice(i, i + 3), slice(0, 7), cosines[:, i : i + 3]) for i in range(0, 12, 3))

    whole, strips = decide(blocks, (12, 9), rule), list(decide_strips(blocks, 9, rule))
    assert [rows.start for rows, _ in strips] == [0, 3, 6, 9]
    assert torch.equal(torch.cat([one.labels for _, one in strips]), whole.labels)
    assert torch.equal(torch.cat([one.confidence for _, one in strips]), whole.confidence)


# labelling -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path) -> Path:
    """A scene on earth, and a small one."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    written(folder / "large.tif", pixels(), photometric="RGB", **TILES)
    written(folder / "small.tif", pixels(height=50, width=60), photometric="RGB")
    return folder


@pytest.fixture
def both(segloop, toy_clip, scenes, tmp_path, monkeypatch):
    """Label the scenes whole and by bands -> the two folders."""
    monkeypatch.setattr("segloop.images.scene.NUMBERS", 1)
    monkeypatch.setattr("segloop.line.steps.STRIP_BYTES", 20_000)

    def run(*options: object, classes: str = "car, road, sky") -> tuple[Path, Path]:
        words = ("--classes", classes, "--clip", toy_clip, "--templates", "plain", "--threads", 1)
        for out in ("whole", "banded"):
            if out == "banded":
                monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "5000")
            told = segloop("label", scenes, *words, "--out", tmp_path / out, "--overwrite", *options)
            assert told.exit_code == 0, told.output
        monkeypatch.delenv("SEGLOOP_MAX_PIXELS")
        return tmp_path / "whole", tmp_path / "banded"

    return run


def same(whole: Path, banded: Path) -> bool:
    """Whether both hold the same files, byte by byte, of which there are several."""
    below = ("labels", "confidence", "geotiff")
    files = [path.relative_to(whole) for name in below for path in (whole / name).rglob("*.*")]
    files += [Path("run.json"), Path("photos.csv"), Path("classes.csv")]
    assert len(files) >= 5
    return all((whole / file).read_bytes() == (banded / file).read_bytes() for file in files)


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("short_side=90",),  # native
        ("short_side=200", "crop=64", "stride=40"),
        ("short_side=70", "crop=0"),
        ("short_side=48", "crop=64", "stride=48"),  # one row of windows, less high than wide
        ("short_side=90", "crop=60", "stride=60"),  # padded, side by side
    ],
)
def test_bands_give_the_map_of_the_whole(both, sets):
    options = [word for one in sets for word in ("--set", one)]
    assert same(*both("--format", "geotiff,confidence", *options))


@pytest.mark.parametrize("options", [("--fidelity", "reference"), ("--batch", 3), ("--shard", 1), ("--background",)])
def test_also_with_other_options(both, options):
    assert same(*both(*options))


def test_also_with_filters_many_classes_and_rules(both):
    many = ", ".join(["car", "road", "sky", *(f"thing {number}" for number in range(297))])
    assert same(*both("--format", "geotiff", "--min-confidence", "0.004", classes=many))
    dropped = ("--set", "area_threshold=0.2", "--set", "background_threshold=0.3", "--background", "--only", "road,sky")
    assert same(*both(*dropped))


def test_maps_lie_where_their_scenes_do(both, scenes):
    _, banded = both("--format", "geotiff")
    with rasterio.open(banded / "geotiff" / "large.tif") as file:
        assert file.transform == AT and file.crs.to_epsg() == 32633 and file.shape == (HEIGHT, WIDTH)
        assert np.array_equal(file.read(1), np.asarray(Image.open(banded / "labels" / "large.png")))


def test_what_looks_at_the_whole_map_is_refused(segloop, toy_clip, scenes, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "5000")
    words = ("--classes", "car, sky", "--clip", toy_clip, "--templates", "plain", "--threads", 1, "--overwrite")
    for options, remedy in ((("--set", "pamr_steps=2"), "--set pamr_steps=none"), (("--min-area", 9), "--min-area")):
        told = segloop("label", scenes, *words, *options, "--out", tmp_path / "run")
        assert told.exit_code == 3
        (line,) = (tmp_path / "run" / "failed.jsonl").read_text().splitlines()
        assert "more pixels than is safe to open" in line and remedy in json.loads(line)["remedy"]


def test_a_forecast_leaves_them_out(segloop, toy_clip, scenes, monkeypatch):
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "5000")
    words = ("--classes", "car, sky", "--clip", toy_clip, "--templates", "plain", "--threads", 1)
    told = segloop("label", scenes, *words, "--dry-run", "--json")
    assert (json.loads(told.stdout)["large"], json.loads(told.stdout)["unusable"]) == (1, 0)
    assert (
        "1 scene of those, too large to be read at once, is in no figure"
        in segloop("label", scenes, *words, "--dry-run").stderr
    )


def test_without_rasterio_the_package_is_named(segloop, toy_clip, scenes, monkeypatch):
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "5000")
    monkeypatch.setattr("segloop.images.scene.find_spec", lambda name: None)
    words = ("--classes", "car, sky", "--clip", toy_clip, "--templates", "plain", "--threads", 1)
    told = segloop("label", scenes, *words)
    assert told.exit_code == 3 and "segloop[geo]" in Path("segloop-out/labels/failed.jsonl").read_text()
    assert "more pixels than is safe" in complaint(segloop("segment", scenes / "large.tif", *words))


def test_a_damaged_scene_costs_its_own_line(segloop, toy_clip, scenes, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "5000")
    written(scenes / "cut.tif", pixels(), photometric="RGB", compress="deflate")
    (scenes / "cut.tif").write_bytes((scenes / "cut.tif").read_bytes()[:-3000])
    words = ("--classes", "car, sky", "--clip", toy_clip, "--templates", "plain", "--threads", 1)
    told = segloop("label", scenes, *words, "--out", tmp_path / "run")
    assert told.exit_code == 3 and told.stdout.startswith("2 label maps")
    assert "damaged" in (tmp_path / "run" / "failed.jsonl").read_text()
