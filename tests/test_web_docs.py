"""The interface as it is documented: the page of /docs, openapi.json, its examples, and requests made up from it."""

import html
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segloop.results.segmentation import FORMATS
from segloop.web import server
from segloop.web.question import FIELDS
from web import WORDS, desk, png, serving, visitor

pytestmark = pytest.mark.usefixtures("one_thread")
PAGE = (Path(server.__file__).parent / "docs.html").read_text()
SITE = (Path(__file__).resolve().parents[1] / "docs" / "demo.md").read_text()
CURL, PYTHON = (html.unescape(block) for block in re.findall(r"<pre>(.*?)</pre>", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def url(toy_clip):
    with serving(desk(toy_clip)) as address:
        yield address


@pytest.fixture
def client(url):
    with visitor(url) as made:
        yield made


def test_the_examples_of_the_page_run(url, tmp_path, segloop, toy_clip):
    (tmp_path / "photo.jpg").write_bytes(png(8))
    if shutil.which("curl"):
        command = ["bash", "-c", CURL.replace("curl", "curl -sS --noproxy '*'").replace("http://127.0.0.1:8000", url)]
        answer = subprocess.run(command, capture_output=True, cwd=tmp_path, check=True, timeout=60)
        assert set(json.loads(answer.stdout)["share"]) == {"road", "car", "tree", "sky"}
    code = PYTHON.replace("http://127.0.0.1:8000", url).replace("timeout=300", "timeout=60, trust_env=False")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    with Image.open(tmp_path / "photo.png") as made:
        assert json.loads(made.info["segloop:classes"])[0] == "background" and made.size == (64, 48)


def test_the_examples_of_the_docs_are_those_of_the_page():
    assert f"```bash\n{CURL}\n```" in SITE and f"```python\n{PYTHON}\n```" in SITE


def test_every_field_and_format_is_told():
    assert all(f"<code>{name}</code>" in PAGE for name in ("photo", *FIELDS))
    assert all(re.search(rf"\b{name}\b", PAGE) for name in FORMATS)


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "*/*", "application/json"),
        ("", "image/png", "image/png"),
        ("", "text/html, application/octet-stream;q=0.5", "application/octet-stream"),
        ("?format=npz", "image/png", "application/octet-stream"),
        ("?format=coco", "*/*", "application/json"),
        ("?format=overlay", "*/*", "image/png"),
    ],
)
def test_what_comes_back(client, query, accept, kind):
    form = {"files": {"photo": ("a.png", png())}, "data": {"words": WORDS, "method": "sclip"}}
    answer = client.post(f"/segment{query}", headers={"accept": accept}, **form)
    assert answer.status_code == 200 and answer.headers["content-type"] == kind
    if kind.endswith("stream"):
        assert np.load(io.BytesIO(answer.content))["labels"].shape == (48, 64)
    refused = client.post("/segment?format=pgn", **form)
    assert refused.status_code == 422 and "did you mean 'png'" in refused.json()["remedy"]


def test_openapi_tells_what_programs_use(client):
    told = client.get("/openapi.json").json()
    assert set(told["paths"]) == {"/segment", "/choices"}
    segment = told["paths"]["/segment"]["post"]
    form = segment["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"photo", *FIELDS} and form["required"] == ["photo", "words"]
    assert set(segment["responses"]) == {"200", "400", "403", "413", "415", "422", "500", "503", "504"}


@pytest.mark.soak
def test_requests_made_up_from_openapi(url, tmp_path):
    schemathesis = Path(sys.executable).with_name("schemathesis")
    if not schemathesis.exists():
        pytest.skip("schemathesis is not installed")
    rules = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")  # words mean more than a schema says
    how = (*rules, "--max-examples", "60", "--seed", "1", "--phases", "examples,coverage,fuzzing")
    command = [schemathesis, "run", f"{url}/openapi.json", *how]
    told = subprocess.run(command, capture_output=True, text=True, timeout=1200, cwd=tmp_path)
    assert told.returncode == 0, told.stdout[-6000:]
