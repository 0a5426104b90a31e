"""The page's server: maps as commands make them, nothing kept, everything limited, sentences with codes."""

import io
import json
import re
import shlex
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from command import complaint, done
from segloop import Segmenter, Vocabulary
from segloop.commands import demo
from segloop.errors import OptionError
from segloop.web.answer import answered, levels
from segloop.web.limits import STOPS, Limits
from segloop.web.photo import checked, shown_name
from segloop.web.question import question_of
from segloop.web.sessions import Sessions
from web import WORDS, desk, planes, png, run, serving, visitor

pytestmark = pytest.mark.usefixtures("one_thread")
WEB = Path(demo.__file__).parents[1] / "web"


@pytest.fixture(scope="module")
def own(toy_clip):
    return desk(toy_clip)


@pytest.fixture(scope="module")
def url(own):
    with serving(own) as address:
        yield address


@pytest.fixture
def client(url):
    with visitor(url) as made:
        yield made


def sentence(response, status: int) -> str:
    """A refusal with this code: two halves of a sentence."""
    assert response.status_code == status, response.text
    told = response.json()
    assert told.keys() == {"error", "remedy"} and all(told.values())
    assert not told["error"].endswith(".") and "Traceback" not in response.text
    return f"{told['error']}; {told['remedy']}."


@pytest.mark.parametrize("fsa", [True, False])
def test_a_run_gives_what_the_library_gives_at_every_threshold(client, toy_clip, fsa):
    method = {"method": "fsa", "host": "sclip"} if fsa else {"method": "sclip"}
    told = run(client, png(), background="true", **method).json()
    assert told["sides"] == (["host", "fsa"] if fsa else ["host"]) and told["classes"][0] == "background"
    found = planes(client, told, told["sides"][-1])
    words = Vocabulary(["road", "car | automobile", "sky"], background=True)
    for stop in (0, 60, 90, 130):
        segmenter = Segmenter.from_pretrained(
            toy_clip, dtype="float32", background_threshold=stop / STOPS or None, **method
        )
        expected = segmenter(png(), words)
        shown = np.where(found["levels"] < stop, 0, found["labels"])
        assert np.array_equal(shown, expected.labels)
        levels_shown = np.where(found["levels"] < stop, found["ground"], found["levels"])
        assert np.array_equal(levels_shown, levels(expected.confidence_map))
    assert np.array_equal(found["ranked"][0].shape, found["probability"][0].shape)


def test_levels_decide_as_thresholds_do():
    stops = (np.arange(STOPS + 1) / STOPS).astype(np.float32)
    near = np.concatenate([stops, np.nextafter(stops, np.float32(2)), np.nextafter(stops, np.float32(-1))]).clip(0, 1)
    for stop in range(STOPS + 1):
        assert np.array_equal(levels(near) < stop, near < np.float32(stop / STOPS))


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "fsa", "host": "sclip"},
        {"method": "sfp", "host": "naclip", "background": "true", "background_threshold": "0.3"},
        {"method": "qq+kk", "words": 'background, Straße=road|"wide" street, it\'s $HOME'},
    ],
)
def test_what_is_copied_makes_the_same_map(client, segloop, toy_clip, tmp_path, asked):
    name = "my photo's $(x).png"
    (tmp_path / name).write_bytes(png(3))
    threshold = asked.pop("background_threshold", "0")
    told = run(client, png(3), name, **asked).json()
    kept = {"x-session": told["token"]}
    labels = Image.open(io.BytesIO(client.get(f"/download/png?threshold={threshold}", headers=kept).content))
    form = "with" if threshold != "0" else "plain"
    command, python = (told["snippets"][kind][form].replace("{threshold}", threshold) for kind in ("command", "python"))
    program, *words = shlex.split(command)
    assert program == "segloop"
    done(segloop(*words))
    stem = tmp_path / "segloop-out" / Path(name).stem
    assert np.array_equal(Image.open(f"{stem}.png"), labels)
    space: dict = {}
    exec(python, space)
    assert np.array_equal(space["result"].labels, labels)
    theirs = json.loads(client.get(f"/download/json?threshold={threshold}", headers=kept).content)
    assert theirs == json.loads(Path(f"{stem}.json").read_text())


def test_downloads_are_the_files_of_a_command(client, segloop, toy_clip, tmp_path):
    (tmp_path / "photo.png").write_bytes(png(4))
    told = run(client, png(4), method="sclip").json()
    words = ("--clip", toy_clip, "--dtype", "float32", "--method", "sclip", "--format", "png,overlay,json,npz")
    done(segloop("segment", "photo.png", "--classes", WORDS, *words))
    kinds = {"png": "image/png", "overlay": "image/png", "json": "application/json", "npz": "application/octet-stream"}
    for name, kind in kinds.items():
        response = client.get(f"/download/{name}", headers={"x-session": told["token"]})
        suffix = {"overlay": "overlay.png"}.get(name, name)
        assert response.headers["content-type"] == kind
        if name != "npz":
            assert response.content == (tmp_path / "segloop-out" / f"photo.{suffix}").read_bytes()
    coco = client.get("/download/coco", headers={"x-session": told["token"]}).json()
    assert coco["images"][0]["file_name"] == "photo.png" and coco["annotations"]


def test_a_point_is_looked_at_before_and_after(client):
    told = run(client, png(5), method="fsa", host="clearclip").json()
    seen = client.get("/point/40/20", headers={"x-session": told["token"]}).json()
    for when in ("before", "after"):
        assert seen[when].startswith("data:image/png;base64,") and len(seen["scores"][when]) == 3
    assert seen["before"] != seen["after"]
    assert "lies outside" in sentence(client.get("/point/64/20", headers={"x-session": told["token"]}), 422)
    assert "no number" in sentence(client.get("/point/x/20", headers={"x-session": told["token"]}), 422)


def test_what_is_to_know_of_words_reaches_the_visitor_and_not_the_console(client, recwarn):
    words = {"words": "дорога, grass/lawn, other"}
    notices = run(client, png(), **words).json()["notices"]
    assert [re.search("Latin letters|sign and all|does not mean", one)[0] for one in notices] == [
        "does not mean",
        "sign and all",
        "Latin letters",
    ]
    assert "take everything else as background" in notices[0] and "--" not in "".join(notices)
    told = client.post("/segment?format=png", files={"photo": png()}, data=words)
    assert json.loads(unquote(told.headers["x-notices"])) == notices
    assert run(client, png(), words="grass, sand").json()["notices"] == []
    (long,) = run(client, png(), words="grass, " + "道" * 1900).json()["notices"][-1:]
    assert len(long) <= 603 and long.startswith("CLIP was taught English") and long.endswith("=ENGLISH WORDS'")
    (alone,) = run(client, png(), words="grass").json()["notices"]
    assert alone.startswith("every pixel becomes 'grass', the only class; take everything else as background, or name")
    assert "x-notices" not in client.post("/segment", files={"photo": png()}, data={"words": "grass, sand"}).headers
    assert not [one for one in recwarn if "Latin" in str(one.message) or "every pixel" in str(one.message)]


def test_a_result_is_its_visitors_alone_and_goes_with_them(client):
    told = run(client, png()).json()
    addresses = ("/planes/host", "/point/1/1", "/download/png")
    for address in addresses:
        assert "not kept" in sentence(client.get(address), 404)
        assert "not kept" in sentence(client.get(address, headers={"x-session": told["token"][:-1]}), 404)
        assert client.get(address, headers={"x-session": told["token"]}).status_code == 200
    assert client.post("/leave", content=told["token"]).status_code == 204
    assert client.post("/leave", content=b"\xff" * 1000).status_code == 204
    for address in addresses:
        sentence(client.get(address, headers={"x-session": told["token"]}), 404)


def test_results_grow_old_and_give_way(own):
    question = question_of({"words": WORDS, "method": "sclip"}, own.choices, own.limits)
    answer = answered(*own.opened(question), checked("a.png", png(), own.limits), own.limits)
    now = [0.0]
    kept = Sessions(Limits(keep_seconds=10, keep_bytes=3 * answer.nbytes), clock=lambda: now[0])
    first = kept.put(answer)
    now[0] = 9
    kept.get(first)
    now[0] = 18
    second, third = kept.put(answer), kept.put(answer)
    now[0] = 18.2
    kept.get(first)
    fourth = kept.put(answer)  # the second was looked at before the third, the first after both
    assert set(kept.kept) == {first, third, fourth} and second != third
    now[0] = 28.5
    kept.sweep()
    assert not kept.kept


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"words": " "}, 422, "no words came"),
        ({"words": "a,,b"}, 422, "empty"),
        ({"words": "road, road"}, 422, "named twice"),
        ({"words": ", ".join(f"w{n}" for n in range(65))}, 422, "65 classes"),
        ({"words": "x" * 4001}, 422, "4001 letters"),
        ({"method": "sclop"}, 422, "did you mean 'sclip'"),
        ({"method": "/etc/passwd:mix"}, 422, "no method"),
        ({"method": "idea.py:mix"}, 422, "no method"),
        ({"host": "idea.py:mix"}, 422, "no method"),
        ({"method": "proxyclip"}, 422, "none is on this machine"),
        ({"method": "sclip", "vision": "/tmp"}, 422, "no guide serves"),
        ({"method": "sclip", "host": "qq"}, 422, "leave one of the two out"),
        ({"background": "maybe"}, 422, "neither true nor false"),
        ({"background_threshold": "nan"}, 422, "no probability"),
        ({"background_threshold": "0.5"}, 422, "no background"),
        ({"background_threshold": "0.5", "words": "sky, background"}, 422, "no background"),
        ({"clip": "other"}, 400, "no field 'clip'"),
    ],
)
def test_what_cannot_be_asked_is_told(client, fields, status, told):
    assert told in sentence(run(client, png(), **fields), status)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no photo came"),
        (b"<!DOCTYPE html><html>", "page"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\0\1\2\3" * 10, "not a photo that can be read"),
        (png()[:60], "the photo"),
        (b"/etc/passwd", "a text file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a drawing"),
    ],
)
def test_a_file_that_is_no_photo_is_told(client, data, told):
    assert told in sentence(run(client, data, "photo.jpg"), 422)


def test_what_is_no_form_is_told(client):
    assert "no form" in sentence(client.post("/run", content=png()), 415)
    broken = client.post("/segment", content=b"xx", headers={"content-type": "multipart/form-data; boundary=x"})
    assert "form" in sentence(broken, 400) if broken.status_code == 400 else "no photo" in sentence(broken, 422)
    sentence(client.post("/segment", content=b"x", headers={"content-type": "multipart/form-data"}), 400)
    assert "no photo came" in sentence(client.post("/run", files={"words": (None, "a")}), 422)
    address = client.post("/run", files={"photo": (None, "https://example.org/a.jpg")}, data={"words": "a"})
    assert "in another form" in sentence(address, 400)
    two = [("photo", ("a.png", png())), ("photo", ("b.png", png()))]
    sentence(client.post("/run", files=two, data={"words": "a"}), 400)
    sentence(client.get("/nothing"), 404)
    sentence(client.get("/segment"), 405)


def test_names_are_words_and_no_paths():
    assert shown_name("../../etc/passwd") == "passwd" and shown_name("C:\\photos\\a.png") == "a.png"
    assert shown_name(None) == shown_name("/") == "photo.jpg" and len(shown_name("x" * 999)) == 120
    assert "\x1b" not in shown_name("a\x1b[2J.png") and "\u202e" not in shown_name("\u202egnp.a")


def test_limits_hold(toy_clip):
    with serving(desk(toy_clip, upload=9000, pixels=2000)) as address, visitor(address) as client:
        assert "more than 0.002 million" in sentence(run(client, png()), 413)
        assert client.get("/queue").json() == {"waiting": 0}
        heavy = np.random.default_rng(0).bytes(120_000)
        assert "larger than" in sentence(run(client, heavy), 413)
        assert run(client, png(size=(32, 32))).status_code == 200


def test_the_photo_has_its_time(toy_clip):
    def slowly():
        yield b"--x\r\n"
        threading.Event().wait(1)
        yield b"--x--\r\n"

    head = {"content-type": "multipart/form-data; boundary=x"}
    with serving(desk(toy_clip, upload_seconds=0.2)) as address, visitor(address) as client:
        assert "longer than 0.2 seconds" in sentence(client.post("/run", content=slowly(), headers=head), 504)


def test_a_full_queue_and_slow_work_are_told(toy_clip, own):
    hold = threading.Event()

    def slow(*named):
        hold.wait(20)
        return own.opened.make(*named)

    one = desk(toy_clip, make=slow, workers=1, waiting=1, seconds=1.0)
    question = question_of({"words": WORDS, "method": "sclip"}, own.choices, own.limits)
    known = one.sessions.put(answered(*own.opened(question), checked("a.png", png(), own.limits), own.limits))
    with serving(one) as address, visitor(address) as client, ThreadPoolExecutor(4) as visitors:
        sent = [visitors.submit(run, client, png(n)) for n in range(3)]
        while one.queue.waiting < 1:
            pass
        late = visitors.submit(client.get, "/planes/host", headers={"x-session": known})  # a full queue takes it still
        assert "longer than" in sentence(late.result(), 504)
        answers = sorted((each.result() for each in sent), key=lambda each: each.status_code)
        assert "waiting already" in sentence(answers[0], 503) and answers[0].headers["retry-after"]
        for late in answers[1:]:
            assert "longer than 1 seconds" in sentence(late, 504)
        hold.set()
        while client.get("/queue").json()["waiting"] or one.queue.unfinished:
            pass
        assert run(client, png()).status_code == 200


def test_memory_that_runs_out_costs_one_photo(client, monkeypatch):
    tiles = Segmenter.tiles

    def full(self, photos, text):
        if photos[0].image.shape[0] == 80:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return tiles(self, photos, text)

    monkeypatch.setattr(Segmenter, "tiles", full)
    assert "memory ran out" in sentence(run(client, png(size=(80, 64))), 503)
    assert run(client, png()).status_code == 200


def test_only_this_page_may_ask(client, url):
    assert "no name of this machine" in sentence(client.get("/", headers={"host": "evil.example"}), 403)
    stranger = client.post("/run", headers={"origin": "https://evil.example"})
    assert "another site" in sentence(stranger, 403)
    assert run(client, png()).headers["cache-control"] == "no-store"
    page = client.get("/", headers={"origin": url})
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]


def test_the_page_asks_no_other_machine(client):
    for file in sorted(WEB.glob("*.*")):
        if file.suffix in (".html", ".js", ".css", ".svg"):
            text = file.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1:8000", "")
            assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    for address in ("/", "/docs", "/page.css", "/page.js", "/map.js", "/words.js", "/icon.svg", "/examples/0"):
        assert client.get(address).status_code == 200
    sentence(client.get("/examples/9"), 404)


def test_tables_are_what_there_is(client):
    from segloop.choice.methods import METHODS

    told = client.get("/choices").json()
    names = [one["name"] for one in told["attentions"]]
    assert {name for name, row in METHODS.items() if name != "fsa" and not row.masks} <= set(names)
    guided = ["proxyclip", "lposs", "lposs+", "trident"]
    assert [one["name"] for one in told["attentions"] if one["guided"]] == guided
    assert told["method"] == "naclip" and not any(guide["ready"] for guide in told["guides"])


def test_beside_a_bundled_model_the_bundled_guide_and_sam_are_at_hand():
    with serving(desk("tiny")) as address, visitor(address) as client:
        told = client.get("/choices").json()
        assert {guide["name"] for guide in told["guides"] if guide["ready"]} == {"tiny-dino", "tiny-sam"}
        answer = run(client, png(), words="grass, sand", method="trident", vision="tiny-dino")
        assert answer.status_code == 200, answer.text
        assert "--affinity tiny-sam" in answer.json()["snippets"]["command"]["plain"]


def visit(url: str, number: int) -> bool:
    """One visitor: runs a photo of its own, fetches all of it, leaves; true where everything is its own."""
    with visitor(url) as client:
        size = 32 + 16 * (number % 4), 32 + 16 * (number // 4 % 4)
        words = f"road, car, w{number}"
        answer = run(client, png(number, size), f"{number}.png", words=words, method="sclip")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["classes"] == ["road", "car", f"w{number}"]
        assert told["size"] == {"height": size[0], "width": size[1]}
        found = planes(client, told, "host")["labels"]
        kept = {"x-session": told["token"]}
        record = client.get("/download/json", headers=kept).json()
        mine = np.asarray(Image.open(io.BytesIO(client.get("/download/png", headers=kept).content)))
        client.post("/leave", content=told["token"])
        return record["source"] == f"{number}.png" and np.array_equal(mine, found)


def everybody(toy_clip, rounds: int) -> None:
    """50 visitors at once, 2 workers: nobody loses a result or sees another's; all is forgotten."""
    busy = desk(toy_clip, workers=2, waiting=64)
    with serving(busy) as url, ThreadPoolExecutor(50) as visitors:
        assert all(visitors.map(lambda number: visit(url, number), range(50 * rounds)))
        with visitor(url) as client:
            for number in (3, 17):
                photo = png(number)
                found = planes(client, run(client, photo, words=f"road, w{number}", method="sclip").json(), "host")
                expected = busy.opened.make("sclip", None, None)(photo, ["road", f"w{number}"])
                assert np.array_equal(found["labels"], expected.labels)
    assert len(busy.sessions.kept) == 2 and busy.queue.unfinished == 0


def test_fifty_visitors(toy_clip):
    everybody(toy_clip, 1)


@pytest.mark.soak
def test_fifty_visitors_for_long(toy_clip):
    everybody(toy_clip, 20)


def test_the_command_says_what_is_missing(segloop, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name != "uvicorn" else object())
    assert "needs fastapi and python-multipart" in complaint(segloop("demo", "--clip", "tiny"))


def test_the_command_says_what_it_cannot_listen_at(segloop, url):
    port = url.rpartition(":")[2]
    assert "choose another --port" in complaint(segloop("demo", "--clip", "tiny", "--port", port))
    assert "192.0.2.1" in complaint(segloop("demo", "--clip", "tiny", "--host", "192.0.2.1"))


def test_the_command_serves_and_ends(segloop, toy_clip, monkeypatch):
    served = []
    monkeypatch.setattr(demo, "_serve", lambda desk, listening, debug: served.append((desk, listening.getsockname())))
    local = segloop("demo", "--clip", toy_clip, "--port", 0)
    assert "http://127.0.0.1:" in done(local).stdout
    wide = segloop("demo", "--clip", toy_clip, "--port", 0, "--host", "0.0.0.0", "--max-upload", 1)
    assert wide.exit_code == 0 and "anyone who reaches this machine" in wide.stderr
    assert served[0][0].loopback and not served[1][0].loopback and served[1][0].limits.upload == 2**20


def test_ctrl_c_is_no_error(segloop, toy_clip, monkeypatch):
    def stopped(server, sockets):
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", stopped)
    done(segloop("demo", "--clip", toy_clip, "--port", 0))


@pytest.mark.soak
def test_a_process_serves_and_ctrl_c_ends_it(start):
    process = start("demo", "--clip", "tiny", "--port", "0")
    line = process.stdout.readline()
    url = re.search(r"http://[\d.:]+", line)[0]
    with visitor(url) as client:
        assert "<title>segloop</title>" in client.get("/").text
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "" and "Traceback" not in err


def test_a_guide_that_was_given_serves_guided_methods(toy_clip, tmp_path):
    from models import folder

    guided = desk(toy_clip, vision=folder(tmp_path, "dino"))
    question = question_of({"words": WORDS, "method": "fsa"}, guided.choices, guided.limits)
    assert (question.host, question.vision) == ("proxyclip", str(tmp_path / "dino"))
    answer = answered(*guided.opened(question), checked("a.png", png(), guided.limits), guided.limits)
    assert list(answer.sides) == ["host", "fsa"]
    with pytest.raises(OptionError, match="not on this machine"):
        question_of({"words": WORDS, "method": "proxyclip", "vision": "sam"}, guided.choices, guided.limits)
