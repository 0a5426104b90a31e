"""Files that are no photo, or one that cannot be read: what they are, by their first bytes, and what to do."""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image, features

from segloop.common.kinds import HEAD, SIGNATURES, recognise
from segloop.errors import ImageError
from segloop.images import read_image


def box(kind: bytes, major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join((major, bytes(4), *compatible))
    return struct.pack(">I", 8 + len(brands)) + kind + brands + b"\0\0\0\x08mdat" + bytes(range(256))


def zipped(*names: str, first: bytes = b"x") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, first)
    return stream.getvalue()


def at(offset: int, magic: bytes) -> bytes:
    return bytes(range(1, 256)).ljust(offset, b"\x07")[:offset] + magic + bytes(range(200))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>'
KNOWN = {  # what a file begins with -> words of the sentence
    "heic": (box(b"ftyp", b"heic", b"mif1", b"heic"), "HEIC", "convert"),
    "heic of a burst": (box(b"ftyp", b"msf1", b"hevc"), "HEIC", "convert"),
    "heif": (box(b"ftyp", b"mif1", b"mif1", b"heic"), "HEIC", "convert"),
    "avif that is damaged": (box(b"ftyp", b"avif", b"mif1"), "AVIF", "Pillow"),
    "avif by its second brand": (box(b"ftyp", b"mif1", b"avif"), "AVIF", "Pillow"),
    "canon raw": (box(b"ftyp", b"crx ", b"crx ", b"isom"), "raw file", "develop"),
    "mp4": (box(b"ftyp", b"isom", b"iso2", b"mp41"), "video", "ffmpeg"),
    "quicktime": (box(b"ftyp", b"qt  "), "video", "ffmpeg"),
    "old quicktime": (b"\0\0\x10\0moov" + bytes(99), "video", "ffmpeg"),
    "matroska": (b"\x1a\x45\xdf\xa3" + bytes(range(99)), "video", "ffmpeg"),
    "avi": (b"RIFF\x10\0\0\0AVI LIST", "video", "ffmpeg"),
    "mpeg": (b"\0\0\x01\xba" + bytes(range(99)), "video", "ffmpeg"),
    "mpeg stream": (b"\x47".ljust(188, b"\x81") * 3, "video", "ffmpeg"),
    "sound": (b"RIFF\x10\0\0\0WAVEfmt ", "sound", "check"),
    "olympus": (b"IIRO\x08\0\0\0" + bytes(99), "raw file", "develop"),
    "panasonic": (b"IIU\0\x08\0\0\0" + bytes(99), "raw file", "develop"),
    "fuji": (b"FUJIFILMCCD-RAW 0201", "raw file", "develop"),
    "sigma": (b"FOVb\0\0\x02\0", "raw file", "develop"),
    "html": (b"<!DOCTYPE html><html><body>not found</body></html>", "web page (HTML)", "save the picture itself"),
    "html after a comment": (b"\n <!-- x --><html>", "web page (HTML)", "save the picture itself"),
    "html with a drawing": (b"<html><body>" + SVG, "web page (HTML)", "save the picture itself"),
    "svg": (SVG, "SVG", "export"),
    "svg with a head": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made -->\n' + SVG, "SVG", "export"),
    "svgz": (gzip.compress(SVG), "SVG", "packed with gzip", "unpack"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML", "check"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF", "export"),
    "pdf after a line": (b"\r\n%PDF-1.4\n", "PDF", "export"),
    "postscript": (b"%!PS\nshowpage", "PostScript", "export"),
    "lfs": (POINTER, "Git LFS pointer", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s1--a.jpg\n", "git-annex pointer", "git annex get"),
    "json": (json.dumps({"error": "not found"}).encode(), "JSON", "check"),
    "json list": (b"[1, 2]", "JSON", "check"),
    "text": (b"dear diary\n" * 9, "text", "convert"),
    "text of two bytes": ("dear diary".encode("utf-16"), "text", "convert"),
    "base64": (b"data:image/png;base64,iVBORw0KGgo=", "base64", "decode"),
    "bare base64": (b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD", "base64", "decode"),
    "zip": (zipped("a.jpg"), "zip archive", "unpack"),
    "word": (zipped("[Content_Types].xml", "word/document.xml"), "Word", "export"),
    "krita": (zipped("mimetype", first=b"application/x-krita"), "Krita", "export"),
    "npz": (zipped("arr_0.npy"), "npz", "Python"),
    "gzip": (gzip.compress(bytes(range(256))), "gzip archive", "unpack"),
    "nifti packed": (gzip.compress(at(344, b"n+1\0")), "NIfTI", "unpack"),
    "tar": (at(257, b"ustar\0"), "tar archive", "unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "7z archive", "unpack"),
    "dicom": (bytes(128) + b"DICM\2\0\0\0UL", "DICOM", "export"),
    "nifti": (at(344, b"n+1\0"), "NIfTI", "export"),
    "nifti 2": (b"\x1c\2\0\0n+2\0\r\n\x1a\n" + bytes(99), "NIfTI", "export"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(range(99)), "HDF5", "array"),
    "netcdf": (b"CDF\x01\0\0\0\0", "NetCDF", "array"),
    "npy": (b"\x93NUMPY\x01\0v\0{'descr'", "NumPy", "array"),
    "exr": (b"v/1\x01\2\0\0\0channels", "OpenEXR", "tone-map"),
    "radiance": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance", "tone-map"),
    "jpeg xl": (b"\xff\x0a\xfa\x1f\x01", "JPEG XL", "convert"),
    "djvu": (b"AT&TFORM\0\0\0\0DJVM", "DjVu", "export"),
    "gimp": (b"gimp xcf v011\0", "GIMP", "export"),
    "crushed png": (b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI" + bytes(99), "crushed", "PNG"),
    "notes of macOS": (b"\0\x05\x16\x07\0\2\0\0Mac OS X", "macOS", "._"),
    "shortcut": (b"L\0\0\0\x01\x14\x02\0" + bytes(99), "shortcut", "points to"),
    "zeros": (bytes(9000), "zero bytes", "again"),
    "cut jpeg": (b"\xff\xd8\xff\xe0", "JPEG", "again"),
    "cut png": (b"\x89PNG\r\n\x1a\n", "PNG", "again"),
    "cut tiff": (b"II*\0\x08\0\0\0", "TIFF", "again"),
    "unknown": (b"\x07\x91\xfe\x83" * 40, "not a photo that can be read", "convert"),
}


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("name", KNOWN)
def test_what_a_file_is_whatever_its_name_says(tmp_path, name, suffix):
    data, *words = KNOWN[name]
    path = tmp_path / f"photo.{suffix}"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "ICO", "AVIF", "TGA"])
def test_a_photo_with_another_suffix_is_opened(tmp_path, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    path = tmp_path / "photo.doc"
    Image.new("RGB", (16, 16), "red").save(path, kind)
    assert read_image(path).shape == (16, 16, 3)
    known = recognise(path.read_bytes()[:HEAD])
    assert kind == "TGA" or (known is not None and known.photo)


def test_signatures_name_something_to_do():
    for _, magic, kind in SIGNATURES:
        assert magic and kind.name and kind.remedy
        sentence = kind.sentence("a.jpg")
        assert sentence.startswith("a.jpg is ") and kind.name in sentence


def test_recognising_is_safe_for_any_beginning():
    rng = np.random.default_rng(0)
    for length in (0, 1, 7, 8, 100, HEAD):
        for _ in range(20):
            recognise(rng.integers(0, 256, length, dtype=np.uint8).tobytes())
    for text in (b"<" * HEAD, b"<!--" * 1000, b"{" * HEAD, b"<a:" * 1300, b"\xff\xfe" + b"<\0" * 2000, b"\xc3" * HEAD):
        recognise(text)
