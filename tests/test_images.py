import contextlib
import io
import os
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from segloop.errors import ImageError, MachineError
from segloop.images import expand_photos, normalise, read_image, reading, resize_uint8, resized_size

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def pixels(height=4, width=6, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def corner_photo():
    """2 rows, 3 columns: red at the top left, blue at the bottom right."""
    photo = np.zeros((2, 3, 3), np.uint8)
    photo[0, 0], photo[1, 2] = RED, BLUE
    return photo


# reading ---------------------------------------------------------------------------------------------------


def test_same_pixels_from_every_kind(tmp_path):
    photo = pixels()
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    kinds = [path, str(path), Image.fromarray(photo), Image.open(path), photo, photo.astype(np.uint16) * 257]
    for kind in [*kinds, tensor, tensor / 255, (tensor / 255).double().requires_grad_()]:
        read = read_image(kind)
        assert read.dtype == np.uint8 and read.flags.c_contiguous and read.flags.writeable
        np.testing.assert_array_equal(read, photo)


def test_result_is_a_copy():
    photo = pixels()
    read_image(photo)[:] = 0
    assert photo.any()


def test_grey_becomes_three_equal_channels():
    grey = pixels(channels=0)
    wide = grey.astype(np.uint16) * 256 + 255
    for kind in (grey, wide, wide.astype(">u2"), Image.fromarray(grey), Image.fromarray(wide)):
        read = read_image(kind)
        for channel in range(3):
            np.testing.assert_array_equal(read[..., channel], grey)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_tensor_of_round_levels(half):
    read = read_image(torch.tensor([0.0, 1.0, 0.5], dtype=half).view(3, 1, 1))
    assert read.tolist() == [[[0, 255, 128]]]  # 127.5 rounds to even


def test_overshoot_of_a_resize_is_not_a_mistake():
    assert read_image(torch.full((3, 1, 1), 1.001)).max() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_exif_orientation(tmp_path, orientation, kind):
    upright = np.kron(corner_photo(), np.ones((16, 16, 1), np.uint8))  # blocks, so that JPEG keeps the colours
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),  # shown after a quarter turn clockwise
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    for photo in (path, Image.open(path)):
        read = read_image(photo)
        assert read.shape == upright.shape
        assert np.abs(read[8::16, 8::16].astype(int) - corner_photo()).max() < 12
    if kind == "jpg":
        assert cv2.imread(str(path)).shape == upright.shape


def test_damaged_exif_does_not_spoil_the_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(corner_photo()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(read_image(path), corner_photo())


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, 0], rgba[0, 1], rgba[0, 2] = (*RED, 255), (*RED, 0), (*RED, 51)  # opaque, clear, a fifth
    expected = [[[255, 0, 0], [255, 255, 255], [255, 204, 204]]]
    assert read_image(Image.fromarray(rgba)).tolist() == expected
    path = tmp_path / "a.png"
    Image.fromarray(rgba).save(path)
    assert read_image(path).tolist() == expected
    grey = Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA")
    assert read_image(grey)[0, :, 0].tolist() == [0, 255]


def test_palette_with_and_without_a_clear_colour(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([*RED, *BLUE])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=1)
    assert read_image(tmp_path / "a.png").tolist() == [[[*RED], [*BLUE]]]
    assert read_image(tmp_path / "b.png").tolist() == [[[*RED], [*WHITE]]]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa", "La", "PA"])
def test_other_modes_are_read(mode):
    source = Image.fromarray(np.full((2, 3, 3), 255, np.uint8))
    for step in {"RGBa": ["RGBA"], "La": ["LA"], "PA": ["P"]}.get(mode, []):
        source = source.convert(step)
    read = read_image(source.convert(mode))
    assert read.shape == (2, 3, 3) and read.min() >= 254


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_16_bit_files_keep_the_high_byte_as_opencv_does(tmp_path, kind):
    wide = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    path = str(tmp_path / f"a.{kind}")
    assert cv2.imwrite(path, wide)
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]
    np.testing.assert_array_equal(read_image(path), cv2.imread(path)[..., ::-1])


def test_16_bit_colour_file(tmp_path):
    wide = pixels(channels=3).astype(np.uint16) * 256 + 200
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, wide)
    np.testing.assert_array_equal(read_image(path), wide[..., ::-1] >> 8)


@pytest.mark.filterwarnings("ignore::segloop.errors.PhotoWarning")  # which says so
def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (3, 2), colour) for colour in (RED, BLUE)]
    for kind in ("gif", "png", "webp"):
        path = tmp_path / f"a.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "webp" else {}))
        assert read_image(path)[0, 0].tolist() == [*RED]
    current = Image.open(tmp_path / "a.gif")
    current.seek(1)
    assert read_image(current)[0, 0].tolist() == [*BLUE]


@pytest.mark.parametrize("shape", [(1, 1), (20000, 3), (3, 20000)])
def test_extreme_shapes_are_fine(tmp_path, shape):
    path = tmp_path / "a.png"
    Image.fromarray(pixels(*shape)).save(path)
    assert read_image(path).shape == (*shape, 3)


# refusing --------------------------------------------------------------------------------------------------


def refused(photo):
    with pytest.raises(ImageError) as caught:
        read_image(photo)
    message = str(caught.value)
    assert "\n" not in message and caught.value.remedy and caught.value.exit_code == 2
    return message


def jpeg_bytes(**options):
    smooth = cv2.resize(pixels(8, 8), (200, 160))
    stream = io.BytesIO()
    Image.fromarray(smooth).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def test_places_that_hold_no_photo(tmp_path):
    file = tmp_path / "notes.jpg"
    assert "there is no file" in refused(file)
    file.write_bytes(b"")
    assert "is empty" in refused(file)
    file.write_text("dear diary, today I renamed a text file\n" * 20)
    assert "not a photo that can be read" in refused(file)
    assert "there is no file" in refused(file / "below.jpg")
    message = refused(tmp_path)
    assert "is a folder" in message and "one of its photos" in message
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe" in refused(tmp_path / "pipe.jpg")
    assert "file name" in refused("a\0b.jpg")
    assert "cannot be opened" in refused("a" * 5000)
    assert refused("")


@pytest.mark.parametrize("address", ["http://example.org/a.jpg", "HTTPS://example.org/a.jpg"])
def test_web_addresses_are_to_be_downloaded_first(address):
    assert f"{address} is a web address; download" in refused(address)
    assert f"{address} is a web address; download" in refused(Path(address))


def test_unreadable_permissions(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read anything
    try:
        assert "may not be read" in refused(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_truncated_jpeg_is_an_error_not_a_grey_half(tmp_path, options, kept):
    whole = jpeg_bytes(**options)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(path)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000"])
def test_other_truncated_formats(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(pixels(60, 60)).save(stream, kind)
    for kept in (0.02, 0.3, 0.8):
        path = tmp_path / "a"
        path.write_bytes(stream.getvalue()[: int(len(stream.getvalue()) * kept)])
        refused(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on tags that make no sense
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_broken_bytes_give_a_photo_or_an_image_error(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["PNG", "GIF", "TIFF", "JPEG"]))
    stream = io.BytesIO()
    Image.fromarray(pixels(9, 7)).save(stream, kind)
    broken = bytearray(stream.getvalue())
    for _ in range(3):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "broken"
    path.write_bytes(broken)
    with contextlib.suppress(ImageError, MachineError):
        assert read_image(path).dtype == np.uint8


def test_decompression_bomb(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    assert "more pixels" in refused(path)


def test_the_softer_warning_is_silent_and_filters_stay(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        assert read_image(path).shape == (100, 100, 3)
        assert warnings.filters == before
    assert not caught
    assert Image.MAX_IMAGE_PIXELS == 6_000 and not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_drawing_is_not_opened(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels()).save(path, "EPS")
    assert "drawing" in refused(path)


def test_memory_that_runs_out_is_the_machines_fault(monkeypatch):
    def load(self):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(MachineError, match="memory"):
        read_image(Image.new("RGB", (2, 2)))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_modes_have_no_known_white(mode):
    assert "8 or 16 bits" in refused(Image.new(mode, (2, 2)))


def test_closed_and_empty_pil_images(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path)
    closed = Image.open(path)
    closed.close()
    refused(closed)
    assert "no pixels" in refused(Image.new("RGB", (0, 3)))


@pytest.mark.parametrize(
    ("photo", "part"),
    [
        (np.zeros((2, 3, 4), np.uint8), "shape (2, 3, 4)"),
        (np.zeros((3, 5, 5), np.uint8), "shape (3, 5, 5)"),
        (np.zeros((1, 2, 3, 3), np.uint8), "shape (1, 2, 3, 3)"),
        (np.zeros(3, np.uint8), "shape (3,)"),
        (np.zeros((0, 3, 3), np.uint8), "no pixels"),
        (np.zeros((0, 0), np.uint8), "no pixels"),
        (np.zeros((2, 3, 3), np.float32), "float32"),
        (np.zeros((2, 3, 3), np.int64), "int64"),
        (np.zeros((2, 3, 3), np.uint32), "uint32"),
        (np.zeros((2, 3), bool), "bool"),
        (np.zeros((2, 3), object), "object"),
        (torch.zeros(4, 4, 3), "shape (4, 4, 3)"),
        (torch.zeros(1, 3, 4, 4), "a list"),
        (torch.zeros(3, 0, 4), "shape (3, 0, 4)"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), "int64"),
        (torch.full((3, 2, 2), float("nan")), "nan"),
        (torch.full((3, 2, 2), float("inf")), "inf"),
        (torch.full((3, 2, 2), 1.5), "1.5"),
        (torch.full((3, 2, 2), -0.1), "-0.1"),
        (torch.full((3, 2, 2), 255.0), "255"),
        (None, "NoneType"),
        (7, "int"),
        (b"bytes", "the photo is not a photo that can be read but a text"),
        ([np.zeros((2, 3, 3), np.uint8)], "list"),
    ],
)
def test_objects_that_are_no_photo(photo, part):
    assert part in refused(photo)


@pytest.mark.parametrize(
    ("photo", "parts"),
    [
        (np.zeros((9, 8, 4), np.uint8), ["(9, 8, 4)", "uint8", "bands=(3, 2, 1)", "array[..., :3]"]),
        (np.zeros((9, 8, 5), np.uint16), ["5 bands", "uint16", "bands=(3, 2, 1)"]),
        (np.zeros((9, 8, 2), np.uint8), ["2 bands", "bands=(1,)"]),
        (np.zeros((9, 8, 1), np.uint8), ["array[..., 0]"]),
        (np.zeros((3, 9, 8), np.uint8), ["bands first?", "array.transpose(1, 2, 0)."]),
        (np.zeros((13, 30, 40), np.uint16), ["bands first?", "array.transpose(1, 2, 0) and bands=(3, 2, 1)"]),
        (np.zeros((1, 9, 8), np.uint8), ["array[0]"]),
        (np.zeros((5, 9, 8, 3), np.uint8), ["a batch of 5?", "list(array)"]),
        (np.full((2, 2), -1, np.int8), ["int8 with values from -1 to -1", "stretch='minmax'"]),
        (np.full((2, 2), 7, np.int64), ["int64 with values from 7 to 7", "array.astype(np.uint8)"]),
        (np.full((2, 2), 700, np.int32), ["array.astype(np.uint16)"]),
        (np.full((2, 2), 0.5), ["float64 with values from 0.5 to 0.5", "(array * 255).round().astype(np.uint8)"]),
        (np.full((2, 2), 254.5), ["254.5", "array.round().astype(np.uint8)"]),
        (np.full((2, 2), 2000.0), ["2000", "array.round().astype(np.uint16)"]),
        (np.full((2, 2), -0.5), ["-0.5", "stretch='minmax'"]),
        (np.full((2, 2), np.nan), ["nan", "not finite"]),
        (np.zeros((2, 2), bool), ["bool", "array.astype(np.uint8) * 255"]),
        (np.zeros((2, 2), complex), ["complex128"]),
        (np.zeros((2, 2), "U3"), ["<U3"]),
        (torch.zeros(9, 8, 3), ["permute(2, 0, 1)"]),
        (torch.zeros(5, 9, 8), ["bands=(3, 2, 1)"]),
        (torch.full((3, 2, 2), 200.0), ["from 200 to 200", "divide by 255"]),
    ],
)
def test_arrays_say_what_they_are_and_what_to_do(photo, parts):
    message = refused(photo)
    assert all(part in message for part in parts), message


def test_arrays_of_any_numbers_can_be_stretched_and_their_bands_chosen():
    photo = pixels(9, 8)
    photo[0, 0], photo[0, 1] = 0, 255
    minmax = reading(stretch="minmax")
    signed = photo.astype(np.int16) - 128
    tensor = torch.from_numpy(signed).permute(2, 0, 1)
    kinds = [signed.astype(np.int8), signed.astype(">i2"), signed / 7, photo.astype(np.float16), photo * 9e9]
    for kind in [*kinds, tensor, tensor.bfloat16()]:
        np.testing.assert_array_equal(read_image(kind, minmax), photo)
    five = np.dstack([photo, photo[..., :2]])
    swapped = reading((3, 2, 1))
    for kind in (five, torch.from_numpy(five).permute(2, 0, 1), torch.from_numpy(five).permute(2, 0, 1) / 255):
        np.testing.assert_array_equal(read_image(kind, swapped), photo[..., ::-1])
    grey = read_image(five, reading([5]))
    np.testing.assert_array_equal(grey, np.repeat(photo[..., 1:2], 3, axis=2))
    with pytest.raises(ImageError, match="bands first"):
        read_image(np.moveaxis(five, 2, 0), swapped)
    with pytest.raises(ImageError, match="no band 6"):
        read_image(five, reading("1,2,6"))
    with pytest.raises(ImageError, match="object"):
        read_image(photo.astype(object), minmax)


def test_12_bits_in_an_array_are_told():
    with pytest.warns(UserWarning, match="the array looks almost black: most of its 16-bit numbers are"):
        read_image(pixels().astype(np.uint16) << 4)


def test_torch_is_not_imported_for_a_file(tmp_path):
    import subprocess

    Image.fromarray(pixels()).save(tmp_path / "a.png")
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from segloop.images import read_image; "
        "read_image(sys.argv[1]); assert not {'torch', 'cv2', 'tifffile'} & set(sys.modules)"
    )
    import segloop

    source = os.path.dirname(os.path.dirname(segloop.__file__))
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png"), source], check=True)


# sizes and pixels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "short", "expected"),
    [
        (375, 500, 336, (336, 448)),
        (427, 640, 336, (336, 504)),
        (512, 683, 448, (448, 598)),
        (1024, 2048, 560, (560, 1120)),
        (100, 900, 336, (228, 2048)),  # the long side's limit rules
        (1, 1, 336, (336, 336)),
        (20000, 3, 336, (2048, 1)),  # 0.3 pixels would be 0
    ],
)
def test_resized_size(height, width, short, expected):
    assert resized_size(height, width, short) == expected
    assert resized_size(width, height, short) == expected[::-1]


def test_resized_size_is_raised_to_the_patch():
    assert resized_size(20000, 3, 336, at_least=16) == (2048, 16)
    assert resized_size(100, 900, 336, 1000) == (111, 1000)


def test_resize_by_hand():
    # 2 -> 4 samples: positions -0.25, 0.25, 0.75, 1.25; the outer ones repeat the border.
    row = np.array([[[0], [100]]], np.uint8)
    assert resize_uint8(row, (1, 4)).ravel().tolist() == [0, 25, 75, 100]
    assert resize_uint8(row.transpose(1, 0, 2), (4, 1)).ravel().tolist() == [0, 25, 75, 100]
    # 4 -> 1: position 1.5, the middle two; no antialiasing, so the outer ones are never seen
    assert resize_uint8(np.array([[[255], [10], [20], [255]]], np.uint8), (1, 1)).item() == 15


def opencv(image, size):
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, -1)


SIDES = st.one_of(st.integers(1, 9), st.integers(1, 90))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([1, 3, 4]), st.integers(0, 1000))
def test_resize_equals_opencv(height, width, rows, columns, channels, seed):
    image = pixels(height, width, channels, seed)
    resized = resize_uint8(image, (rows, columns))
    np.testing.assert_array_equal(resized, opencv(image, (rows, columns)))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 5000), (1, 7)),
        ((3, 2000), (300, 2)),
        ((700, 1), (2, 900)),
        ((480, 640), (240, 320)),  # exact halves, where OpenCV takes another path
        ((333, 500), (336, 505)),
        ((14693, 2), (2048, 2)),  # here the order of two divisions decides the last bit
        ((2, 14693), (2, 2048)),
        ((40, 1), (700, 5463)),  # weights that round to 2047 in all, where OpenCV drops the fraction
    ],
)
def test_resize_equals_opencv_on_big_ratios(shape, size):
    image = pixels(*shape)
    np.testing.assert_array_equal(resize_uint8(image, size), opencv(image, size))


def test_resize_leaves_its_input_alone():
    image = pixels()
    before = image.copy()
    same = resize_uint8(image, (4, 6))
    assert same is not image and np.shares_memory(same, image) is False
    resize_uint8(image[:, ::-1], (3, 3))
    np.testing.assert_array_equal(image, before)


def test_normalise_by_hand():
    photo = np.array([[[255, 0, 104]]], np.uint8)
    result = normalise(photo)
    assert result.shape == (3, 1, 1) and result.dtype == np.float32 and result.flags.c_contiguous
    expected = [(255 - 122.771) / 68.501, -116.746 / 66.632, (104 - 104.094) / 70.323]
    unit = 2.0**-24  # a mean of 123 is rounded, over a deviation of 67
    np.testing.assert_allclose(result.ravel(), expected, rtol=4 * unit, atol=2 * unit)


# lists of photos -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.jpg", "c.png", "deep/d.jpg", "deep/er/e.jpg", "odd[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(patterns):
    return [path.as_posix() for path in expand_photos(patterns)]


def test_patterns_are_sorted_and_repeats_removed(folder):
    assert names(["[abc].jpg"]) == ["a.jpg", "b.jpg"]
    assert names(["b.jpg", "?.jpg", "./b.jpg"]) == ["b.jpg", "a.jpg"]
    assert names([str(folder / "a.jpg"), "a.jpg"]) == [(folder / "a.jpg").as_posix()]
    assert names(["**/*.jpg"]) == ["a.jpg", "b.jpg", "deep/d.jpg", "deep/er/e.jpg", "odd[1].jpg"]
    assert names([]) == []


def test_patterns_skip_folders(folder):
    assert names(["dee*", "deep/*"][1:]) == ["deep/d.jpg"]
    with pytest.raises(ImageError, match=r"'dee\*'"):
        names(["dee*"])


def test_plain_items_are_kept_for_later(folder):
    (folder / "empty").mkdir()
    items = ["missing.jpg", "empty", "odd[1].jpg", "https://example.org/a.jpg?raw=1"]
    paths = expand_photos(items)
    assert [path.as_posix() for path in paths[:3]] == items[:3]
    assert "there is no file missing.jpg" in refused(paths[0])
    assert "empty is a folder and holds no photo" in refused(paths[1])
    assert "download" in refused(paths[3])


def test_a_folder_is_all_photos_below_it(folder):
    assert names(["deep", "a.jpg"]) == ["deep/d.jpg", "deep/er/e.jpg", "a.jpg"]


def test_a_pattern_without_match_is_named(folder):
    with pytest.raises(ImageError, match=r"no file matches '\*\.webp'"):
        expand_photos(["*.jpg", "*.webp"])
