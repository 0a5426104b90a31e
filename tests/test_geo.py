"""Scenes with a place on earth: their maps have it too."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segloop.common.earlier import is_a
from segloop.labelling.geo import encoded
from segloop.labelling.outcomes import IS_GEOTIFF

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.usefixtures("one_thread")

AT = rasterio.transform.from_origin(500_000, 5_400_000, 10, 10)


def scene(path: Path, pixels: np.ndarray, **reference) -> Path:
    """A GeoTIFF of (H, W, 3) bytes."""
    height, width, _ = pixels.shape
    how = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", **reference}
    with rasterio.open(path, "w", **how) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return path


@pytest.fixture
def source(drawn, tmp_path) -> Path:
    """A scene of UTM, one with ground control points, one turned, a TIFF without a place, and a PNG."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    photos = sorted((drawn / "images").iterdir())
    pixels = np.asarray(Image.open(photos[0]).convert("RGB"))
    scene(folder / "deep" / "utm.tif", pixels, crs="EPSG:32633", transform=AT)
    points = [rasterio.control.GroundControlPoint(row, col, 8 + col / 100, 50 - row / 100) for row, col in CORNERS]
    scene(folder / "points.tif", pixels, crs="EPSG:4326", gcps=points)
    tifffile.imwrite(folder / "plain.tif", pixels)
    scene(folder / "turned.tif", pixels, crs="EPSG:32633", transform=AT)
    with tifffile.TiffFile(folder / "turned.tif", mode="r+b") as file:
        entry = file.pages[0].tags.get(284)  # one short number, like the orientation: make it that
        file.filehandle.seek(entry.offset)
        file.filehandle.write((274).to_bytes(2, "little"))
        file.filehandle.seek(entry.valueoffset)
        file.filehandle.write((3).to_bytes(2, "little"))
    shutil.copy(photos[1], folder / "photo.png")
    return folder


CORNERS = [(0, 0), (0, 64), (48, 0), (48, 64)]


@pytest.fixture
def label(segloop, toy_clip, drawn, tmp_path):
    words = ("--classes-file", drawn / "classes.txt", "--clip", toy_clip, "--templates", "plain", "--threads", 1)

    def run(source: Path, *options: object):
        return segloop("label", source, *words, "--out", tmp_path / "run", "--format", "geotiff", *options)

    return run


def test_maps_lie_where_their_scenes_do(label, source, tmp_path):
    told = label(source)
    assert told.exit_code == 0, told.output
    assert "3 photos without a reference system have no GeoTIFF" in told.stderr
    made = tmp_path / "run" / "geotiff"
    assert sorted(path.relative_to(made).as_posix() for path in made.rglob("*.tif")) == ["deep/utm.tif", "points.tif"]
    with rasterio.open(made / "deep" / "utm.tif") as file:
        assert file.crs == rasterio.crs.CRS.from_epsg(32633) and file.transform == AT and file.nodata == 255
        assert (file.read(1) == np.asarray(Image.open(tmp_path / "run" / "labels" / "deep" / "utm.png"))).all()
        assert file.colormap(1)[1][:3] == tuple(Image.open(tmp_path / "run/labels/photo.png").getpalette()[3:6])
    with rasterio.open(made / "points.tif") as file:
        points, system = file.gcps
        assert system.to_epsg() == 4326 and [(one.row, one.col) for one in points] == CORNERS


def test_scenes_within_a_tar_shard(label, source, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.add(source / "deep" / "utm.tif", "utm.tif")
    assert label(tmp_path / "s.tar").exit_code == 0
    with rasterio.open(tmp_path / "run" / "geotiff" / "s" / "utm.tif") as file:
        assert file.transform == AT


def test_made_again_the_bytes_are_the_same_and_others_are_left_alone(label, source, tmp_path):
    label(source)
    made = tmp_path / "run" / "geotiff" / "deep" / "utm.tif"
    before = made.read_bytes()
    made.unlink()
    label(source)
    assert made.read_bytes() == before and is_a(made, IS_GEOTIFF)
    shutil.copy(source / "deep" / "utm.tif", made)
    told = label(source)
    assert told.exit_code == 2 and "utm.tif is there and is not what segloop wrote" in told.stderr


def test_many_classes_have_16_bits():
    labels = np.array([[0, 299], [65535, 7]])
    data = encoded(labels, [str(number) for number in range(300)], {"crs": "EPSG:32633", "transform": AT})
    with rasterio.open(io.BytesIO(data)) as file:
        assert (file.read(1) == labels).all() and file.nodata == 65535 and file.dtypes == ("uint16",)
