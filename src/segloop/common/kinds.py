"""What a file is, by its first bytes, whatever its name says; and what to do with one that is no photo."""

import re
import zlib
from dataclasses import dataclass

HEAD = 4096  # bytes that are enough to recognise a file
CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # bytes that no text has

SAVE_AGAIN = "copy or download it again, or open it in an image editor and save it as PNG"
CONVERT = "convert it to JPEG or PNG first"
EXPORT = "export it as PNG first"
DEVELOP = "develop it first, in darktable, RawTherapee or the camera's own program, and give the JPEG or TIFF"
FRAME = "take the frames you want out of it first, such as with ffmpeg -i FILE frame-%04d.png"
UNPACK = "unpack it first and give the photos inside"
FETCH = "fetch the file itself first, with `git lfs pull`"
SLICE = "export the slices you want as PNG or 16-bit TIFF first"
TONE = "tone-map it to 8 or 16 bits first and save it as PNG or TIFF"
ARRAY = "load it in Python and give the array (H, W, 3) to segloop.Segmenter"
PICTURE = "open the page in a browser and save the picture itself"
CHECK = "check the path, or convert it to JPEG or PNG first"
HEIC = "pip install pillow-heif, or convert it to JPEG first, as with `sips -s format jpeg FILE --out photo.jpg`"
AVIF = "install Pillow 11.3 or newer, or convert it to JPEG or PNG first"


@dataclass(frozen=True)
class FileKind:
    """What a file is."""

    name: str  # with its article: "a PNG"
    remedy: str
    photo: bool = False  # a picture of pixels, though perhaps not one that can be read here
    readable: bool = False  # unless it is damaged

    def sentence(self, file: str) -> str:
        """What is wrong with a file of this kind that could not be read."""
        if self.readable:
            return f"{file} is {self.name} that is damaged or of a rare kind"
        if self.photo:
            return f"{file} is {self.name}, which cannot be read here"
        return f"{file} is not a photo that can be read but {self.name}"


def _photo(name: str, remedy: str = CONVERT) -> FileKind:
    return FileKind(name, remedy, photo=True)


def _readable(name: str) -> FileKind:
    return FileKind(name, SAVE_AGAIN, photo=True, readable=True)


RAW = _photo("a camera's raw file", DEVELOP)
HEIC_PHOTO, AVIF_PHOTO = _photo("a HEIC photo (as phones make them)", HEIC), _photo("an AVIF photo", AVIF)
TIFF = _readable("a TIFF")
PNG = _readable("a PNG")
GZIP = FileKind("a gzip archive", UNPACK)
ZIP = FileKind("a zip archive", UNPACK)
VIDEO = FileKind("a video", FRAME)
SVG = FileKind("a drawing (SVG)", EXPORT)
HTML = FileKind("a web page (HTML)", PICTURE)
TEXT = FileKind("a text file", CHECK)

SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (  # offset, bytes, kind; the first that fits counts
    (0, b"\xff\xd8\xff", _readable("a JPEG")),
    (0, b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI", _photo("a PNG crushed for iPhones", "save it as a plain PNG first")),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"GIF8", _readable("a GIF")),
    (8, b"WEBP", _readable("a WebP")),
    *((0, b"P%d\n" % number, _readable("a PNM")) for number in range(1, 7)),
    (0, b"8BPS", _photo("a Photoshop file", EXPORT)),
    (0, b"\0\0\0\x0cjP  ", _readable("a JPEG 2000")),
    (0, b"\xff\x4f\xff\x51", _readable("a JPEG 2000")),
    (0, b"\xff\x0a", _photo("a JPEG XL")),
    (0, b"\0\0\0\x0cJXL ", _photo("a JPEG XL")),
    (0, b"II\xbc\x01", _photo("a JPEG XR")),
    (0, b"BPG\xfb", _photo("a BPG")),
    (0, b"FLIF", _photo("a FLIF")),
    (0, b"AT&TFORM", FileKind("a DjVu document", EXPORT)),
    (0, b"gimp xcf", _photo("a GIMP file", EXPORT)),
    (0, b"Paint Shop Pro Image File", _photo("a Paint Shop Pro file", EXPORT)),
    (0, b"v/1\x01", _photo("an OpenEXR picture", TONE)),
    (0, b"#?RADIANCE", _photo("a Radiance HDR picture", TONE)),
    (0, b"#?RGBE", _photo("a Radiance HDR picture", TONE)),
    (0, b"PF\n", _photo("a picture of floating-point numbers (PFM)", TONE)),
    (0, b"SDPX", _photo("a DPX frame")),
    (0, b"XPDS", _photo("a DPX frame")),
    (0, b"IIRO", RAW),  # Olympus
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"IIU\0", RAW),  # Panasonic, Leica
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"FOVb", RAW),  # Sigma
    (0, b"\0MRM", RAW),  # Minolta
    (0, b"II\x1a\0\0\0HEAPCCDR", RAW),  # Canon's first
    (0, b"RED1", VIDEO),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
    (0, b"%!PS", FileKind("a drawing (PostScript)", EXPORT)),
    (0, b"\xc5\xd0\xd3\xc6", FileKind("a drawing (EPS)", EXPORT)),
    (0, b"\xd7\xcd\xc6\x9a", FileKind("a drawing (WMF)", EXPORT)),
    (40, b" EMF", FileKind("a drawing (EMF)", EXPORT)),
    (0, b"AC10", FileKind("a drawing (DWG)", EXPORT)),
    (0, b"\x1a\x45\xdf\xa3", VIDEO),  # Matroska, WebM
    (8, b"AVI ", VIDEO),
    (0, b"FLV\x01", VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),  # Windows Media
    (0, b"\0\0\x01\xba", VIDEO),  # MPEG
    (0, b"\0\0\x01\xb3", VIDEO),
    (4, b"moov", VIDEO),  # QuickTime before it had brands
    (4, b"mdat", VIDEO),
    (4, b"wide", VIDEO),
    (0, b"OggS", FileKind("an Ogg recording", FRAME)),
    (8, b"WAVE", FileKind("a sound", CHECK)),
    (0, b"ID3", FileKind("a sound", CHECK)),
    (0, b"fLaC", FileKind("a sound", CHECK)),
    (0, b"Rar!\x1a\x07", FileKind("a RAR archive", UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", UNPACK)),
    (257, b"ustar", FileKind("a tar archive", UNPACK)),
    (0, b"BZh", FileKind("a bzip2 archive", UNPACK)),
    (0, b"\xfd7zXZ\0", FileKind("an xz archive", UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", FileKind("a Zstandard archive", UNPACK)),
    (128, b"DICM", _photo("a DICOM file", SLICE)),
    (344, b"n+1\0", _photo("a NIfTI volume", SLICE)),
    (344, b"ni1\0", _photo("a NIfTI volume", SLICE)),
    (4, b"n+2\0\r\n\x1a\n", _photo("a NIfTI volume", SLICE)),
    (0, b"NRRD000", _photo("an NRRD volume", SLICE)),
    (0, b"ObjectType = Image", _photo("a MetaImage volume", SLICE)),
    (0, b"ZISRAWFILE", _photo("a Zeiss microscope file", SLICE)),
    (0, b"\xda\xce\xbe\x0a", _photo("a Nikon microscope file", SLICE)),
    (0, b"msid", _photo("a MrSID picture", "convert it to GeoTIFF first, such as with gdal_translate")),
    (0, b"SIMPLE  =", _photo("a FITS file", ARRAY)),
    (0, b"\x89HDF\r\n\x1a\n", FileKind("an HDF5 file", ARRAY)),
    (0, b"\x0e\x03\x13\x01", FileKind("an HDF4 file", ARRAY)),
    (0, b"CDF\x01", FileKind("a NetCDF file", ARRAY)),
    (0, b"CDF\x02", FileKind("a NetCDF file", ARRAY)),
    (0, b"GRIB", FileKind("a GRIB file", ARRAY)),
    (0, b"\x93NUMPY", FileKind("a NumPy array", ARRAY)),
    (0, b"PAR1", FileKind("a Parquet table", ARRAY)),
    (0, b"SQLite format 3\0", FileKind("a database", "export its pictures as files first")),
    (0, b"LASF", FileKind("a point cloud (LAS)", CHECK)),
    (0, b"\x00\x05\x16\x07", FileKind("what macOS notes beside a file", "give the file without ._ before its name")),
    (0, b"bplist00", FileKind("a property list", CHECK)),
    (0, b"L\0\0\0\x01\x14\x02\0", FileKind("a Windows shortcut", "give the file that it points to")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind("an Office document", EXPORT)),
    (0, b"\x7fELF", FileKind("a program", CHECK)),
    (0, b"MZ\x90\0", FileKind("a program", CHECK)),
    (0, b"BM", _readable("a BMP")),
    (0, b"\0\0\x01\0", _readable("an icon")),
)

BRANDS = {  # of ISO media files, which begin with a box `ftyp`
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"heif"), HEIC_PHOTO),
    **dict.fromkeys((b"avif", b"avis"), AVIF_PHOTO),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1", b"miaf", b"MiHE", b"MiHB"), HEIC_PHOTO),
    b"crx ": RAW,
    **dict.fromkeys((b"M4A ", b"M4B "), FileKind("a sound", CHECK)),
}

INSIDE_ZIP = (  # bytes of a zip archive's beginning
    (b"word/", FileKind("a Word document", EXPORT)),
    (b"ppt/", FileKind("a PowerPoint document", EXPORT)),
    (b"xl/", FileKind("an Excel table", CHECK)),
    (b"application/x-krita", _photo("a Krita file", EXPORT)),
    (b"image/openraster", _photo("an OpenRaster file", EXPORT)),
    (b"application/vnd.oasis.opendocument", FileKind("an OpenDocument file", EXPORT)),
    (b"application/epub", FileKind("a book (EPUB)", EXPORT)),
    (b"data.pkl", FileKind("weights or tensors of PyTorch", CHECK)),
    (b".npy", FileKind("NumPy arrays (npz)", ARRAY)),
)

PDF = FileKind("a PDF", "export the page you want as PNG first")
BASE64 = FileKind("a picture written as text (base64)", "decode it to a file first")
MARKUP = {b"svg": SVG, b"html": HTML, b"!doctype html": HTML, b"head": HTML, b"body": HTML, b"script": HTML}

TEXTS = (  # patterns of the beginning of a text, in lower case
    (rb"version https://git-lfs\.github\.com/spec/", FileKind("a Git LFS pointer", FETCH)),
    (
        rb"(\.\./)*\.git/annex/objects/|/annex/objects/",
        FileKind("a git-annex pointer", "fetch it with `git annex get`"),
    ),
    (rb"\{\\rtf", FileKind("a document (RTF)", EXPORT)),
    (rb"[{\[]", FileKind("a JSON text", CHECK)),
    (rb"data:image/", BASE64),
    (rb"(/9j/|ivborw0kggo|r0lgod)[a-z0-9+/\s=]", BASE64),
)


def recognise(head: bytes) -> FileKind | None:
    """What a file is whose first bytes (up to HEAD) are `head`; None where they say nothing."""
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    for offset, magic, kind in SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return next((kind for part, kind in INSIDE_ZIP if part in head), ZIP)
    if head[:2] == b"\x1f\x8b":
        return _inside_gzip(head)
    if len(head) >= 377 and head[0] == head[188] == head[376] == 0x47:
        return VIDEO  # an MPEG stream of 188-byte packets
    if b"%PDF-" in head[:1024]:
        return PDF
    if not head.strip(b"\0"):
        return FileKind("nothing but zero bytes", "copy or download it again, whole")
    return _text(head)


OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")


def not_text(file: object, data: bytes, instead: str) -> tuple[str, str]:
    """The two halves of an error for bytes that are no UTF-8; `instead` is the remedy where they are no text at all."""
    head = data[:HEAD]
    kind = recognise(head) if CONTROL.search(head) else None
    if head.startswith(OLD_EXCEL):
        return f"{file} is of an old Excel", "save it again as .xlsx or as CSV in UTF-8"
    if kind in (None, TEXT):
        return f"{file} is not UTF-8", "save it again as UTF-8 text"
    return f"{file} is {kind.name}, not a text", instead


def _iso_media(head: bytes) -> FileKind:
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))]
    known = [BRANDS[brand] for brand in brands if brand in BRANDS]
    if brands[0] in BRANDS and brands[0][:3] not in (b"mif", b"msf", b"mia"):
        return BRANDS[brands[0]]
    pictures = [kind for kind in known if kind is AVIF_PHOTO]  # `mif1` alone does not say how it is compressed
    return (pictures or known or [VIDEO])[0]


def _inside_gzip(head: bytes) -> FileKind:
    try:
        inner = recognise(zlib.decompressobj(31).decompress(head, HEAD))
    except zlib.error:
        return GZIP
    return GZIP if inner is None else FileKind(f"{inner.name} packed with gzip", UNPACK)


def _text(head: bytes) -> FileKind | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.decode("utf-16", "replace").encode()
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character that the end of `head` cuts
            return None
    if CONTROL.search(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<"):
        tag = re.search(rb"<(?:\w+:)?(svg|html|!doctype html|head|body|script)\b", start)
        return MARKUP[tag[1]] if tag else FileKind("an XML text", CHECK)
    return next((kind for pattern, kind in TEXTS if re.match(pattern, start, re.DOTALL)), TEXT)
