"""Photos of every make but TIFF: the right pixels, what is said about them, and the options that read them."""

import io
import json
import struct
import sys
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, features

from command import complaint, done, record
from segloop import Segmenter
from segloop.errors import ImageError, OptionError, PhotoWarning
from segloop.images import PLAIN, Reading, read, read_image, reading, recorded
from tiffs import page_tags, write

MINMAX = reading(stretch="minmax")
FIELD = Path(__file__).resolve().parents[2] / "shared" / "field" / "photos"


def drawn(height=37, width=43):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


RGB = drawn()
GREY3 = np.repeat(RGB[..., :1], 3, axis=2)
DEEP = RGB.astype(np.uint16) << 8 | 0x5A
TWELVE = DEEP >> 4
TWELVE[0, 0], TWELVE[0, 1] = 0, 4095


def chunk(kind, data, checksum=None):
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(array, *extra, colour=2):
    """A PNG of 8 or 16 bits with chunks before its data."""
    rows = array if array.dtype == np.uint8 else array.astype(">u2")
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, array.dtype.itemsize * 8, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@contextmanager
def told(*parts):
    """One PhotoWarning with these words; none at all without words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = {str(one.message) for one in caught}
    assert len(texts) == bool(parts), texts
    for one in caught:
        assert one.category is PhotoWarning and all(part in str(one.message) for part in parts), str(one.message)


@pytest.fixture
def put(tmp_path):
    def put(data):
        path = tmp_path / "photo.bin"
        path.write_bytes(data)
        return path

    return put


def same(photo, expected, how=PLAIN):
    np.testing.assert_array_equal(read_image(photo, how), expected)


# PNG: what is beside the pixels --------------------------------------------------------------------------------

MANY = zlib.compress(b"x" * 2_000_000)
BESIDE = {
    "text": chunk(b"zTXt", b"k\0\0" + MANY),
    "international text": chunk(b"iTXt", b"k\0\1\0\0\0" + MANY),
    "profile": chunk(b"iCCP", b"k\0\0" + MANY),
    "plain text": chunk(b"tEXt", b"k\0" + b"x" * 2_000_000),
    "many texts": chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 1_000_000)) * 70,
    "checksum": chunk(b"tEXt", b"a\0b", 0),
    "checksum of a profile": chunk(b"iCCP", b"k\0\0" + zlib.compress(b"x"), 0),
    "unknown method": chunk(b"iCCP", b"k\0\5x"),
    "short": chunk(b"pHYs", b"x"),
    "short animation": chunk(b"acTL", b"x"),
    "odd name": chunk(b"a1.d", b"x"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_beside_the_pixels_does_not_matter(put, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes()[6:])
    with told():
        for array in (RGB, DEEP):
            same(put(png(array, BESIDE[name])), RGB)
            same(put(png(array, BESIDE[name], turned)), np.rot90(RGB, -1))
        whole = png(RGB)
        same(put(whole[:-12] + BESIDE[name] + whole[-12:]), RGB)  # behind the data


def test_orientation_in_a_text_is_kept(put):
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(raw) + raw.hex().encode() + b"\n")
    same(put(png(RGB, BESIDE["checksum"], chunk(b"zTXt", text))), np.rot90(RGB, -1))


@pytest.mark.parametrize("broken", [chunk(b"tRNS", struct.pack(">HHH", *RGB[0, 0]), 1), chunk(b"tRNS", b"x")])
def test_transparency_that_is_damaged_is_told(put, broken):
    with told("transparency", "left out"):
        same(put(png(RGB, broken)), RGB)


@pytest.mark.parametrize("beside", [b"", BESIDE["checksum"], BESIDE["text"]])
def test_damaged_or_cut_pixels_are_still_refused(put, beside):
    whole = png(RGB, beside)
    data = whole.index(b"IDAT")
    for kept in (data + 10, data + 500, len(whole) - 30):
        with pytest.raises(ImageError, match="damaged or cut"):
            read_image(put(whole[:kept]))
    for place in (data + 100, data + 2000):
        broken = bytearray(whole)
        broken[place] ^= 0x55
        with pytest.raises(ImageError, match="damaged or cut"):
            read_image(put(bytes(broken)))
    header = bytearray(whole)
    header[18] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        read_image(put(bytes(header)))


# 16 bits -------------------------------------------------------------------------------------------------------


def test_all_16_bits_of_a_png(put):
    clear = np.full_like(DEEP[..., :1], 65535)
    kinds = [(DEEP, 2, RGB), (np.dstack([DEEP, clear]), 6, RGB)]
    kinds += [(DEEP[..., 0], 0, GREY3), (np.dstack([DEEP[..., :1], clear]), 4, GREY3)]
    for array, colour, expected in kinds:
        same(put(png(array, colour=colour)), expected)
    stretched = np.rint(TWELVE * (255 / 4095))
    same(put(png(TWELVE)), stretched, MINMAX)
    same(put(png(np.dstack([TWELVE, clear]), colour=6)), stretched, MINMAX)
    greys = np.repeat(stretched[..., :1], 3, axis=2)
    same(put(png(TWELVE[..., 0], colour=0)), greys, MINMAX)
    same(put(png(np.dstack([TWELVE[..., :1], clear]), colour=4)), greys, MINMAX)


@pytest.mark.parametrize("kind", [".png", ".ppm"])
def test_12_bits_in_16_are_told(put, kind):
    path = put(cv2.imencode(kind, TWELVE[..., ::-1])[1].tobytes())
    with told("almost black", "16-bit", "--stretch"):
        same(path, TWELVE >> 8)
    with told():
        same(path, np.rint(TWELVE * (255 / 4095)), MINMAX)


def test_transparency_in_16_bits(put):
    half = np.array([[[65535, 0, 0, 65535], [65535, 0, 0, 13107], [0, 0, 0, 0]]], np.uint16)  # 13107 is a fifth
    same(put(png(half, colour=6)), [[[255, 0, 0], [255, 204, 204], [255, 255, 255]]])
    key = chunk(b"tRNS", struct.pack(">HHH", *DEEP[0, 0]))
    expected = RGB.copy()
    expected[(DEEP[0, 0] == DEEP).all(axis=2)] = 255
    same(put(png(DEEP, key)), expected)
    grey = chunk(b"tRNS", struct.pack(">H", DEEP[0, 0, 0]))
    same(put(png(DEEP[..., 0], grey, colour=0)), np.where(DEEP[..., :1] == DEEP[0, 0, 0], 255, GREY3))


def test_ppm_of_any_white(put):
    same(put(b"P6 43 37 65535\n" + DEEP.astype(">u2").tobytes()), RGB)
    same(put(b"P6 43 37 4095\n" + (DEEP >> 4).astype(">u2").tobytes()), RGB)
    same(put(b"P6 1 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes()), [[[0, 128, 255]]])  # 127.5
    with pytest.raises(ImageError, match="damaged or cut"):
        read_image(put(b"P6 43 37 4095\n" + bytes(100)))


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_deep_pil_images(mode):
    order = ">" if mode.endswith("B") else "<"
    same(Image.frombytes(mode, (43, 37), DEEP[..., 0].astype(f"{order}u2").tobytes()), GREY3)
    dark = Image.frombytes(mode, (43, 37), TWELVE[..., 0].astype(f"{order}u2").tobytes())
    with told("the PIL image", "almost black"):
        read_image(dark)
    same(dark, np.repeat(np.rint(TWELVE[..., :1] * (255 / 4095)), 3, axis=2), MINMAX)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pil_images_without_a_known_white(dtype):
    image = Image.fromarray(TWELVE[..., 0].astype(dtype))
    with pytest.raises(ImageError, match=r"32-bit .* from 0 to 4095"):
        read_image(image)
    same(image, np.repeat(np.rint(TWELVE[..., :1] * (255 / 4095)), 3, axis=2), MINMAX)


# colours -------------------------------------------------------------------------------------------------------


def test_cmyk_of_adobe_and_of_others(put):
    """Adobe's programs store inks inverted and say so; others do without saying so, as OpenCV too takes it."""
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    stream = io.BytesIO()
    inks.save(stream, "JPEG", quality=100)
    path = put(stream.getvalue())
    assert b"Adobe" in stream.getvalue()
    assert np.abs(read_image(path).astype(int) - (255, 0, 0)).max() <= 2
    plain = stream.getvalue()
    at = plain.index(b"\xff\xee")  # the marker that says so
    plain = plain[:at] + plain[at + 2 + int.from_bytes(plain[at + 2 : at + 4], "big") :]
    path = put(plain)
    assert np.abs(read_image(path).astype(int) - (255, 0, 0)).max() <= 2
    assert np.abs(cv2.imread(str(path))[..., ::-1].astype(int) - (255, 0, 0)).max() <= 2


def test_colour_profiles_are_not_applied(put):
    """As OpenCV and the published pipelines read: numbers are what they are, in any space."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for kind in ("PNG", "TIFF", "JPEG", "WEBP"):
        plain, profiled = io.BytesIO(), io.BytesIO()
        Image.fromarray(RGB).save(plain, kind)
        Image.fromarray(RGB).save(profiled, kind, icc_profile=profile)
        assert profile[36:40] in profiled.getvalue() or kind == "PNG"
        first = read_image(put(plain.getvalue()))
        same(put(profiled.getvalue()), first)


def test_8_bits_can_be_stretched_too():
    dull = RGB // 4 + 60
    dull[0, 0], dull[0, 1] = 60, 123
    expected = np.rint((dull - 60.0) * (255 / 63))
    same(Image.fromarray(dull), expected, MINMAX)
    clear = np.dstack([dull, np.full_like(dull[..., 0], 255)])
    clear[0, 2] = 0, 0, 0, 0  # no pixel, so not the darkest one
    expected[0, 2] = 255
    same(Image.fromarray(clear), expected, MINMAX)


@pytest.mark.parametrize(
    ("mode", "bands"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3)]
)
def test_bands_of_other_photos(mode, bands):
    image = Image.fromarray(RGB).convert(mode)
    assert read_image(image, reading([bands])).shape == RGB.shape
    with pytest.raises(ImageError, match=f"no band {bands + 1}"):
        read_image(image, reading([bands + 1]))


def test_bands_can_be_swapped():
    same(Image.fromarray(RGB), RGB[..., ::-1], reading("3,2,1"))
    infrared = np.dstack([RGB, RGB[..., 0]])
    same(Image.fromarray(infrared), infrared[..., [3, 1, 0]], reading("4,2,1"))


# several pictures in one file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_an_animation_is_told(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], **options)
    with told("3 pictures" if kind == "tif" else "3 frames", "first"):
        assert read_image(tmp_path / f"a.{kind}")[0, 0].tolist() == [255, 0, 0]
    frames[0].save(tmp_path / f"b.{kind}", **options)
    with told():
        read_image(tmp_path / f"b.{kind}")


def test_an_icon_gives_its_largest_picture(tmp_path):
    Image.fromarray(drawn(64, 64)).save(tmp_path / "a.ico", sizes=[(16, 16), (64, 64), (32, 32)])
    with told("3 pictures", "largest (64x64)"):
        assert read_image(tmp_path / "a.ico").shape == (64, 64, 3)


def test_the_second_view_of_a_stereo_photo_is_no_news(tmp_path):
    views = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    views[0].save(tmp_path / "a.mpo", save_all=True, append_images=views[1:])
    with told():
        assert read_image(tmp_path / "a.mpo").shape == RGB.shape


@pytest.mark.parametrize("kind", ["webp", "avif", "jpg", "png", "tif"])
def test_orientation_whatever_the_format(tmp_path, kind):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    corner = np.zeros((32, 48, 3), np.uint8)
    corner[:16, :16] = 255, 0, 0
    Image.fromarray(corner).save(tmp_path / f"a.{kind}", exif=exif, **({"quality": 95} if kind == "avif" else {}))
    read = read_image(tmp_path / f"a.{kind}").astype(int)
    assert read.shape == (48, 32, 3) and np.abs(read[8, 24] - (255, 0, 0)).max() < 20 and read[8, 8].max() < 20


def test_heic_is_read_where_its_plugin_is_there(put, monkeypatch):
    """What `pip install pillow-heif` changes, with a plugin that sees red everywhere."""
    path = put(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    monkeypatch.setattr(read, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"HEIC .* pip install pillow-heif"):
        read_image(path)

    class Red(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            self._size, self._mode = (4, 2), "RGB"
            self.tile = []

        def load(self):
            self.im = Image.core.fill("RGB", self.size, (255, 0, 0))
            return super().load()

    plugin = ModuleType("pillow_heif")
    plugin.register_heif_opener = lambda: Image.register_open("HEIF", Red, lambda head: head[4:8] == b"ftyp")
    for name, value in (("OPEN", dict(Image.OPEN)), ("ID", list(Image.ID))):
        monkeypatch.setattr(Image, name, value)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(read, "find_spec", lambda name: plugin if name == "pillow_heif" else None)
    same(path, np.full((2, 4, 3), (255, 0, 0)))


# what is said and kept -----------------------------------------------------------------------------------------


def test_a_reading_from_options():
    assert reading() == PLAIN == Reading() and not PLAIN.said()
    assert reading("4, 3,2", "percentile") == Reading((4, 3, 2), "percentile") == reading((4, 3, 2), "percentile")
    assert recorded(json.loads(json.dumps(reading("4,3,2", "minmax").said()))) == reading("4,3,2", "minmax")
    assert recorded({"short_side": 336}) == PLAIN


@pytest.mark.parametrize("bands", ["1,2", "1,2,3,4", "0,1,2", "a,b,c", "", [1.5, "x", 2], [-1]])
def test_bands_that_are_not_possible(bands):
    with pytest.raises(OptionError, match="such as 4,3,2"):
        reading(bands)


def test_a_stretch_that_does_not_exist():
    with pytest.raises(OptionError, match="did you mean 'minmax'"):
        reading(stretch="min-max")


# the command line and Python -----------------------------------------------------------------------------------

WORDS = ("--classes", "car, sky")


@pytest.fixture
def satellite(tmp_path):
    """Five bands of 12-bit reflectances, 48 x 64."""
    numbers = drawn(48, 64).astype(np.uint16) * 16
    return write(tmp_path / "scene.tif", page_tags(np.dstack([numbers, numbers[..., :2]]), extras=(0,) * 4))


def test_the_command_reads_bands_and_stretches(segment, satellite, tmp_path):
    told_ = complaint(segment(satellite, *WORDS))
    assert "5 bands of 16-bit numbers" in told_ and "--bands 3,2,1" in told_
    result = segment(satellite, *WORDS, "--bands", "3,2,1")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: {satellite} looks almost black") and "--stretch percentile" in line
    done(segment(satellite, *WORDS, "--bands", "3,2,1", "--stretch", "percentile"))
    kept = record(tmp_path / "segloop-out/scene")["settings"]
    assert kept["bands"] == [3, 2, 1] and kept["stretch"] == "percentile"
    assert "such as 4,3,2" in complaint(segment(satellite, *WORDS, "--bands", "red"))
    assert "did you mean 'percentile'" in complaint(segment(satellite, *WORDS, "--stretch", "percent"))


def test_a_plain_photo_says_nothing_of_it(segment, street, tmp_path):
    done(segment(street, *WORDS))
    assert not {"bands", "stretch"} & set(record(tmp_path / "segloop-out/street")["settings"])


def test_a_batch_is_not_flooded_with_warnings(segment, tmp_path):
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), drawn(48, 64).astype(np.uint16))
    result = segment(*(f"{number}.png" for number in range(8)), *WORDS)
    assert result.exit_code == 0
    *lines, last = result.stderr.splitlines()
    assert len(lines) == 5 and all("almost black" in line for line in lines)
    assert last == "warning: 3 more of this kind about other photos"


def test_python_reads_bands_and_stretches(toy_clip, satellite):
    segmenter = Segmenter.from_pretrained(toy_clip, bands=(3, 2, 1), stretch="minmax")
    numbers = drawn(48, 64).astype(float) * 16
    low, high = numbers.min(), numbers.max()
    expected = np.rint((numbers[..., ::-1] - low) * (255 / (high - low)))
    np.testing.assert_array_equal(segmenter(satellite, ["car", "sky"]).image, expected)
    plain = Segmenter.from_pretrained(toy_clip)
    result = plain(satellite, ["car", "sky"], bands=(3, 2, 1), stretch="minmax")
    np.testing.assert_array_equal(result.image, expected)
    assert result.settings["bands"] == [3, 2, 1] and plain.reading == PLAIN
    with pytest.raises(OptionError, match="bands"):
        Segmenter.from_pretrained(toy_clip, bands="1,2")


def test_evaluate_and_inspect_take_the_same_options(evaluate, segloop, toy_clip, satellite, tmp_path):
    data = tmp_path / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    (data / "images/a.tif").write_bytes(satellite.read_bytes())
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(data / "masks/a.png")
    (data / "classes.txt").write_text("car\nsky\n")
    how = ("--bands", "1,2,3", "--stretch", "minmax", "--save-maps")
    result = evaluate(*how, "--out", "run", key="folder", data=f"folder={data}")
    assert result.exit_code == 0, result.stderr
    kept = json.loads((tmp_path / "run/run.json").read_text())["settings"]
    assert kept["bands"] == [1, 2, 3] and kept["stretch"] == "minmax"
    again = evaluate("--out", "run", key="folder", data=f"folder={data}")
    assert again.exit_code == 2 and "bands" in again.stderr
    clip = ("--clip", toy_clip, "--templates", "plain")
    looked = segloop("inspect", satellite, *clip, *WORDS, *how[:4], "--out", "look")
    assert looked.exit_code == 0, looked.stderr
    page = segloop("report", "run", "--format", "html", "--out", "report.html", "--pictures", 1)
    assert page.exit_code == 0, page.stderr


# inputs from the field -----------------------------------------------------------------------------------------

SCENE = {"water": 40, "sand": 31, "grass": 25, "red": 4}
READ = {
    "plain.bmp": (),
    "bad-crc.png": (),
    "big-iccp.png": (),
    "mpo-exif6.jpg": (),
    "rgb16.tif": (),
    "rgb16-planar.tif": (),
    "pyramid-thumb-first.tif": (),
    "sentinel-rgb.tif": ("--stretch", "percentile"),
    "five8.tif": ("--bands", "1,2,3"),
}
REFUSED = {
    "five8.tif": ("5 bands of 8-bit numbers", "--bands"),
    "iphone-named.jpg": ("HEIC", "convert"),
    "page-named.jpg": ("web page (HTML)", "save the picture itself"),
    "raw.nef": ("raw file", "develop"),
}


@pytest.mark.skipif(not FIELD.is_dir(), reason="no recorded inputs here")
@pytest.mark.parametrize("name", READ)
def test_photos_from_the_field(segloop, name):
    command = ("segment", FIELD / name, *READ[name], "--clip", "tiny", "--classes", "grass,sand,water,red", "--json")
    (line,) = done(segloop(*command)).stdout.splitlines()
    share = json.loads(line)["share"]
    assert {word: round(100 * part) for word, part in share.items()} == SCENE


@pytest.mark.skipif(not FIELD.is_dir(), reason="no recorded inputs here")
@pytest.mark.parametrize("name", REFUSED)
def test_photos_from_the_field_that_are_refused(segloop, name):
    told_ = complaint(segloop("segment", FIELD / name, "--clip", "tiny", "--classes", "grass,sand,water,red"))
    assert all(part in told_ for part in REFUSED[name]), told_


@pytest.mark.skipif(not FIELD.is_dir(), reason="no recorded inputs here")
def test_a_negative_from_the_field_is_upright():
    grey = read_image(FIELD / "grey16-miniswhite.tif")[..., 0].astype(float)
    colour = read_image(FIELD / "plain.bmp") @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - colour).max() < 2


def test_many_photos_end_with_a_count(segment, photos, street):
    for before in ("", ", 2 of them before"):
        assert segment(photos, *WORDS).stdout.splitlines()[-1] == f"2 photos done{before}; results are in segloop-out"
    assert "done;" not in segment(street, *WORDS, "--out", "one").stdout  # its line says it
