from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, PngImagePlugin

from golden import ROOT, Case, cases
from segloop.errors import ImageError, OptionError
from segloop.labels.colours import POTSDAM, voc_colour, voc_colours
from segloop.labels.read import (
    COLOUR,
    UNLISTED,
    VOID,
    WIDE_VOID,
    LabelRule,
    Span,
    read_label,
    reduce_zero,
    stored_values,
)
from tiffs import page_tags, write

RAW = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
bytes_ = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6))
words = arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6))


def written(path, values, mode=None, **options):
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(path, **options)
    return path


# values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in cases("E_geometry") if str(case) == "reduce_zero_label"], ids=str)
def test_reduce_zero_as_published(case: Case):
    stored = case.arrays
    mapped = reduce_zero(stored["raw"])
    assert mapped.dtype == np.uint8
    np.testing.assert_array_equal(mapped, stored["mapped"])
    np.testing.assert_array_equal(LabelRule(reduce_zero=True).apply(stored["raw"][None])[0], stored["mapped"])


@pytest.mark.skipif(not ROOT.is_dir(), reason="reference cases are not beside the project")
def test_the_published_case_is_there():
    assert any(str(case) == "reduce_zero_label" for case in cases("E_geometry"))


@given(bytes_)
def test_reduce_zero_wraps_like_bytes(values):
    shifted = np.where(values == 0, np.uint8(255), values) - np.uint8(1)
    np.testing.assert_array_equal(reduce_zero(values), np.where(shifted == 254, np.uint8(255), shifted))


@given(words)
def test_reduce_zero_of_wide_maps_keeps_their_void(values):
    reduced = reduce_zero(values)
    assert reduced.dtype == np.uint16
    void = (values == 0) | (values == WIDE_VOID)
    assert (reduced[void] == WIDE_VOID).all() and (reduced[~void] == values[~void] - 1).all()


@given(bytes_, st.lists(st.integers(0, 255), max_size=3), st.booleans())
def test_only_void_zero_and_the_shift_change_a_value(values, void, zero):
    before = values.copy()
    labels = LabelRule(reduce_zero=zero, void=tuple(void)).apply(values)
    np.testing.assert_array_equal(values, before)
    assert labels.dtype == np.int64 and labels.shape == values.shape
    for stored, label in zip(values.flat, labels.flat, strict=True):
        gone = stored in void or stored == VOID or (zero and stored == 0)
        assert label == (VOID if gone else int(stored) - zero)


def test_void_is_meant_before_the_shift():
    rule = LabelRule(reduce_zero=True, void=(11, 255))
    assert rule.apply(np.array([[0, 1, 11, 12, 255]])).tolist() == [[255, 0, 255, 11, 255]]


def test_bytes_take_the_void_of_16_bits_as_theirs():
    assert LabelRule().apply(np.array([[0, 255, 65535]])).tolist() == [[0, 255, 255]]


def test_wide_maps_keep_255_as_a_class_and_65535_as_void():
    rule = LabelRule(void=(WIDE_VOID,), wide=True)
    assert rule.void_value == WIDE_VOID
    assert rule.apply(np.array([[0, 255, 300, 65535]])).tolist() == [[0, 255, 300, 65535]]
    zero = LabelRule(reduce_zero=True, void=(7,), wide=True)
    assert zero.apply(np.array([[0, 1, 7, 256, 65535]])).tolist() == [[65535, 0, 65535, 255, 65535]]


def test_values_beyond_a_byte_are_not_wrapped_into_a_class():
    with pytest.raises(ImageError, match="holds 300, and class numbers here end at 255"):
        LabelRule().apply(np.array([[0, 300]]))


def test_values_that_are_no_class_stay_for_the_metrics_to_decide():
    assert LabelRule().apply(np.array([[200]])).tolist() == [[200]]


# files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_eight_bits_give_what_is_stored(tmp_path, mode, kind):
    labels = read_label(written(tmp_path / f"a.{kind}", RAW, mode))
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, RAW)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits(tmp_path, kind):
    wide = np.array([[0, 255, 256, 846], [65534, 65535, 1, 2]], np.uint16)
    path = written(tmp_path / f"a.{kind}", wide)
    np.testing.assert_array_equal(read_label(path, LabelRule(void=(WIDE_VOID,), wide=True)), wide)
    with pytest.raises(ImageError, match=r"a\.(png|tif): the label map holds 65534"):
        read_label(path)


def test_sixteen_bits_as_opencv_writes_them(tmp_path):
    wide = np.array([[0, 300], [65535, 7]], np.uint16)
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), wide)
        np.testing.assert_array_equal(stored_values(tmp_path / name), wide)


def test_big_endian_tiff(tmp_path):
    wide = np.array([[0, 300], [65535, 7]], ">u2")
    Image.frombytes("I;16B", (2, 2), wide.tobytes()).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(stored_values(tmp_path / "a.tif"), wide)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_tiffs_give_what_is_stored_whatever_is_white(tmp_path, bits, white_is_zero, order, compression):
    values = np.random.default_rng(bits).integers(0, 2**bits, (7, 19)).astype(np.uint16 if bits == 16 else np.uint8)
    values[0, :2] = 0, 2**bits - 1
    kind = {"bits": bits, "order": order, "compression": compression, "photometric": 0 if white_is_zero else 1}
    path = write(tmp_path / "a.tif", page_tags(values[..., None], **kind), order=order)
    np.testing.assert_array_equal(stored_values(path), values)


def test_the_bits_that_fax_machines_write(tmp_path):
    values = np.random.default_rng(1).integers(0, 2, (9, 16)).astype(np.uint8)
    Image.fromarray(values * 255).convert("1").save(tmp_path / "a.tif", compression="group4")
    with Image.open(tmp_path / "a.tif") as image:
        white_is_zero = image.tag_v2[262] == 0
    np.testing.assert_array_equal(stored_values(tmp_path / "a.tif"), 1 - values if white_is_zero else values)


def test_bitmaps_with_black_as_one_give_what_is_stored(tmp_path):
    (tmp_path / "a.pbm").write_bytes(b"P4\n8 1\n" + bytes([0b10110000]))
    assert stored_values(tmp_path / "a.pbm").tolist() == [[1, 0, 1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_with_a_palette(tmp_path, bits):
    values = np.arange(2**bits, dtype=np.uint8)[None]
    image = Image.fromarray(values)
    image.putpalette([255 - n for n in range(3 * 2**bits)])
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), values)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_of_grey_are_not_spread(tmp_path, bits):
    values = np.arange(2**bits, dtype=np.uint8)[None]
    path = tmp_path / "a.png"
    path.write_bytes(grey_png(values, bits))
    np.testing.assert_array_equal(stored_values(path), values)


def grey_png(values, bits):
    """A PNG of 2 or 4 bits of grey, which Pillow does not write."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    unpacked = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(len(values), -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(unpacked, axis=1))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_one_bit_counts_zero_and_one(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").tolist() == [[0, 1]]


def test_transparent_palette_entries_are_classes_like_others(tmp_path):
    path = written(tmp_path / "a.png", RAW, "P", transparency=1)
    np.testing.assert_array_equal(read_label(path), RAW)


def test_exif_orientation_does_not_turn_a_label(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_label(written(tmp_path / "a.png", RAW, exif=exif)).shape == (2, 3)


def test_text_chunks_do_not_matter(tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("segloop:classes", "[]")
    np.testing.assert_array_equal(read_label(written(tmp_path / "a.png", RAW, "P", pnginfo=chunks)), RAW)


# what is no label map --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=rf"a\.png holds colours \({mode}\), not class numbers; save the class"):
        read_label(tmp_path / "a.png")


def test_jpeg_is_refused_even_in_grey(tmp_path):
    with pytest.raises(ImageError, match="JPEG, which changes class numbers"):
        read_label(written(tmp_path / "a.jpg", RAW))


def test_floating_point_numbers_are_refused(tmp_path):
    with pytest.raises(ImageError, match="floating-point"):
        read_label(written(tmp_path / "a.tif", RAW.astype(np.float32)))


@pytest.mark.parametrize("value", [-1, 70000])
def test_numbers_outside_16_bits_are_refused(tmp_path, value):
    path = written(tmp_path / "a.tif", np.array([[0, value]], np.int32))
    with pytest.raises(ImageError, match="class numbers are 0 to 65535"):
        read_label(path)


def test_missing_and_damaged_files_say_so(tmp_path):
    with pytest.raises(ImageError, match=r"there is no label file .*b\.png"):
        read_label(tmp_path / "b.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_label(tmp_path)
    (tmp_path / "c.png").write_text("classes")
    with pytest.raises(ImageError, match="is not a label map that can be read"):
        read_label(tmp_path / "c.png")
    noise = np.random.default_rng(0).integers(0, 20, (64, 64), dtype=np.uint8)
    whole = written(tmp_path / "a.png", noise).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"a\.png is damaged or cut off"):
        read_label(tmp_path / "a.png")


def test_greys_of_a_pgm_that_are_scaled_are_refused(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n3\n" + bytes([0, 1, 3]))
    with pytest.raises(ImageError, match="stores greys up to 3, which are scaled"):
        read_label(tmp_path / "a.pgm")
    (tmp_path / "b.pgm").write_bytes(b"P5\n3 1\n255\n" + bytes([0, 1, 3]))
    assert read_label(tmp_path / "b.pgm").tolist() == [[0, 1, 3]]


def test_gif_gives_its_indices(tmp_path):
    values = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)
    np.testing.assert_array_equal(read_label(written(tmp_path / "a.gif", values, "P")), values)
    np.testing.assert_array_equal(read_label(written(tmp_path / "b.gif", values)), values)


@pytest.mark.filterwarnings("ignore:.* holds . pictures")
def test_several_pages_are_not_one_label_map(tmp_path):
    pages = [Image.fromarray(np.full((4, 6), page, np.uint8)) for page in range(3)]
    for name in ("a.tif", "a.gif", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(ImageError, match="holds 3 pages, and a label map is one"):
            read_label(tmp_path / name)
    overview = Image.fromarray(np.full((2, 3), 9, np.uint8))
    pages[1].save(tmp_path / "b.tif", save_all=True, append_images=[overview])
    assert read_label(tmp_path / "b.tif").tolist() == [[1] * 6] * 4


def test_jpeg_inside_a_tiff_is_refused(tmp_path):
    Image.fromarray(RAW).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(ImageError, match="JPEG, which changes class numbers"):
        read_label(tmp_path / "a.tif")


def test_opaque_grey_is_grey(tmp_path):
    Image.merge("LA", [Image.fromarray(RAW), Image.new("L", (3, 2), 255)]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), RAW)


def test_colours_are_named_with_their_share(tmp_path):
    painted = np.zeros((4, 5, 3), np.uint8)
    painted[0], painted[1, 0] = (0, 128, 0), (255, 0, 0)
    Image.fromarray(painted).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"here are 0,0,0 on 70\.0 %, 0,128,0 on 25\.0 %, 255,0,0 on 5\.0 %"):
        read_label(tmp_path / "a.png")
    Image.fromarray(np.repeat(RAW[..., None], 3, axis=2)).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match="three channels are alike"):
        read_label(tmp_path / "b.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "c.png")
    with pytest.raises(ImageError, match="colours, as a photo has"):
        read_label(tmp_path / "c.png")


# tables of values and colours ------------------------------------------------------------------------------------


def test_a_table_of_values_leaves_nothing_out_silently():
    rule = LabelRule(values=(Span(0, 0, 0), Span(10, 12, 1, paired=True), Span(40, 50, 2), Span(60, 60, None)))
    stored = np.array([[0, 10, 11, 12], [40, 50, 60, 255], [1, 300, 65534, 65535]])
    expected = [[0, 1, 2, 3], [2, 2, VOID, VOID], [UNLISTED + 1, UNLISTED + 300, UNLISTED + 65534, VOID]]
    assert rule.apply(stored).tolist() == expected
    assert [str(span) for span in rule.values] == ["0=0", "10-12=1-3", "40-50=2", "60=void"]
    assert LabelRule(values=(Span(0, 0, 0), Span(255, 255, 1))).apply(np.array([[0, 255]])).tolist() == [[0, 1]]


def test_a_class_file_that_numbers_its_classes_must_know_every_value(tmp_path):
    rule = LabelRule(values=(Span(1, 4, 0, paired=True),), numbered_by="classes.txt")
    assert rule.apply(np.array([[1, 4, 255]])).tolist() == [[0, 3, 255]]
    path = written(tmp_path / "a.png", np.array([[0, 1]], np.uint8))
    with pytest.raises(
        OptionError, match=r"a\.png: the label map holds 0, and classes\.txt numbers its classes from 1"
    ):
        read_label(path, rule)


@given(arrays.arrays(np.int64, (3, 4), elements=st.integers(0, 0xFFFFFF)), st.booleans())
def test_colours_that_are_no_class_stay_themselves(colours, zero):
    colours[0, :2] = 0x008000, -1
    rule = LabelRule(reduce_zero=zero, colours=((0x008000, 3), (0xFF0000, 1), (0x0000FF, VOID)))
    labels = rule.paint(colours)
    known = {0x008000: 3 - zero, 0xFF0000: 1 - zero, 0x0000FF: VOID, -1: VOID}
    for colour, label in zip(colours.flat, labels.flat, strict=True):
        assert label == known.get(int(colour), COLOUR + int(colour))


def test_colour_masks_are_read_by_their_table(tmp_path):
    rule = LabelRule(colours=((0x008000, 0), (0xFF0000, 1), (0x000000, VOID)))
    painted = np.array([[[0, 128, 0], [255, 0, 0]], [[0, 0, 0], [1, 2, 3]]], np.uint8)
    Image.fromarray(painted).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", rule).tolist() == [[0, 1], [VOID, COLOUR + 0x010203]]
    alpha = np.array([[255, 0], [255, 0]], np.uint8)  # transparent: red is still red, what no class has is void
    Image.fromarray(np.dstack([painted, alpha])).save(tmp_path / "b.png")
    assert read_label(tmp_path / "b.png", rule).tolist() == [[0, 1], [VOID, VOID]]
    np.testing.assert_array_equal(read_label(written(tmp_path / "c.png", RAW), rule), RAW)  # numbers stay numbers


def test_a_palette_in_the_colours_of_the_table_is_read_by_them(tmp_path):
    rule = LabelRule(colours=((0x008000, 0), (0xFF0000, 1)), by_palette=True)
    image = Image.fromarray(np.array([[5, 2]], np.uint8))
    image.putpalette([0, 0, 0] * 2 + [255, 0, 0] + [0, 0, 0] * 2 + [0, 128, 0])
    image.save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", rule).tolist() == [[0, 1]]
    assert read_label(tmp_path / "a.png").tolist() == [[5, 2]]
    assert read_label(tmp_path / "a.png", replace(rule, by_palette=False)).tolist() == [[5, 2]]  # as benchmarks are
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([0, 128, 0, 9, 9, 9, 8, 8, 8])  # one of them by chance
    image.save(tmp_path / "c.png")
    assert read_label(tmp_path / "c.png", rule).tolist() == [[0, 1, 2]]
    np.testing.assert_array_equal(read_label(written(tmp_path / "b.png", RAW, "P"), rule), RAW)


def test_published_colours():
    known = {0: 0, 1: 0x800000, 2: 0x008000, 3: 0x808000, 4: 0x000080, 8: 0x400000, 15: 0xC08080, 20: 0x004080}
    assert {index: voc_colour(index) for index in known} == known
    table = dict(voc_colours())
    assert len(table) == 22 and table[0xE0E0C0] == 255 and voc_colour(255) == 0xE0E0C0
    assert dict(POTSDAM)[0xFFFF00] == 5 and len(POTSDAM) == 7
