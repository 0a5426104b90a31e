"""Like with like: what differs beside the attention stands before any figure."""

import json

from command import done
from records import write_run
from segloop.runs.alike import columns, unlike

SCLIP = {"vocabulary": "voc21/S", "logit_scale": 40.0, "residual": True, "mlp": True}
CLEAR = {"vocabulary": "voc21/clear", "logit_scale": 50.0, "residual": False, "mlp": False}


def record(queries=("a",), **settings):
    return {"settings": settings, "queries": list(queries)}


def test_what_differs_is_named_with_its_values():
    one, two = record(["a", "b"], **SCLIP), record(["a"], **CLEAR)
    assert unlike([one, two]) == {
        "class list": ["S", "clear"],
        "logit scale": ["40", "50"],
        "residual": ["on", "off"],
        "MLP": ["on", "off"],
    }
    assert unlike([one, one]) == {} and unlike([one]) == {}
    assert unlike([one, record(["a", "b"], **{**SCLIP, "vocabulary": "voc21/P"})]) == {}  # the same words
    assert unlike([one, record(["a", "c"], **SCLIP)]) == {"class list": ["S", "S"]}
    assert unlike([one, record(["a", "b"], vocabulary=None)]) == {}  # an early record does not say the others


def test_data_sets_may_differ_between_each_other():
    records = [record(**SCLIP), record(["b"], **{**CLEAR, "mlp": True}), record(["b"], **CLEAR)]
    assert columns(records, ["voc21", "voc20", "voc20"]) == {"MLP": ["on", "on", "off"]}
    assert columns(records[:2], ["voc21", "voc20"]) == {}


def test_evaluate_s_table_has_a_column_for_each(evaluate, monkeypatch):
    tables = []
    monkeypatch.setattr("segloop.common.console.table", lambda *table: tables.append(table))
    assert evaluate("--limit", 2, "--methods", "sclip,clearclip,qq", "--out", "runs").exit_code == 0
    assert evaluate("--limit", 2, "--methods", "qq,kk", "--out", "alike").exit_code == 0
    (title, header, rows), alike = tables
    assert title == "mIoU, in percent; these are not alike: logit scale, residual, MLP"
    assert header[:6] == ("run", "images", "logit scale", "residual", "MLP", "mIoU")
    assert {row[0].removeprefix("runs/scenes/"): row[2:5] for row in rows} == {
        "sclip": ["40", "on", "on"],
        "clearclip": ["50", "off", "off"],
        "qq": ["40", "off", "off"],
    }
    assert alike[:2] == ("mIoU, in percent", ("run", "images", "mIoU", "95 %", "aAcc", "mAcc"))


def test_reports_say_it_before_figures_and_verdicts(segloop, tmp_path):
    write_run(tmp_path / "one", method="sclip", queries=["a", "b"], **SCLIP)
    write_run(tmp_path / "two", method="clearclip", queries=["a"], **CLEAR)
    said = "class list S (SCLIP), clear (ClearCLIP); logit scale 40 (SCLIP), 50 (ClearCLIP); "
    said += "residual on (SCLIP), off (ClearCLIP); MLP on (SCLIP), off (ClearCLIP)."
    made = json.loads(done(segloop("report", "one", "two", "--json")).stdout)["tables"]
    assert made["table"]["sentences"] == [f"Not like with like on voc21: {said}"]
    assert made["comparison"]["sentences"][1] == f"Not like with like: {said}"
    assert "mIoU" in made["comparison"]["sentences"][2]
    assert [row["logit scale"] for row in made["runs"]["rows"]] == ["40", "50"]
    page = done(segloop("report", "one", "two")).stdout
    assert page.index("Not like with like on voc21") < page.index("| method")
    alike = json.loads(done(segloop("report", "one", "--json")).stdout)["tables"]
    assert alike["table"]["sentences"] == [] and "logit scale" not in alike["runs"]["rows"][0]
