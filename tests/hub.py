"""A hub on this machine: what it has, what was asked of it, how it fails; and caches as downloads leave them."""

import hashlib
import json
import re
import shutil
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" + "0" * 34
API = re.compile(r"/api/models/(?P<name>.+)/revision/[^/?]+(\?.*)?")
FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/[^/]+/(?P<file>[^?]+)")


class Hub:
    """`files[name]` is what a model has; `failure` (status, headers, body) is what everything gets instead."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.failure: tuple[int, dict[str, str], bytes] | None = None
        self.broken_downloads = False  # files, not the listing, get the failure
        self.asked: list[str] = []  # "HEAD /some/clip/resolve/..."
        self.silent = False  # never answers
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, name: str, folder: Path, *without: str, **more: bytes) -> None:
        """A model with the files of a folder."""
        self.files[name] = {
            path.name: path.read_bytes() for path in folder.iterdir() if path.name not in without
        } | more

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                if hub.silent:
                    hub.held.wait()
                    return
                self._answer(*hub._answer(self.path))

            do_HEAD = do_GET

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return Handler

    def _answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        listing, file = API.fullmatch(path), FILE.match(path)
        if self.failure and (file or not self.broken_downloads):
            return self.failure
        model = self.files.get((listing or file or {"name": ""})["name"])
        if model is None:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        if listing:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in model.items()]
            return 200, {}, json.dumps({"id": listing["name"], "sha": COMMIT, "siblings": siblings}).encode()
        data = model.get(file["file"]) if file else None
        if data is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"Entry not found"
        return 200, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}, data

    @contextmanager
    def open(self) -> Iterator["Hub"]:
        """Answering while inside."""
        self.held = threading.Event()
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.held.set()
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def keep(cache: Path, name: str, commit: str, files: Iterable[Path], reference: str = "main") -> Path:
    """Lay files into the hub's cache as a download would: blobs, and links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir(exist_ok=True)
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blobs / digest)
        (snapshot / file.name).symlink_to(Path("../../blobs") / digest)
    (repository / "refs" / reference).parent.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / reference).write_text(commit)
    return snapshot
