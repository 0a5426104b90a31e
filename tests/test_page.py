"""The page in a real browser: as a visitor uses it, with a mouse, a finger and a keyboard alone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import ALONE, NAMES
from segloop import Segmenter
from web import desk, png, serving

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one(toy_clip):
    return desk(toy_clip)


@pytest.fixture(scope="module")
def url(one) -> Iterator[str]:
    with serving(one) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    program = next((path for path in map(shutil.which, NAMES) if path), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    flags = [flag for flag in ALONE if not flag.startswith("--host-resolver-rules")]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, url):
    """A new tab on the page; what it asked for and what it said to the console are checked at its end."""
    opened, said, asked = [], [], []

    def tab(**how):
        context = chromium.new_context(viewport={"width": 1300, "height": 850}, accept_downloads=True, **how)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda told: said.append(told.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        opened.append(context)
        return page

    yield tab
    for context in opened:
        context.close()
    expected = "the server responded with a status of 4", "Multiple readback"  # refusals, and what `drawn` does
    assert not [text for text in said if not any(part in text for part in expected)]
    assert all(address.startswith((url, "blob:", "data:")) for address in asked)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "meadow.png"
    path.write_bytes(png(6, (96, 128)))
    return path


def give(page, photo: Path, *words: str) -> None:
    page.set_input_files("#file", photo)
    for word in words:
        page.fill("#word", word)
        page.press("#word", "Enter")


def segmented(page) -> None:
    page.click("#run")
    page.wait_for_selector("#found:not([hidden])")
    page.wait_for_selector("#run:not([aria-busy])")


def slide(page, name: str, value: int) -> None:
    page.evaluate(
        "([id, v]) => { const e = document.getElementById(id); e.value = v; e.dispatchEvent(new Event('input')); }",
        [name, value],
    )


def drawn(page, canvas: str) -> np.ndarray:
    """(H, W, 4) of a canvas."""
    size, data = page.evaluate(
        "id => { const c = document.getElementById(id);"
        " return [[c.height, c.width], [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]; }",
        canvas,
    )
    return np.array(data, np.uint8).reshape(*size, 4)


def test_from_a_photo_to_its_map_and_out(visit, photo, toy_clip, tmp_path):
    page = visit()
    give(page, photo, "road", "car | automobile", "sky")
    page.check("#background")
    page.select_option("#method", "sclip")
    segmented(page)
    assert page.locator("#legend li").count() == 4
    assert "4 classes on 128 × 96 pixels" in page.text_content("#status")
    slide(page, "threshold", 80)
    page.wait_for_selector("#threshold-value:text-is('0.400')")
    method = {"method": "fsa", "host": "sclip", "background_threshold": 0.4, "dtype": "float32"}
    words = page.evaluate("document.getElementById('snippet').textContent")
    assert "--set background_threshold=0.4" in words and "meadow.png" in words
    from segloop import Vocabulary

    vocabulary = Vocabulary(["road", "car | automobile", "sky"], background=True)
    expected = Segmenter.from_pretrained(toy_clip, **method)(photo, vocabulary)
    shares = {
        item.locator(".name").text_content(): item.locator(".share").text_content()
        for item in page.locator("#legend li").all()
    }
    for name, share in expected.share.items():
        assert shares[name] == f"{100 * share:.{1 if 0 < share < 0.1 else 0}f} %"
    for name in ("png", "json", "coco", "npz"):
        with page.expect_download() as download:
            page.click(f"#downloads button:text-is('{name}')")
        download.value.save_as(tmp_path / "got" / download.value.suggested_filename)
    assert {path.name for path in (tmp_path / "got").iterdir()} == {
        "meadow.png",
        "meadow.json",
        "meadow.coco.json",
        "meadow.npz",
    }
    assert np.array_equal(Image.open(tmp_path / "got/meadow.png"), expected.labels)
    assert np.array_equal(np.load(tmp_path / "got/meadow.npz")["labels"], expected.labels)
    assert json.loads((tmp_path / "got/meadow.json").read_text())["share"] == expected.share


def test_wipe_hover_toggle_and_point(visit, photo, one):
    page = visit()
    give(page, photo, "road, car, sky")
    segmented(page)
    asked = drawn(page, "map-asked")
    assert asked.shape == (96, 128, 4) and (asked[..., 3] == 255).all()
    slide(page, "wipe", 40)
    assert page.evaluate("document.getElementById('map-asked').style.clipPath") == "inset(0px 0px 0px 40%)"
    assert page.is_visible("#line") and page.is_visible("#tag-host") and page.is_visible("#tag-asked")
    box = page.locator("#stage").bounding_box()
    across = lambda part: (box["x"] + box["width"] * part, box["y"] + box["height"] * 0.5)  # noqa: E731
    page.mouse.move(*across(0.1))
    assert page.text_content("#readout").count("host") == 1
    page.mouse.move(*across(0.4))
    page.mouse.down()
    page.mouse.move(*across(0.7), steps=3)
    page.mouse.up()
    assert page.input_value("#wipe") == "70" and page.is_hidden("#point")
    page.mouse.move(*across(0.9))
    told = page.text_content("#readout")
    assert "host" not in told and "x 115, y 48" in told and "0." in told
    page.mouse.click(*across(0.9))
    page.wait_for_selector("#point:not([hidden])")
    assert page.get_attribute("#point-after", "src") != page.get_attribute("#point-before", "src")
    assert page.locator("#point-scores tr").count() == 4
    first = page.locator("#legend input").first
    index = int(first.get_attribute("data-class"))
    first.uncheck()
    (kept,) = one.sessions.kept.values()
    hidden = kept.answer.sides["fsa"].labels == index
    assert np.array_equal(drawn(page, "map-asked")[..., 3] == 0, hidden)
    slide(page, "opacity", 20)
    assert page.evaluate("document.getElementById('map-asked').style.opacity") == "0.2"
    assert page.is_disabled("#threshold") and page.is_visible("#threshold-note")


def test_what_goes_wrong_is_told_and_mended(visit, photo, tmp_path):
    page = visit()
    page.click("#run")
    assert "no photo came" in page.text_content("#error")
    give(page, photo)
    page.click("#run")
    assert "no words came" in page.text_content("#error")
    bad, huge = tmp_path / "page.jpg", tmp_path / "huge.png"
    bad.write_bytes(b"<!DOCTYPE html><html>")
    huge.write_bytes(b"\x89PNG" + bytes(25 * 2**20))
    give(page, bad, "road", "sky")
    page.click("#run")
    page.wait_for_selector("#error:has-text('web page')")
    page.set_input_files("#file", huge)
    assert "larger than 24 MiB" in page.text_content("#error")
    wide = tmp_path / "wide.png"
    Image.new("1", (9000, 4000)).save(wide)
    page.set_input_files("#file", wide)
    page.click("#run")
    page.wait_for_selector("#error:has-text('more than 24 million')")
    page.set_input_files("#file", photo)
    segmented(page)
    assert page.is_hidden("#error") and page.is_visible("#legend")


def test_a_kind_that_browsers_do_not_show(visit, tmp_path):
    path = tmp_path / "field.tif"
    Image.fromarray(np.arange(64 * 48 * 3, dtype=np.uint16).reshape(48, 64, 3).astype(np.uint8)).save(path)
    page = visit()
    give(page, path, "road")
    segmented(page)
    page.wait_for_selector("#photo:not([hidden])")
    assert "every pixel becomes road" in page.text_content("#status")


def test_two_tabs_have_their_own_and_closing_forgets(visit, photo, tmp_path, one):
    other = tmp_path / "other.png"
    other.write_bytes(png(9, (64, 64)))
    before = set(one.sessions.kept)
    tabs = visit(), visit()
    for page, picture, word in zip(tabs, (photo, other), ("road", "sky"), strict=True):
        give(page, picture, word, "sea")
    for page in tabs:
        page.click("#run")
    for page, size, word in zip(tabs, ("128 × 96", "64 × 64"), ("road", "sky"), strict=True):
        page.wait_for_selector("#found:not([hidden])")
        assert size in page.text_content("#status")
        assert {name.text_content() for name in page.locator("#legend .name").all()} == {word, "sea"}
    mine = set(one.sessions.kept) - before
    assert len(mine) == 2
    segmented(tabs[0])
    tabs[0].wait_for_timeout(300)
    assert len(mine & set(one.sessions.kept)) == 1  # a new run lets the old one go
    for page in tabs:
        page.goto("about:blank")
        page.wait_for_timeout(300)
    assert set(one.sessions.kept) == before


def test_with_the_keyboard_alone(visit):
    page = visit(reduced_motion="reduce")
    press = page.keyboard.press

    def reach(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    reach("#file")
    reach("#examples button")
    press("Enter")
    page.wait_for_selector("#photo:not([hidden])")
    page.wait_for_selector("#chips li:nth-child(3)")
    reach("#word")
    press("Backspace")
    page.keyboard.type("red")
    press("Enter")
    chips = page.locator("#chips li span").all_text_contents()
    assert chips == ["water", "sand", "red"]
    reach("#background")
    press("Space")
    reach("#method")
    reach("#run")
    press("Enter")
    page.wait_for_selector("#found:not([hidden])")
    page.wait_for_selector("#run:not([aria-busy])")
    reach("#stage")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        press(key)
    assert "x 267, y 214" in page.text_content("#readout")
    press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    reach("#wipe")
    press("End")
    assert page.text_content("#wipe-value") == "host"
    reach("#threshold")
    press("PageUp")
    page.wait_for_selector("#threshold-value:not(:text-is('off'))")
    reach("#legend input")
    number = page.evaluate("document.activeElement.dataset.class")
    press("Space")
    assert page.evaluate("document.activeElement.dataset.class") == number  # the legend was made anew around it
    reach("#copy-python")
    press("Enter")
    assert "Segmenter.from_pretrained" in page.text_content("#snippet")


def test_an_example_runs_at_once(visit):
    page = visit()
    page.route("**/examples/1", lambda route: (page.wait_for_timeout(200), route.continue_()))
    page.click("#examples button:nth-child(2)")
    segmented(page)
    assert page.locator("#legend li").count() == 5 and page.is_hidden("#error")


def test_every_control_has_a_name_and_a_phone_shows_all(visit, photo):
    page = visit(color_scheme="dark", has_touch=True)
    page.set_viewport_size({"width": 360, "height": 740})
    give(page, photo, "road", "a very long class name that does not fit", "sky")
    segmented(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, img, [tabindex]')].filter(e => e.offsetParent && !("
        "e.ariaLabel || e.textContent.trim() || e.alt || (e.labels && e.labels.length)"
        " || e.alt === '')).map(e => e.outerHTML)"
    )
    assert nameless == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(19, 20, 23)"


def test_a_pasted_and_a_dropped_photo(visit, photo):
    page = visit()
    give_by = """async ([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], kind + '.png', { type: 'image/png' }));
        const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
                                       : new DragEvent('drop', { dataTransfer: data, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(give_by, [kind, list(photo.read_bytes())])
        assert page.text_content("#photo-name") == f"{kind}.png"
        page.wait_for_selector("#photo:not([hidden])")
