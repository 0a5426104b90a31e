"""TIFF photos of every make: the right pixels, or one sentence that says what is wrong."""

import importlib.util
import itertools
import warnings
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segloop.errors import ImageError, MachineError, PhotoWarning
from segloop.images import read_image, reading
from tiffs import page_tags, write

LZW, DEFLATE, PACKBITS, LZMA, ZSTD = 5, 8, 32773, 34925, 50000
MINMAX, PERCENTILE = reading(stretch="minmax"), reading(stretch="percentile")
REDUCED, MASK = {254: (4, [1])}, {254: (4, [4])}
CFA = 32803


def drawn(height=37, width=43, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


RGB = drawn()
GREY = RGB[..., :1]
GREY3 = np.repeat(GREY, 3, axis=2)
DEEP = RGB.astype(np.uint16) << 8 | 0x5A
FIVE = np.dstack([RGB, GREY, GREY])


@pytest.fixture
def photo(tmp_path):
    """photo(array, ...) -> a TIFF of it, as `page_tags` has it."""

    def make(array, order="<", **options):
        return write(tmp_path / "a.tif", page_tags(array, order=order, **options), order=order)

    return make


@contextmanager
def told(*parts):
    """One PhotoWarning with these words; none at all without words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert len(caught) == bool(parts), [str(one.message) for one in caught]
    for one in caught:
        assert one.category is PhotoWarning and all(part in str(one.message) for part in parts), str(one.message)


def same(path, expected, how=None):
    read = read_image(path, *([how] if how else []))
    assert read.dtype == np.uint8 and read.flags.c_contiguous and read.flags.writeable
    np.testing.assert_array_equal(read, expected)


def refused(path, *parts, how=None):
    with pytest.raises(ImageError) as caught:
        read_image(path, *([how] if how else []))
    message = str(caught.value)
    assert "\n" not in message and caught.value.remedy
    assert all(part in message for part in parts), message


# how numbers are stored ----------------------------------------------------------------------------------------

STORED = [
    (compression, predictor)
    for compression, predictor in itertools.product((1, DEFLATE, LZW, PACKBITS, LZMA, ZSTD), (1, 2))
    if predictor == 1 or compression not in (1, PACKBITS)  # which have none
]


@pytest.mark.parametrize(("compression", "predictor"), STORED)
def test_8_and_16_bits_however_they_are_stored(photo, compression, predictor):
    kinds = itertools.product((RGB, DEEP), "<>", (1, 2), (0, 16), (False, True))
    for array, order, planar, tile, reverse in kinds:
        options = {"order": order, "planar": planar, "tile": tile, "reverse": reverse}
        same(photo(array, compression=compression, predictor=predictor, **options), RGB)


@pytest.mark.parametrize("compression", [1, PACKBITS, LZW])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_greys_of_a_byte_or_less(photo, bits, compression):
    white = 2**bits - 1
    expected = (GREY3 >> (8 - bits)) * (255 // white)
    for photometric, order, planar, tile, reverse in itertools.product((0, 1), "<>", (1, 2), (0, 16), (False, True)):
        stored = GREY >> (8 - bits) if photometric else white - (GREY >> (8 - bits))
        options = {"order": order, "planar": planar, "tile": tile, "reverse": reverse, "photometric": photometric}
        same(photo(stored, bits=bits, compression=compression, **options), expected)


@pytest.mark.parametrize("compression", [1, DEFLATE, LZW])
@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_packed_bits(photo, bits, compression):
    packed = (DEEP >> (16 - bits)).astype(np.uint8 if bits < 8 else np.uint16)
    expected = packed >> (bits - 8) if bits > 8 else packed * (255 // (2**bits - 1))  # 3 x 85, 15 x 17
    for order, planar, tile in itertools.product("<>", (1, 2), (0, 16)):
        options = {"bits": bits, "compression": compression, "order": order, "planar": planar, "tile": tile}
        same(photo(packed, **options), expected)
        same(photo(packed[..., :1], **options), np.repeat(expected[..., :1], 3, axis=2))
        white = 2**bits - 1
        same(photo(white - packed[..., :1], photometric=0, **options), np.repeat(expected[..., :1], 3, axis=2))


@pytest.mark.parametrize("compression", [1, DEFLATE, LZW, ZSTD])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_and_its_predictor(photo, dtype, compression):
    numbers = RGB.astype(dtype) / 7 - 3
    numbers[0, :2] = [[-3] * 3, [255 / 7 - 3] * 3]
    expected = RGB.copy()
    expected[0, :2] = [[0] * 3, [255] * 3]
    for order, planar, tile, predictor in itertools.product("<>", (1, 2), (0, 16), (1, 3)):
        if predictor == 3 and compression == 1:
            continue
        options = {"order": order, "planar": planar, "tile": tile, "predictor": predictor}
        read = read_image(photo(numbers, compression=compression, **options), MINMAX)
        assert np.abs(read.astype(int) - expected).max() <= 1  # halves may round either way


def test_big_tiff_and_tiles_left_out(tmp_path):
    path = tmp_path / "a.tif"
    for array, options in ((RGB, {}), (DEEP, {}), (DEEP, {"compression": "zlib", "tile": (16, 16)})):
        tifffile.imwrite(path, array, bigtiff=True, photometric="rgb", **options)
        same(path, RGB)
    tags, parts = page_tags(DEEP, tile=16, compression=LZW)
    parts[0] = b""  # as GDAL leaves out what is empty
    read = read_image(write(path, (tags, parts)))
    assert not read[:16, :16].any()
    np.testing.assert_array_equal(read[16:], RGB[16:])


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="imagecodecs reads it")
def test_a_codec_that_is_missing_is_named(tmp_path):
    tags, parts = page_tags(DEEP)
    tags[259] = (3, [34887])
    refused(write(tmp_path / "a.tif", (tags, parts)), "16 bits", "LERC", "pip install imagecodecs")


# what numbers mean ---------------------------------------------------------------------------------------------


def test_white_is_zero(photo):
    for array, options in (
        (255 - GREY, {}),
        ((255 - GREY).astype(np.uint16) * 257, {}),
        ((255 - GREY).astype(np.uint16) * 257, {"compression": LZW, "order": ">"}),
    ):
        same(photo(array, photometric=0, **options), GREY3)
    same(photo(GREY >> 7, photometric=0, bits=1), (1 - (GREY3 >> 7)) * 255)
    same(photo(15 - (GREY >> 4), photometric=0, bits=4), (GREY3 >> 4) * 17)
    stretched = read_image(photo(GREY.astype(np.float32), photometric=0), MINMAX)
    np.testing.assert_array_equal(stretched, 255 - GREY3)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.int8, "signed 8-bit numbers from -128 to 127"),
        (np.int16, "signed 16-bit numbers from -128 to 127"),
        (np.int32, "signed 32-bit numbers from -128 to 127"),
        (np.float32, "32-bit floating-point numbers from -128 to 127"),
        (np.float16, "16-bit floating-point numbers from -128 to 127"),
    ],
)
def test_numbers_without_a_known_white(photo, dtype, words):
    array = (GREY.astype(int) - 128).astype(dtype)
    array[0, :2, 0] = -128, 127
    refused(photo(array), words, "--stretch minmax", "8 or 16 bits")
    expected = (array.astype(int) + 128).astype(np.uint8)
    same(photo(array), np.repeat(expected, 3, axis=2), MINMAX)


def test_32_bit_numbers_and_complex_ones(photo, tmp_path):
    refused(photo(RGB.astype(np.uint32)), "32-bit numbers from 0 to 255", "--stretch")
    tifffile.imwrite(tmp_path / "c.tif", GREY[..., 0].astype(np.complex64))
    refused(tmp_path / "c.tif", "complex numbers")


@pytest.mark.parametrize("photometric", [6, 8])
def test_deep_colours_that_are_not_rgb(photo, photometric):
    refused(photo(DEEP, photometric=photometric), "16-bit", "YCBCR" if photometric == 6 else "CIELAB", "RGB")


def test_logarithms_are_to_be_tone_mapped(photo):
    refused(photo(DEEP, photometric=32845), "LogLuv", "tone-map")


def test_cielab_and_cmyk(photo):
    white = np.zeros((4, 4, 3), np.uint8)
    white[..., 0] = 255
    assert read_image(photo(white, photometric=8)).min() >= 254
    inks = np.zeros((4, 4, 4), np.uint8)
    inks[:2, :, 1:3] = 255  # magenta and yellow are red
    expected = np.full((4, 4, 3), 255, np.uint8)
    expected[:2, :, 1:] = 0
    same(photo(inks, photometric=5), expected)
    same(photo(inks.astype(np.uint16) * 257, photometric=5), expected)
    same(photo(inks.astype(np.uint16) * 257, photometric=5, planar=2, compression=LZW), expected)


def test_palettes(photo):
    table = (3, [*range(0, 65536, 256), *[0] * 256, *[0x8000] * 256])
    expected = np.concatenate([GREY, GREY * 0, GREY * 0 + 128], axis=2)
    read = read_image(photo(GREY, photometric=3, more={320: table}))
    assert np.abs(read.astype(int) - expected).max() <= 1  # Pillow divides by 257
    wide = (3, [*range(65536), *[0] * 65536, *[0x8000] * 65536])
    same(photo(GREY.astype(np.uint16) << 8, photometric=3, more={320: wide}), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_photos(photo, orientation):
    stored = {
        1: DEEP,
        2: DEEP[:, ::-1],
        3: DEEP[::-1, ::-1],
        4: DEEP[::-1],
        5: DEEP.transpose(1, 0, 2),
        6: np.rot90(DEEP),
        7: np.rot90(DEEP, 2).transpose(1, 0, 2),
        8: np.rot90(DEEP, -1),
    }[orientation]
    same(photo(np.ascontiguousarray(stored), more={274: (3, [orientation])}), RGB)


# bands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("planar", "compression"), [(1, 1), (2, LZW)])
def test_five_bands(photo, dtype, planar, compression):
    array = FIVE.astype(dtype) * (257 if dtype == np.uint16 else 1)
    bits = array.dtype.itemsize * 8
    path = photo(array, extras=(0,) * 4, planar=planar, compression=compression)
    refused(path, f"5 bands of {bits}-bit numbers", "--bands 3,2,1", "bands=(3, 2, 1)")
    same(path, RGB, reading("1,2,3"))
    same(path, RGB[..., ::-1], reading([3, 2, 1]))
    same(path, GREY3, reading("4"))
    refused(path, "5 bands, and no band 6", "from 1 to 5", how=reading("1,2,6"))


def test_bands_of_float(photo):
    array = FIVE.astype(np.float32)
    array[0, 0], array[0, 1] = 0, 255
    path = photo(array, extras=(0,) * 4)
    refused(path, "5 bands of 32-bit floating-point numbers", "--bands")
    refused(path, "32-bit floating-point numbers from 0 to 255", "--stretch", how=reading("1,2,3"))
    same(path, array[..., :3], reading("1,2,3", "minmax"))


def test_two_bands_have_no_red(photo):
    refused(photo(np.dstack([GREY, GREY]), photometric=1, extras=(0,)), "2 bands", "--bands 1")


def test_three_bands_of_one_kind_are_red_green_and_blue(photo):
    """As GDAL writes 16-bit colour: grey with two extra samples."""
    for planar, compression in itertools.product((1, 2), (1, LZW, DEFLATE)):
        same(photo(DEEP, photometric=1, extras=(0, 0), planar=planar, compression=compression), RGB)


def test_bands_beyond_the_colours_are_told(photo):
    for array in (FIVE, FIVE.astype(np.uint16) * 257):
        with told("5 bands", "red, green and blue", "--bands"):
            same(photo(array, photometric=2, extras=(0, 0)), RGB)
        with told():
            same(photo(array, photometric=2, extras=(0, 0)), RGB, reading("1,2,3"))


@pytest.mark.parametrize("factor", [1, 257])
def test_transparency(photo, factor):
    """A fifth of red over white is (255, 204, 204); multiplied already, the stored red is 51."""
    dtype = np.uint8 if factor == 1 else np.uint16
    for extra, red in ((2, 255), (1, 51)):
        array = np.zeros((1, 2, 4), dtype)
        array[0, 0], array[0, 1] = (255 * factor, 0, 0, 255 * factor), (red * factor, 0, 0, 51 * factor)
        same(photo(array, photometric=2, extras=(extra,)), [[[255, 0, 0], [255, 204, 204]]])
        same(photo(array, photometric=2, extras=(extra,)), [[[255] * 3, [51] * 3]], reading("4"))
    grey = np.zeros((1, 2, 2), dtype)
    grey[0, :, 1] = 255 * factor, 0
    same(photo(grey, photometric=1, extras=(2,)), [[[0] * 3, [255] * 3]])


# levels --------------------------------------------------------------------------------------------------------


def test_12_bits_in_16_are_told_and_stretched(photo):
    array = DEEP >> 4
    array[0, 0], array[0, 1] = 0, 4095
    path = photo(array)
    with told("almost black", "16-bit", "65535", "--stretch percentile"):
        same(path, array >> 8)
    with told():
        same(path, np.rint(array * (255 / 4095)), MINMAX)
    low, high = np.percentile(array, (2, 98))
    with told():
        same(path, np.rint(((array - low) * (255 / (high - low))).clip(0, 255)), PERCENTILE)


def test_white_is_zero_with_12_bits_is_almost_white(photo):
    with told("almost white", "--stretch"):
        read_image(photo(DEEP[..., :1] >> 4, photometric=0))


def test_a_little_contrast_is_told(photo):
    with told("hardly any contrast"):
        read_image(photo(30_000 + (DEEP >> 6)))


def test_photos_that_use_their_range_are_not_remarked(photo):
    with told():
        read_image(photo(DEEP))
        read_image(photo(np.full_like(DEEP, 700)))  # flat: no stretch could help
        read_image(photo(DEEP >> 4, bits=12))
        read_image(photo(RGB >> 4))  # of 8 bits


def test_pixels_without_data_are_left_out_of_a_stretch(photo):
    reflectance = (RGB.astype(np.int16) * 10 + 100).astype(np.int16)
    reflectance[0, 1], reflectance[0, 2] = 100, 2650
    reflectance[0, 0] = -9999
    text = (2, list(b"-9999\0"))
    path = photo(reflectance, more={42113: text})
    expected = np.rint((reflectance.astype(float) - 100) * (255 / 2550)).clip(0, 255)
    same(path, expected, MINMAX)
    assert read_image(path, MINMAX)[0, 0].tolist() == [0, 0, 0]
    numbers = reflectance.astype(np.float32)
    numbers[0, 0] = np.nan
    same(photo(numbers), expected, MINMAX)
    numbers[:] = np.nan
    assert not read_image(photo(numbers), MINMAX).any()


def test_a_stretch_keeps_the_balance_of_colours(photo):
    dull = np.zeros((2, 2, 3), np.uint16)
    dull[0, 0] = 1000, 500, 250
    same(photo(dull), [[[255, 128, 64], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], MINMAX)


# pages ---------------------------------------------------------------------------------------------------------

SMALL, HALF = RGB[::4, ::4], RGB[::2, ::2]
TAKEN = {
    "thumbnail first, said so": ([page_tags(SMALL, more=REDUCED), page_tags(RGB)], ()),
    "thumbnail first, not said": ([page_tags(SMALL), page_tags(RGB)], ("2 pictures", "largest (43x37)")),
    "deep, thumbnail first": ([page_tags(SMALL), page_tags(DEEP, compression=LZW)], ("largest (43x37)",)),
    "overviews": ([page_tags(RGB), page_tags(HALF, more=REDUCED), page_tags(SMALL, more=REDUCED)], ()),
    "mask": ([page_tags(RGB), page_tags(GREY >> 7, bits=1, photometric=4, more=MASK)], ()),
    "pages": ([page_tags(RGB), page_tags(RGB[::-1]), page_tags(RGB)], ("3 pictures", "first (43x37)")),
    "deep pages": ([page_tags(DEEP), page_tags(DEEP[::-1])], ("2 pictures", "first")),
}


@pytest.mark.parametrize("name", TAKEN)
def test_which_page_is_the_photo(tmp_path, name):
    pages, words = TAKEN[name]
    path = write(tmp_path / "a.tif", *pages)
    with told(*words):
        same(path, RGB)


def test_a_photo_below_its_thumbnail(tmp_path):
    for whole in (RGB, DEEP):
        path = write(tmp_path / "a.tif", page_tags(SMALL, more=REDUCED), below={0: [page_tags(whole)]})
        with told():
            same(path, RGB)


def test_stacks_and_volumes(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([GREY[..., 0]] * 5).astype(np.uint16) * 257, imagej=True)
    with told("5 pictures", "first"):
        same(path, GREY3)
    tifffile.imwrite(path, np.zeros((4, 16, 32), np.uint8), volumetric=True, tile=(4, 16, 16), photometric="minisblack")
    refused(path, "a volume of 4 slices", "PNG")


SENSOR = page_tags(GREY.astype(np.uint16), photometric=CFA)


def test_raw_files_are_not_their_thumbnail(tmp_path):
    version = {50706: (1, [1, 4, 0, 0])}
    path = tmp_path / "a.jpg"  # whatever its name says
    for pages, below in (
        ([page_tags(SMALL, more=REDUCED)], {0: [SENSOR]}),
        ([page_tags(SMALL), SENSOR], {}),
        ([page_tags(RGB, more=version)], {}),
        ([page_tags(DEEP, photometric=34892)], {}),
    ):
        refused(write(path, *pages, below=below), "raw file", "develop it first")
    refused(write(tmp_path / "a.ARW", page_tags(SMALL)), "raw file")
    canon = bytearray(write(path, page_tags(SMALL)).read_bytes())
    canon[8:10] = b"CR"
    path.write_bytes(canon)
    refused(path, "raw file")


# damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_and_damaged_data(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, photometric="rgb", compression=compression)  # tags first
    whole = path.read_bytes()
    for kept in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * kept)])
        refused(path)
    lzw = write(path, page_tags(DEEP, compression=LZW)).read_bytes()
    path.write_bytes(lzw[:100] + bytes(200) + lzw[300:])
    refused(path, "damaged")


def test_a_predictor_without_compression_is_none(photo):
    """As libtiff has it."""
    for array, compression in itertools.product((RGB, DEEP), (1, PACKBITS)):
        same(photo(array, compression=compression, more={317: (3, [2])}), RGB)


@pytest.mark.parametrize(
    ("array", "options", "right"),
    [
        (RGB, {}, True),
        (RGB, {"planar": 2}, True),
        (DEEP, {}, True),
        (DEEP[..., :1], {}, True),
        (GREY, {"photometric": 0}, True),
        (DEEP, {"planar": 2}, False),
        (DEEP[..., :1], {"photometric": 0}, False),
        (GREY, {"photometric": 0, "planar": 2}, False),
        (GREY >> 4, {"bits": 4, "planar": 2}, False),
        (RGB, {"planar": 2, "reverse": True}, False),
        (GREY.view(np.int8), {"photometric": 1}, False),
    ],
)
def test_pil_images_of_kinds_that_pillow_gets_wrong(photo, array, options, right):
    """A path is read right; what Pillow has opened already is refused rather than scrambled."""
    path = photo(array, **options)
    with Image.open(path) as image:
        if right:
            same(image, read_image(path))
        else:
            refused(image, "Pillow reads wrong", "give its path")


def test_strips_that_are_not_listed(photo):
    """A height that a flipped bit has made a thousand times as large: no black picture, no minutes of work."""
    for array, options in ((RGB, {"compression": LZW}), (DEEP, {}), (DEEP, {"compression": LZW, "tile": 16})):
        refused(photo(array, more={257: (4, [16_711_680])}, **options), "parts of the picture are missing")


def test_too_many_pixels(photo, monkeypatch):
    path = photo(DEEP)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # 37 x 43 are more than twice that
    refused(path, "more pixels")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1600)
    same(path, RGB)
    many = photo(np.zeros((37, 43, 20), np.uint16))
    refused(many, "more pixels", how=reading("1,2,3"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_broken_bytes_give_a_photo_or_an_image_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "broken.tif"
    options = data.draw(st.sampled_from([{}, {"compression": LZW, "tile": 16}, {"planar": 2}, {"photometric": 1}]))
    broken = bytearray(write(path, page_tags(DEEP[:9, :7], **options)).read_bytes())
    for _ in range(3):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(broken)
    with suppress(ImageError, MachineError), warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotoWarning)
        assert read_image(path).dtype == np.uint8
