"""Labelling from and into an object store: a real server, one that often refuses, runs that break off."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import fsspec
import pytest

from command import complaint
from runs import TIMEOUT, killed_at
from segloop.common import stores
from test_label import results_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def server():
    """moto's server as a process of its own -> its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + TIMEOUT
    while True:
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=TIMEOUT).close()
            break
        except urllib.error.URLError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


class Refusing(ThreadingHTTPServer):
    """Hands requests on to a server, and refuses every fifth."""

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind, self.lock, self.asked, self.refused = server, Lock(), 0, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = b"".join(self.pieces())
        with self.server.lock:
            self.server.asked += 1
            refuse = self.server.asked % 5 == 0
            if refuse:
                self.server.refused.append(f"{self.command} {self.path}")
        if refuse:
            self.told(503 if self.server.asked % 2 else 500, {}, b"")
            return
        own = ("connection", "transfer-encoding", "content-length", "expect")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        behind = HTTPConnection(self.server.behind.removeprefix("http://"), timeout=TIMEOUT)
        behind.request(self.command, self.path, body, headers)
        found = behind.getresponse()
        self.told(found.status, dict(found.headers), found.read())
        behind.close()

    def pieces(self) -> Iterator[bytes]:
        """The body, sent whole or in chunks."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            yield self.rfile.read(int(self.headers.get("content-length") or 0))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def told(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def reach(monkeypatch, tmp_path):
    """Let all that asks S3 ask this address, with no settings from outside."""

    def at(address: str) -> None:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            monkeypatch.delenv(name)
        settings = {"ACCESS_KEY_ID": "none", "SECRET_ACCESS_KEY": "none", "DEFAULT_REGION": "us-east-1"}
        settings |= {"ENDPOINT_URL": address, "MAX_ATTEMPTS": "1", "EC2_METADATA_DISABLED": "true"}
        settings |= {name: str(tmp_path / "none") for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE")}
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()

    yield at
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def bucket(server, reach, drawn, tmp_path):
    """A bucket of this test's own with six photos, one of them broken -> its address."""
    reach(server)
    files, name = fsspec.filesystem("s3"), tmp_path.name.replace("_", "-")
    files.mkdir(name)
    folder = tmp_path / "source"
    for number, photo in enumerate(sorted((drawn / "images").iterdir())[:6]):
        place = folder / ("deep" if number % 2 else ".") / photo.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, place)
        files.put_file(str(place), f"{name}/photos/{place.relative_to(folder).as_posix()}")
    (folder / "000002.png").write_bytes(b"no photo")
    files.pipe_file(f"{name}/photos/000002.png", b"no photo")
    return f"s3://{name}"


@pytest.fixture
def words(toy_clip, drawn, tmp_path):
    """Arguments of a labelling in three shards."""

    def arguments(source: object, out: str, *others: object) -> list[str]:
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--shard", 2)
        classes = ("--classes-file", drawn / "classes.txt")
        return [str(word) for word in ("label", source, *classes, "--out", tmp_path / out, *clip, *others)]

    return arguments


def lying_in(address: str) -> dict[str, bytes]:
    """All files below an address, by their path below it; of run.json, what is not the store's name."""
    found = {name.partition("/labelled/")[2]: stores.read(name) for name in stores.below(address)}
    run = json.loads(found["run.json"])
    run["settings"].pop("store")
    return {**found, "run.json": run}


@pytest.fixture
def whole(segloop, words, tmp_path):
    """What lies in a folder after a run over the same photos as files."""

    def run(*options: object) -> dict[str, bytes]:
        assert segloop(*words(tmp_path / "source", "local", *options)).exit_code == 3
        names = [path for path in (tmp_path / "local").rglob("*") if path.is_file()]
        kept = [path for path in names if path.name not in (".lock", "log.json") and path.parent.name != "parts"]
        found = {path.relative_to(tmp_path / "local").as_posix(): path.read_bytes() for path in kept}
        here, there = str(tmp_path / "source").encode(), b"%(source)s"
        found["failed.jsonl"] = found["failed.jsonl"].replace(here, there)
        return {**found, "run.json": json.loads(found["run.json"])}

    return run


def same(stored: dict, local: dict, source: str) -> bool:
    """Whether a store holds what a folder does; photos are called by their addresses, and the source by its name."""
    local["failed.jsonl"] = local["failed.jsonl"].replace(b"%(source)s", source.encode())
    for one in (stored, local):
        one["run.json"]["settings"].pop("source")
    return stored == local


def test_from_a_store_into_a_store(segloop, words, whole, bucket, tmp_path):
    options = ("--format", "coco,parquet,webdataset,yolo")
    told = segloop(*words(f"{bucket}/photos", "run", "--store", f"{bucket}/labelled/", *options))
    assert told.exit_code == 3 and f"wrote {bucket}/labelled/parquet/" in told.stderr, told.output
    expected, found = whole(*options), lying_in(f"{bucket}/labelled")
    coco = [one.pop("annotations.coco.json") for one in (expected, found)]
    first, second = (json.loads(one) for one in coco)
    assert first.pop("info") and second.pop("info") and first == second
    assert same(found, expected, f"{bucket}/photos")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"run.json", "parts", "photos.csv"}
    assert not {"labels", "parquet", "yolo"} & {path.name for path in (tmp_path / "run").iterdir()}
    again = segloop(*words(f"{bucket}/photos", "run", "--store", f"{bucket}/labelled"))
    assert again.exit_code == 3 and "holds this labelling, done" in again.stderr


def test_every_fifth_request_is_refused(segloop, words, whole, bucket, server, reach, monkeypatch):
    monkeypatch.setattr(stores, "WAIT", 0.01)
    with Refusing(server) as refusing:
        Thread(target=refusing.serve_forever, daemon=True).start()
        reach(f"http://127.0.0.1:{refusing.server_port}")
        told = segloop(*words(f"{bucket}/photos", "run", "--store", f"{bucket}/labelled", "--format", "parquet"))
        assert told.exit_code == 3, told.output
        assert len(refusing.refused) > 5 and {"GET", "PUT"} <= {one.split()[0] for one in refusing.refused}
        reach(server)
        refusing.shutdown()
    assert same(lying_in(f"{bucket}/labelled"), whole("--format", "parquet"), f"{bucket}/photos")


@pytest.mark.parametrize("point", [7])
def test_a_killed_run_ends_as_the_others(segloop, words, whole, bucket, tmp_path, point):
    command = words(f"{bucket}/photos", "torn", "--store", f"{bucket}/labelled")
    assert killed_at(point, command, tmp_path) == -signal.SIGKILL
    assert json.loads(stores.read(f"{bucket}/labelled/run.json"))["state"] == "running"
    told = segloop(*command)
    assert told.exit_code == 3 and "going on" in told.stderr, told.output
    assert same(lying_in(f"{bucket}/labelled"), whole(), f"{bucket}/photos")


def test_a_disk_that_is_full_in_the_middle(segloop, words, bucket, tmp_path, monkeypatch):
    source = tmp_path / "source"
    assert segloop(*words(source, "whole")).exit_code == 3
    replace, written = os.replace, []

    def fail(part, target):
        written.append(target)
        if Path(target).name == "000001.jsonl":
            raise OSError(28, "No space left on device")
        replace(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        told = complaint_of_the_last_line(segloop(*words(source, "run")))
    assert "the disk is full" in told and "free some space and run the same command again" in told
    assert segloop(*words(source, "run")).exit_code == 3
    assert results_of(tmp_path / "run") == results_of(tmp_path / "whole")


def complaint_of_the_last_line(result) -> str:
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


def test_a_store_has_one_labelling(segloop, words, bucket, tmp_path):
    photos, store = f"{bucket}/photos", f"{bucket}/labelled"
    assert segloop(*words(photos, "run", "--store", store)).exit_code == 3
    (tmp_path / "other.txt").write_text("grass\nsand\n")
    other = [*words(photos, "other", "--store", store), "--classes-file", tmp_path / "other.txt"]
    told = complaint(segloop(*other))
    assert f"{store} holds a run with other settings: " in told and "another list of classes" in told
    assert "store none there" not in told and "now; choose another --out" not in told
    told = complaint(segloop(*words(photos, "run")))
    assert '--store "s3://' in told and "there, none now" in told
    assert segloop(*other, "--overwrite").exit_code == 3
    assert len(json.loads(stores.read(f"{store}/run.json"))["classes"]) == 2
    told = complaint(segloop(*words(photos, "new", "--store", photos)))
    assert f"{photos} is not empty and holds no run" in told and "choose another --store" in told
    told = complaint(segloop(*words(photos, "newer", "--store", "s3://no-such-bucket/labelled")))
    assert "there is no file s3://no-such-bucket/labelled; check the address" in told


def test_keys_that_are_missing(segloop, words, bucket, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    told = complaint(segloop(*words(f"{bucket}/photos", "run")))
    assert "no keys are known" in told and "AWS_ACCESS_KEY_ID" in told
