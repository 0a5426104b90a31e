"""Label Studio and X-AnyLabeling on the page's server: their own requests, the library's own maps."""

import base64
import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from segloop import Filter, Segmenter, Vocabulary
from segloop.commands.demo import Asked, desk_of
from segloop.errors import OptionError
from segloop.web.desk import Desk
from segloop.web.limits import Limits
from segloop.web.xanylabeling import MOST, models_of
from test_brush import unpacked
from web import desk, png, serving, visitor

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = '<Label value="road"/><Label value="Auto" predicted_values="car, automobile"/><Label value="sky"/>'
WORDS = ["road", "Auto = car | automobile", "sky"]


def interface(labels: str = LABELS, more: str = 'model_method="sclip"', image: str = "$photo") -> str:
    return (
        f'<View><!-- a project --><Image name="shown" value="{image}"/>'
        f'<Header value="Mark"/><BrushLabels name="tag" toName="shown" {more}>{labels}</BrushLabels></View>'
    )


def data(photo: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(photo).decode()}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder as Label Studio has it, and files that lie outside."""
    top = tmp_path_factory.mktemp("studio")
    (top / "media/3").mkdir(parents=True)
    (top / "media/3/ab12-one.png").write_bytes(png(1))
    (top / "media/bad.png").write_bytes(b"no photo")
    (top / "media/two ü.png").write_bytes(png(2))
    (top / "secret.png").write_bytes(png(3))
    (top / "media/link.png").symlink_to(top / "secret.png")
    os.mkfifo(top / "media/pipe.png")
    return top / "media"


@pytest.fixture(scope="module")
def own(toy_clip):
    return desk(toy_clip)


@pytest.fixture(scope="module")
def served(own, shown):
    with serving(Desk.of(own.choices, own.opened.make, own.limits, photos=shown)) as address:
        yield address


@pytest.fixture
def client(served):
    with visitor(served) as made:
        yield made


@pytest.fixture(scope="module")
def sclip(toy_clip):
    return Segmenter.from_pretrained(toy_clip, method="sclip", dtype="float32")


def predict(client, *addresses, config=None):
    tasks = [{"id": n, "data": {"photo": one}} for n, one in enumerate(addresses)]
    asked = {"tasks": tasks, "label_config": config or interface(), "project": "1.2", "params": {"context": None}}
    return client.post("/label-studio/predict", json=asked)


def marked(prediction, size=(48, 64)) -> dict[str, np.ndarray]:
    """Label -> mask, of regions as Label Studio stores them."""
    found = {}
    for one in prediction["result"]:
        assert (one["from_name"], one["to_name"], one["type"]) == ("tag", "shown", "brushlabels")
        assert (one["original_height"], one["original_width"], one["image_rotation"]) == (*size, 0)
        assert one["value"]["format"] == "rle" and 0 < one["score"] <= 1
        (label,) = one["value"]["brushlabels"]
        found[label] = unpacked(one["value"]["rle"]).reshape(*size, 4)[:, :, 3] == 255
    assert len({one["id"] for one in prediction["result"]}) == len(prediction["result"])
    return found


def sentence(response, status):
    assert response.status_code == status, response.text
    told = response.json()
    return f"{told['error']}; {told['remedy']}."


def test_label_studio_finds_the_backend(client):
    assert client.get("/label-studio/health").json()["status"] == "UP"
    asked = {"project": "1.2", "schema": interface(), "hostname": "http://localhost:8080", "access_token": "x"}
    version = client.post("/label-studio/setup", json=asked).json()["model_version"]
    assert version.startswith("segloop-") and "sclip" in version
    other = client.post("/label-studio/setup", json=asked | {"schema": interface('<Label value="sea"/>')}).json()
    assert other["model_version"] != version, "Label Studio asks again for words that are new"


def test_brush_labels_are_the_map(client, sclip):
    answer = predict(client, data(png(1)), "/data/upload/3/ab12-one.png").json()
    expected = sclip(png(1), WORDS)
    assert len(answer["results"]) == 2 and answer["results"][0]["model_version"] == answer["model_version"]
    for prediction in answer["results"]:
        found = marked(prediction)
        assert set(found) == {expected.classes[c] for c in np.unique(expected.labels)}
        assert all(np.array_equal(mask, expected.mask(label)) for label, mask in found.items())
        assert prediction["score"] == pytest.approx(float(expected.confidence_map.mean(dtype=np.float64)))


def test_attributes_are_options(client, toy_clip):
    more = 'model_method="fsa" model_host="naclip" model_background="true" model_score_threshold="0.4"'
    found = marked(predict(client, data(png(2)), config=interface(more=more)).json()["results"][0])
    fed = Segmenter.from_pretrained(toy_clip, method="fsa", host="naclip", dtype="float32")
    expected = fed(png(2), Vocabulary(WORDS, background=True), keep=Filter(min_confidence=0.4))
    assert "background" not in found
    assert all(np.array_equal(mask, expected.mask(label)) for label, mask in found.items())
    assert set(found) == {expected.classes[c] for c in np.unique(expected.labels) if 0 < c < 4}


def test_the_interface_of_the_docs_is_understood(client):
    page = (Path(__file__).resolve().parents[1] / "docs/demo.md").read_text()
    (config,) = re.findall(r"```xml\n(.*?)```", page, re.DOTALL)
    tasks = [{"id": 1, "data": {"image": data(png(1))}}]
    answer = client.post("/label-studio/predict", json={"tasks": tasks, "label_config": config})
    labels = {one["value"]["brushlabels"][0] for one in answer.json()["results"][0]["result"]}
    assert answer.status_code == 200 and labels <= {"Straße", "car"}


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=two%20%C3%BC.png",
        "http://localhost:8080/data/local-files/?d=two%20%C3%BC.png",
        "/studio/data/upload/two%20%C3%BC.png",
    ],
)
def test_photos_of_the_folder_are_found(client, sclip, address):
    found = marked(predict(client, address).json()["results"][0])
    expected = sclip(png(2), WORDS)
    assert found and all(np.array_equal(mask, expected.mask(label)) for label, mask in found.items())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/data/local-files/?d=../secret.png", "no file below the folder"),
        ("/data/local-files/?d=/etc/passwd", "no file below the folder"),
        ("/data/upload/..%2fsecret.png", "no file below the folder"),
        ("/data/local-files/?d=link.png", "no file below the folder"),
        ("/data/local-files/?d=pipe.png", "no file below the folder"),
        ("/data/local-files/?d=.", "no file below the folder"),
        ("/data/local-files/?d=a%00b", "no file below the folder"),
        ("/data/upload/none.png", "no file below the folder"),
        ("/data/upload/bad.png", "not a photo that can be read"),
        ("/data/local-files/", "no address is opened"),
        ("https://example.org/a.png", "no address is opened"),
        ("s3://bucket/a.png", "no address is opened"),
        ("file:///etc/passwd", "no address is opened"),
        ("/etc/passwd", "no address is opened"),
        ("http://[", "no address is opened"),
        ("data:image/png;base64,***", "no base64"),
        ("data:image/svg+xml,<svg/>", "not in base64"),
        ("", "no address is opened"),
        (3, "no 'photo' in its data"),
    ],
)
def test_no_other_photo_is_opened(client, address, told):
    assert told in sentence(predict(client, address), 422)


def test_a_bad_photo_costs_its_task_alone(client, caplog):
    with caplog.at_level(logging.WARNING):
        answer = predict(client, "https://example.org/a.png", data(png(1))).json()
    bad, good = answer["results"]
    assert (bad["result"], bad["score"]) == ([], 0.0) and "no address is opened" in bad["error"] and marked(good)
    assert "task 0 is left without regions" in caplog.text


def test_what_is_to_know_of_words_is_said(client, caplog):
    config = interface('<Label value="дорога"/><Label value="sky"/>')
    with caplog.at_level(logging.WARNING):
        (one,) = predict(client, data(png(1)), config=config).json()["results"]
        shown = remote(client, text_prompt="дорога, sky").json()["data"]["notices"]
    assert one["notices"] == shown and any("Latin letters" in notice for notice in shown)
    assert "label-studio: " in caplog.text and "x-anylabeling: " in caplog.text


def test_without_a_folder_no_file_is_opened(own):
    with serving(own) as address, visitor(address) as client:
        assert "start segloop demo with --photos FOLDER" in sentence(predict(client, "/data/upload/3/a.png"), 422)


@pytest.mark.parametrize(
    ("config", "status", "told"),
    [
        ("<View>", 400, "broken"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', 400, "without a DOCTYPE"),
        ("<View/>", 422, "no BrushLabels on an Image"),
        (interface().replace("BrushLabels", "PolygonLabels"), 422, "no BrushLabels on an Image"),
        (interface(image="photo.png"), 422, "no value such as $image"),
        (interface(labels=""), 422, "no Label"),
        (interface(labels='<Label value="car, parked"/>'), 422, "predicted_values="),
        (interface(labels='<Label value=""/>'), 422, "cannot be read as a word"),
        (interface(labels='<Label value="a;b"/>'), 422, "1 labels read as 2 classes"),
        (interface(labels='<Label value="a"/><Label value="a"/>'), 422, "named twice"),
        (interface(more='model_method="sclop"'), 422, "did you mean 'sclip'"),
        (interface(more='model_words="a"'), 422, "known are model_background,"),
        (interface(more='model_score_threshold="2"'), 422, "no probability"),
    ],
)
def test_an_interface_that_cannot_be_meant_is_told(client, config, status, told):
    assert told in sentence(predict(client, data(png()), config=config), status)
    setup = client.post("/label-studio/setup", json={"schema": config})
    assert told in sentence(setup, status)


def test_requests_that_are_none_are_told(client):
    assert "no tasks" in sentence(client.post("/label-studio/predict", json={"label_config": interface()}), 400)
    assert "no labelling interface" in sentence(client.post("/label-studio/setup", json={}), 400)
    assert "no JSON" in sentence(client.post("/label-studio/predict", content=b"[" * 100_000), 400)
    assert "no object" in sentence(client.post("/label-studio/setup", content=b"[]"), 400)
    many = client.post("/label-studio/predict", json={"label_config": interface(), "tasks": [{}] * 1001})
    assert "1001 tasks" in sentence(many, 422)


def test_large_requests_are_turned_down(own):
    with serving(Desk.of(own.choices, own.opened.make, Limits(upload=9000))) as address, visitor(address) as client:
        heavy = data(np.random.default_rng(0).bytes(12_000))
        assert "larger than" in sentence(predict(client, heavy), 413)
        assert "the file is larger" in sentence(predict(client, data(bytes(20_000))), 413)
        assert "send fewer or smaller" in sentence(predict(client, "x" * 2_000_000), 413)


def test_the_folder_is_a_folder(tmp_path):
    with pytest.raises(OptionError, match="is no folder"):
        desk_of(Asked(clip="tiny", photos=tmp_path / "none"))


def remote(client, model="segloop-sclip", image=None, **params):
    """As X-AnyLabeling sends it."""
    given = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.0} | params
    sent = {"model": model, "image": data(png(1)) if image is None else image, "params": given}
    return client.post("/v1/predict", json=sent, headers={"Token": ""})


def test_x_anylabeling_finds_models(client, own):
    told = client.get("/v1/models").json()
    assert told["success"] and list(told["data"]) == list(models_of(own.choices))
    assert client.get("/health").json()["status"] == "healthy"
    for name, about in told["data"].items():
        widgets = {one["name"]: one["value"] for one in about["widgets"]}
        assert widgets["edit_conf"] == 0.0 and {"edit_text", "button_send"} <= set(widgets)
        assert about["batch_processing_mode"] == "text_prompt" and about["display_name"].startswith("segloop")
        assert client.get(f"/v1/models/{name}/info").json()["data"] == {"model_id": name, **about}
    assert "segloop-proxyclip" not in told["data"], "no guide is on this machine"
    assert "no model" in sentence(client.get("/v1/models/sam/info"), 404)


@pytest.mark.parametrize("prompt", ["road, car|automobile, sky", "road.car|automobile.sky."])
def test_polygons_are_the_map(client, sclip, prompt):
    answer = remote(client, text_prompt=prompt).json()
    expected = sclip(png(1), ["road", "car|automobile", "sky"])
    drawn = {name: Image.new("1", (64, 48)) for name in expected.classes}
    for shape in answer["data"]["shapes"]:
        assert shape["shape_type"] == "polygon" and shape["score"] == expected.confidence[shape["label"]]
        ImageDraw.Draw(drawn[shape["label"]]).polygon([tuple(point) for point in shape["points"]], fill=1)
    for name in expected.classes:  # whose polygons run along edges, so that Pillow fills a pixel more at some
        assert np.asarray(drawn[name])[expected.mask(name)].all()


def test_thresholds_and_fineness_of_x_anylabeling(client, sclip):
    words = "road, car, sky"
    whole, sure, coarse = (
        remote(client, text_prompt=words, **more).json()["data"]["shapes"]
        for more in ({}, {"conf_threshold": 0.9999}, {"epsilon_factor": 0.02})
    )
    corners = [sum(len(shape["points"]) for shape in shapes) for shapes in (whole, coarse)]
    assert not sure and corners[1] < corners[0] and all(len(shape["points"]) > 2 for shape in coarse)


def test_raw_base64_and_a_background(client):
    words = "road, car, sky"
    shapes = remote(client, "segloop-background", base64.b64encode(png(1)).decode(), text_prompt=words).json()
    assert "background" not in {shape["label"] for shape in shapes["data"]["shapes"]}


@pytest.mark.parametrize(
    ("given", "status", "code", "told"),
    [
        ({"model": "sam"}, 404, "MODEL_NOT_FOUND", "no model 'sam'"),
        ({"model": 3}, 400, "INVALID_REQUEST", "no model, image"),
        ({"image": "data:image/png;base64,AAAA"}, 422, "INVALID_REQUEST", "photo"),
        ({"image": "/etc/passwd"}, 422, "INVALID_REQUEST", "photo"),
        ({"image": "http://example.org/a.png"}, 422, "INVALID_REQUEST", "base64"),
        ({"text_prompt": ""}, 422, "INVALID_REQUEST", "no words came"),
        ({"conf_threshold": "x"}, 422, "INVALID_REQUEST", "no probability"),
        ({"epsilon_factor": MOST * 2}, 422, "INVALID_REQUEST", "at most"),
    ],
)
def test_x_anylabeling_is_told_what_is_wrong(client, given, status, code, told):
    answer = remote(client, **({"text_prompt": "road, sky"} | given))
    assert answer.status_code == status, answer.text
    said = json.loads(answer.text)
    assert said["success"] is False and said["error"]["code"] == code and told in said["error"]["message"]
