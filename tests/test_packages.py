"""Methods and data sets of other packages, through entry points, as CONTRIBUTING.md shows them."""

import json
import re
import sys

import numpy as np
import pytest

from command import done
from segloop import Segmenter, Vocabulary
from segloop.choice.methods import METHODS
from segloop.common import doors
from segloop.data.datasets import DATASETS, open_dataset
from segloop.errors import Notice, OptionError
from test_contributing import FILES, fenced, fields_of_two_farms

BROKEN = """
[segloop.methods]
broken = mypackage.broken:thing
number = mypackage.broken:NUMBER
sclip = mypackage.tau:Tau
"""


def entry_points() -> str:
    """The text of entry_points.txt that a build makes of CONTRIBUTING.md's pyproject.toml."""
    (table,) = fenced("toml")
    return re.sub(r'= "([^"]+)".*', r"= \1", re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", table))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put `mypackage` with these entry points where Python finds packages; gone again after the test."""

    def put(points: str) -> None:
        place = tmp_path / "site"
        described = place / "mypackage-1.2.dist-info"
        for folder in (place / "mypackage", described):
            folder.mkdir(parents=True)
        for name in ("tau.py", "data.py", "harvest.json", "earlier.py"):
            (place / "mypackage" / name).write_text(FILES[name])
        (place / "mypackage" / "broken.py").write_text("NUMBER = 3\n")
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.2\n")
        (described / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(str(place))
        doors._entries.cache_clear()

    yield put
    monkeypatch.undo()
    doors._entries.cache_clear()
    for name in [name for name in sys.modules if name.startswith("mypackage")]:
        del sys.modules[name]


def test_a_method_of_a_package_is_like_ours(install, segloop):
    install(entry_points())
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    own = Segmenter.from_pretrained("tiny", method="tau", tau=1.0)
    same = Segmenter.from_pretrained("tiny", method="qq")
    assert own.plan.constants["tau"] == 1.0 and own.plan.method == "tau"
    words = ["grass", "sand"]
    assert own.cosines(photo, words).equal(same.cosines(photo, words))  # once the operator, and nothing of the values
    assert Segmenter.from_pretrained("tiny", host="tau").plan.host == "tau"
    listed = [json.loads(line) for line in done(segloop("methods", "--json")).stdout.splitlines()]
    assert listed[-1]["method"] == "tau"
    assert METHODS.package("tau") == "mypackage 1.2" and METHODS.package("sclip") is None


def test_a_method_of_a_package_brings_its_stage(install, tmp_path):
    install("[segloop.methods]\nrow = mypackage.row:EARLIER\n")
    (row,) = re.findall(r"Method\(.+", FILES["earlier.py"])
    lines = ("from segloop.choice.methods import Method", "from .earlier import Earlier", f"EARLIER = {row}")
    (tmp_path / "site" / "mypackage" / "row.py").write_text("\n".join(lines))
    own = Segmenter.from_pretrained("tiny", method="row", share=0.5)
    assert own.plan.records == {"earlier": {"share": 0.5, "back": 1}}
    assert own.describe(Vocabulary(["grass"]))["earlier"]["share"] == 0.5


def test_a_data_set_of_a_package_is_like_ours(install, segloop, tmp_path):
    install(entry_points())
    fields_of_two_farms(tmp_path)
    opened = open_dataset("harvest", (str(tmp_path),))
    assert [sample.name for sample in opened.samples] == ["one"]
    out = tmp_path / "run"
    words = ("--method", "tau", "--clip", "tiny", "--templates", "plain", "--out", out)
    done(segloop("evaluate", "harvest", "--data", tmp_path, *words))
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert (settings["dataset"], settings["method"], settings["packages"]) == ("harvest", "tau", "mypackage 1.2")


def test_what_fails_is_named_and_costs_nobody_else(install):
    install(BROKEN)
    with pytest.raises(OptionError, match=r"'broken' of package mypackage 1[.]2 cannot be imported"):
        Segmenter.from_pretrained("tiny", method="broken")
    with pytest.raises(OptionError, match="'number' of another package is a int"):
        Segmenter.from_pretrained("tiny", method="number")
    with pytest.warns(Notice, match="broken|number"):
        assert "broken" not in list(METHODS)
    assert METHODS["sclip"].source == "SCLIP's configurations"  # ours stay ours


def test_without_packages_the_tables_are_ours():
    assert list(METHODS) == list(METHODS.own) and list(DATASETS) == list(DATASETS.own)
