"""Photos that are no files of a folder: tables, tar shards, videos, stores."""

import io
import json
import pickle
import shutil
import tarfile
import warnings
from fractions import Fraction
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from segloop.common import stores
from segloop.errors import ImageError, MachineError, Notice, OptionError
from segloop.images import read_image
from segloop.sources.find import braced, photos_of
from segloop.sources.photos import arranged, common_root
from segloop.sources.videos import sampled


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five small PNGs of one grey each: 0, 10, 20 ..."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(np.full((6, 8, 3), 10 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def greys(photos) -> dict[str, int]:
    """The grey of each photo, by its name."""
    found = {photo.name: read_image(photo.file) for photo in photos}
    return {name: int(pixels[0, 0, 0]) for name, pixels in found.items()}


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


# arranging -------------------------------------------------------------------------------------------------------


def test_what_places_have_in_common():
    assert common_root({"/a/b/c", "/a/b"}) == "/a/b" and common_root({"/a/b", "/a/bc"}) == "/a"
    assert common_root({"/a", "/b"}) == "/" and common_root({""}) == "/"
    assert common_root({"s3://one/a", "s3://one/b"}) == "s3://one"
    assert common_root({"s3://one/a", "s3://two/a"}) == "" == common_root({"s3://one/a", "/a"})


def test_names_and_places_of_several_stores():
    photos = list(arranged(["s3://one/a/x.png", "s3://two/x.png"]))
    assert [(photo.name, photo.place) for photo in photos] == [
        ("s3/one/a/x", "s3://one/a/x.png"),
        ("s3/two/x", "s3://two/x.png"),
    ]


def test_names_that_lead_elsewhere_are_told():
    assert [photo.apart for photo in arranged(["s3://b/a//x.png", "s3://b/../y.png", "s3://b/z.png"])] == [
        False,
        False,
        True,
    ]


def test_photos_go_to_other_processes(pictures):
    photos = photos_of(str(pictures))
    assert greys(pickle.loads(pickle.dumps(photos))) == greys(photos)


# the bytes of a photo --------------------------------------------------------------------------------------------


def test_bytes_are_photos_under_the_same_rules(pictures):
    data = (pictures / "3.png").read_bytes()
    assert (read_image(data) == 30).all() and (read_image(memoryview(data)) == 30).all()
    with pytest.raises(ImageError, match="the photo is empty"):
        read_image(b"")
    with pytest.raises(ImageError, match="the photo is not a photo that can be read but a web page"):
        read_image(b"<html><body>")


# tables ----------------------------------------------------------------------------------------------------------


def test_a_table_of_paths(pictures, tmp_path):
    pq.write_table(pa.table({"id": [1, 2], "where": ["pictures/2.png", "pictures/0.png"]}), tmp_path / "list.parquet")
    with pytest.raises(OptionError, match=r"is known to hold photos or paths; name it with --column: where"):
        photos_of(str(tmp_path / "list.parquet"))
    assert greys(photos_of(str(tmp_path / "list.parquet"), "where")) == {"0": 0, "2": 20}
    with pytest.raises(OptionError, match=r"no column 'wher'.*did you mean 'where'"):
        photos_of(str(tmp_path / "list.parquet"), "wher")


@pytest.mark.parametrize("struct", [True, False])
def test_a_table_of_photos(pictures, tmp_path, struct):
    rows = [{"bytes": data, "path": None} for data in files(pictures)] if struct else files(pictures)
    pq.write_table(pa.table({"image": rows, "id": list(range(5))}), tmp_path / "rows.parquet", row_group_size=2)
    photos = photos_of(str(tmp_path / "rows.parquet"))
    assert greys(photos) == {f"rows/00000{number}": 10 * number for number in range(5)}
    backwards = [photos[slice(number, number + 1)][0] for number in (4, 0, 3, 1)]
    assert list(greys(backwards).values()) == [40, 0, 30, 10]
    assert photos[slice(2, 3)][0].place == f"{tmp_path}/rows.parquet/000002"


def test_many_rows_in_one_group_from_any_place(pictures, tmp_path):
    data = files(pictures)
    pq.write_table(pa.table({"image": [data[number % 5] for number in range(100)]}), tmp_path / "rows.parquet")
    photos = photos_of(str(tmp_path / "rows.parquet"))
    for number in (70, 71, 40, 99, 98, 60, 0):
        (photo,) = photos[slice(number, number + 1)]
        assert greys([photo]) == {f"rows/{number:06d}": 10 * (number % 5)}


def test_a_table_of_the_datasets_library(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    paths = sorted(map(str, pictures.iterdir()))
    table = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    table.to_parquet(str(tmp_path / "set.parquet"))
    assert list(greys(photos_of(str(tmp_path / "set.parquet"))).values()) == [0, 10, 20, 30, 40]


def test_rows_without_a_photo_and_tables_that_are_none(pictures, tmp_path):
    rows = [{"bytes": None, "path": "pictures/1.png"}, {"bytes": None, "path": None}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "rows.parquet")
    first, second = photos_of(str(tmp_path / "rows.parquet"))
    assert (read_image(first.file) == 10).all()
    with pytest.raises(ImageError, match=r"row 1 of .*rows.parquet has no photo"):
        read_image(second.file)
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:-9])
    (broken,) = photos_of(str(tmp_path / "torn.parquet"))
    with pytest.raises(ImageError, match=r"torn.parquet is no whole Parquet table"):
        read_image(broken.file)


# tar shards ------------------------------------------------------------------------------------------------------


def shard(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    with webdataset.TarWriter(str(path)) as writer:
        for key, parts in samples.items():
            writer.write({"__key__": key, **parts})


def test_tar_shards(pictures, tmp_path):
    data = files(pictures)
    shard(
        tmp_path / "s-000.tar", {"a/one": {"png": data[1], "json": b"{}", "mask.png": data[0]}, "two": {"png": data[2]}}
    )
    shard(tmp_path / "s-001.tar", {"three": {"png": data[3]}, "odd.name": {"png": data[4]}})
    photos = photos_of(str(tmp_path / "s-{000..001}.tar"))
    assert greys(photos) == {"s-000/a/one": 10, "s-000/two": 20, "s-001/odd.name": 40, "s-001/three": 30}
    assert greys(photos_of(str(tmp_path / "s-000.tar"), "mask.png")) == {"s-000/a/one.mask": 0}
    assert next(iter(photos)).place == f"{tmp_path}/s-000.tar/a/one.png"
    assert len(photos_of(str(tmp_path / "*.tar"))) == 4 == len(photos_of(str(tmp_path / "{s-000,s-001}.tar")))


def test_only_headers_are_read_to_list_a_tar(pictures, tmp_path, monkeypatch):
    shard(tmp_path / "s.tar", {str(number): {"png": bytes(300_000)} for number in range(10)})
    read = []

    class Counting(io.FileIO):
        def read(self, size=-1):
            data = super().read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr("segloop.sources.tars.opened", lambda address: Counting(address))
    assert len(photos_of(str(tmp_path / "s.tar"))) == 10 and sum(read) < 50_000


def test_a_sample_with_two_photos_is_asked_about(pictures, tmp_path):
    data = files(pictures)
    shard(tmp_path / "s.tar", {"one": {"png": data[1], "jpg": data[0]}})
    with pytest.raises(OptionError, match=r"sample one of .*s.tar has several photos \(jpg, png\); .* --column"):
        photos_of(str(tmp_path / "s.tar"))
    assert greys(photos_of(str(tmp_path / "s.tar"), "png")) == {"s/one": 10}


@pytest.mark.parametrize("damage", ["cut", "end", "garbage", "gzip"])
def test_a_broken_tar_is_one_failure(pictures, tmp_path, damage):
    shard(tmp_path / "s.tar", {str(number): {"png": data} for number, data in enumerate(files(pictures))})
    whole = (tmp_path / "s.tar").read_bytes()
    with tarfile.open(tmp_path / "s.tar") as tar:
        third = tar.getmembers()[3].offset
    torn = {
        "cut": whole[: third + 520],
        "end": whole[:third],
        "garbage": whole[:third] + bytes(range(256)) * 4 + whole[third + 1024 :],
        "gzip": b"\x1f\x8b" + whole,
    }
    (tmp_path / "s.tar").write_bytes(torn[damage])
    last, *photos = photos_of(str(tmp_path / "s.tar"))
    assert set(greys(photos).values()) == (set() if damage == "gzip" else {0, 10, 20})
    with pytest.raises(ImageError, match=r"s.tar is no whole tar file .*; copy or download it again"):
        read_image(last.file)


def test_braces():
    assert braced("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert braced("{a,b}{0..1}") == ["a0", "a1", "b0", "b1"] and braced("plain{x}") == ["plain{x}"]


# videos ----------------------------------------------------------------------------------------------------------


def video(path: Path, times: list[int], options: dict[str, str] | None = None) -> Path:
    """A video of 64x48 whose frame number n is a grey of 20 + 4 (n mod 50), shown at these hundredths of a second."""
    import av

    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        stream.codec_context.gop_size = 5
        stream.codec_context.bit_rate = 4_000_000
        for number, time in enumerate(times):
            grey = np.full((48, 64, 3), 20 + 4 * (number % 50), np.uint8)
            grey[:, :8] = 0  # so that a turn can be seen
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def shown(photos) -> dict[str, int]:
    """The number of each frame, by its name."""
    middle = {photo.name: read_image(photo.file)[24, 40].mean() for photo in photos}
    return {name: round((grey - 20) / 4) for name, grey in middle.items()}


def test_frames_at_a_rate(tmp_path):
    clip = video(tmp_path / "clip.mkv", [4 * number for number in range(50)])  # 25 a second, two seconds
    assert shown(photos_of(str(clip), fps=5)) == {f"clip/{number:06d}": 5 * number for number in range(10)}
    assert shown(photos_of(str(clip), fps="0.5")) == {"clip/000000": 0}
    assert len(photos_of(str(clip), fps=1000)) == 50  # each once
    photos = photos_of(str(clip), fps=25)
    backwards = [photos[slice(number, number + 1)][0] for number in (49, 30, 31, 7, 0, 48)]
    assert list(shown(backwards).values()) == [49, 30, 31, 7, 0, 48]
    with pytest.raises(OptionError, match=r"is a video, and no rate is given; say --fps 1"):
        photos_of(str(clip))
    for wrong in ("fast", "0", "-1", "1/0"):
        with pytest.raises(OptionError, match="is no rate"):
            photos_of(str(clip), fps=wrong)


def test_frames_that_come_irregularly(tmp_path):
    clip = video(tmp_path / "clip.mkv", [0, 10, 100, 110, 300])
    assert shown(photos_of(str(clip), fps=1)) == {
        "clip/000000": 0,
        "clip/000001": 2,
        "clip/000002": 3,
        "clip/000003": 4,
    }


def test_the_frame_of_a_step_is_the_last_one_not_later():
    ticks, frames = sampled(np.array([5, 15, 25, 95]), Fraction(20))  # steps at 5, 25, 45, 65, 85
    assert ticks.tolist() == [0, 1] and frames.tolist() == [0, 2]


def test_turned_videos_are_turned_back(tmp_path):
    clip = video(tmp_path / "clip.mp4", [0, 4, 8])
    data = clip.read_bytes()
    at = data.index(b"tkhd") + 44  # version 0: the matrix
    one, zero, back = (number.to_bytes(4, "big", signed=True) for number in (1 << 16, 0, -1 << 16))
    assert data[at : at + 4] == one
    clip.write_bytes(data[:at] + zero + one + zero + back + zero + zero + data[at + 24 :])  # right becomes down
    pixels = read_image(photos_of(str(clip), fps=1)[slice(1)][0].file)
    assert pixels.shape == (64, 48, 3) and pixels[:7].mean() < 12 < 18 < pixels[16:].mean()  # left has become top


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_video_that_is_cut_off_is_one_failure(tmp_path, suffix):
    early = {"movflags": "faststart"} if suffix == "mp4" else None
    clip = video(tmp_path / f"clip.{suffix}", [4 * number for number in range(100)], early)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    last, *photos = photos_of(str(clip), fps=5)
    whole = photos[:-1]  # the last frame may be half one
    assert 3 <= len(whole) < 19 and list(shown(whole).values()) == [5 * i % 50 for i in range(len(whole))]
    with pytest.raises(ImageError, match=r"clip\.\w+ (ends .* seconds in, and says|cannot be read further)"):
        read_image(last.file)


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video" * 100)
    (broken,) = photos_of(str(tmp_path / "clip.mp4"), fps=1)
    with pytest.raises(ImageError, match=r"clip.mp4 is damaged or no video"):
        read_image(broken.file)


# folders of several kinds ----------------------------------------------------------------------------------------


def test_what_a_folder_gives(pictures, tmp_path):
    clip = video(pictures / "clip.mkv", [0, 50])
    shard(pictures / "s.tar", {"x": {"png": (pictures / "1.png").read_bytes()}})
    with pytest.warns(Notice, match=r"1 video and 1 table or tar shard in .*pictures are passed over"):
        assert len(photos_of(str(pictures))) == 5
    with pytest.warns(Notice, match="1 table or tar shard"):
        assert {"clip/000000", "clip/000001"} < {photo.name for photo in photos_of(str(pictures), fps=2)}
    for path in pictures.glob("*.png"):
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [photo.name for photo in photos_of(str(pictures), fps=1)] == ["clip/000000", "s/x"]
    clip.unlink()
    assert [photo.name for photo in photos_of(str(pictures))] == ["s/x"]


def test_containers_of_one_name_keep_their_suffix(pictures, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    shard(folder / "x.tar", {"000000": {"png": (pictures / "1.png").read_bytes()}})
    pq.write_table(pa.table({"image": [(pictures / "2.png").read_bytes()]}), folder / "x.parquet")
    assert greys(photos_of(str(folder))) == {"x.parquet/000000": 20, "x.tar/000000.png": 10}


# stores ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(pictures):
    """The pictures in a store within this process."""
    memory = fsspec.filesystem("memory")
    memory.put(str(pictures), "/bucket/pictures", recursive=True)
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_addresses(bucket, pictures, tmp_path):
    expected = {str(number): 10 * number for number in range(5)}
    assert greys(photos_of(f"{bucket}/pictures")) == expected == greys(photos_of(f"{bucket}/*/*.png"))
    assert greys(photos_of(f"{bucket}/pictures/3.png")) == {"3": 30}
    (tmp_path / "list.txt").write_text(f"{bucket}/pictures/1.png\n{bucket}/pictures/2.png\n")
    assert greys(photos_of(str(tmp_path / "list.txt"))) == {"1": 10, "2": 20}
    stores.put(f"{bucket}/list.csv", b"path\npictures/4.png\n")
    assert greys(photos_of(f"{bucket}/list.csv")) == {"4": 40}
    with pytest.raises(ImageError, match="nothing is not there, or holds nothing"):
        photos_of(f"{bucket}/nothing")
    with pytest.raises(OptionError, match="cannot be opened"):
        photos_of("nosuchstore://bucket/x")


def test_containers_in_a_store(bucket, pictures, tmp_path):
    shard(tmp_path / "s.tar", {"x": {"png": (pictures / "1.png").read_bytes()}})
    pq.write_table(pa.table({"image": files(pictures)}), tmp_path / "t.parquet")
    video(tmp_path / "clip.mkv", [0, 50])
    for name in ("s.tar", "t.parquet", "clip.mkv"):
        stores.put_file(f"{bucket}/more/{name}", tmp_path / name)
    photos = photos_of(f"{bucket}/more", fps=2)
    assert {photo.name for photo in photos} == {"s/x", "clip/000000", "clip/000001", *(f"t/00000{i}" for i in range(5))}
    assert greys(photo for photo in photos if photo.name in ("s/x", "t/000004")) == {"s/x": 10, "t/000004": 40}


def test_a_photo_that_is_gone_from_a_store(bucket):
    photos = photos_of(f"{bucket}/pictures")
    fsspec.filesystem("memory").rm("/bucket/pictures/2.png")
    with pytest.raises(ImageError, match=r"there is no file memory:/.*2.png"):
        greys(photos)


def test_a_store_that_stumbles_is_asked_again(bucket, monkeypatch):
    memory, asked = fsspec.filesystem("memory"), []
    real = type(memory).cat_file

    def flaky(self, *words, **options):
        asked.append(1)
        if len(asked) % 3:
            raise OSError(5, "busy")
        return real(self, *words, **options)

    monkeypatch.setattr(stores, "WAIT", 0)
    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert len(greys(photos_of(f"{bucket}/pictures"))) == 5 and len(asked) == 15
    monkeypatch.setattr(type(memory), "cat_file", lambda self, path: 1 / 0)
    with pytest.raises(MachineError, match=r"the store behind memory.* fails .*run the same command again"):
        greys(photos_of(f"{bucket}/pictures"))


def test_no_password_is_written_down():
    assert stores.plain_address("ftp://me:secret@host/a/") == "ftp://host/a" and not stores.is_address("C:/a")


def test_labelling_from_the_command_line(segloop, toy_clip, pictures, tmp_path):
    shard(tmp_path / "s.tar", {"x": {"png": (pictures / "1.png").read_bytes()}, "bad": {"png": b"no photo"}})
    words = ("--classes", "grass,sand", "--clip", toy_clip, "--templates", "plain", "--out", "run", "--threads", 1)
    told = segloop("label", tmp_path / "s.tar", *words, "--format", "coco")
    assert told.exit_code == 3, told.output
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "failed.jsonl").read_text().splitlines()]
    assert line["source"] == f"{tmp_path}/s.tar/bad.png" and "s.tar/bad.png" in line["error"]
    assert Image.open(tmp_path / "run/labels/s/x.png").size == (8, 6)
    coco = json.loads((tmp_path / "run" / "annotations.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["s.tar/x.png"]
    shutil.copytree(tmp_path / "run", tmp_path / "run2")
    assert "holds this labelling, done" in segloop("label", tmp_path / "s.tar", *words).stderr
