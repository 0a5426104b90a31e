"""Class files in every form that people have: clear ones are read and said, the others are refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command import complaint
from segloop.data.datasets import open_dataset
from segloop.errors import OptionError, VocabularyError
from segloop.words.read import read_classes
from segloop.words.vocabulary import read_class_file
from trees import make_own

NAMES = ("grass", "sand", "water", "red")
COLOURS = (0x008000, 0xE6C878, 0x0000C8, 0xFF0000)


def lines(form, start=0):
    """One line a class: n its name, i its number, c "0,128,0", b "0 128 0", h "#008000"."""
    made = []
    for number, (name, colour) in enumerate(zip(NAMES, COLOURS, strict=True), start):
        comma = f"{colour >> 16},{colour >> 8 & 255},{colour & 255}"
        words = {"n": name, "i": number, "c": comma, "b": comma.replace(",", " "), "h": f"#{colour:06x}"}
        made.append(form.format(**words) + "\n")
    return "".join(made)


def records(**more):
    return [{"name": name, **{key: value[place] for key, value in more.items()}} for place, name in enumerate(NAMES)]


TRIPLES = [[0, 128, 0], [230, 200, 120], [0, 0, 200], [255, 0, 0]]
NAMED = {
    "one line": "grass, sand, water, red",
    "one line, last comma": "grass,sand,water,red,\n",
    "one line with a comment": "# mine\ngrass, sand, water, red\n",
    "semicolons": "grass; sand; water; red",
    "tabs": "grass\tsand\twater\tred",
    "quotes": '"grass", "sand", "water", "red"',
    "single quotes": "'grass', 'sand', 'water', 'red'",
    "wrapped": "grass, sand,\nwater, red\n",
    "numbers on one line": "0: grass, 1: sand, 2: water, 3: red",
    "numbers behind, on one line": "grass=0, sand=1, water=2, red=3",
    "JSON list": json.dumps(NAMES),
    "JSON list, last comma": '["grass", "sand", "water", "red",]',
    "list of Python": "['grass', 'sand', 'water', 'red']",
    "tuple of Python": "('grass', 'sand', 'water', 'red')",
    "dict of Python": "{0: 'grass', 1: 'sand', 2: 'water', 3: 'red'}",
    "flow of YAML": "[grass, sand, water, red]",
    "number to name": json.dumps({"0": "grass", "3": "red", "2": "water", "1": "sand"}),
    "name to number": json.dumps({"red": 3, "grass": 0, "sand": 1, "water": 2}),
    "data.yaml": "path: x\nnc: 4\nnames:\n  0: grass\n  1: sand\n  2: water\n  3: red\n",
    "names of YAML": "names:\n- grass\n- sand\n- water\n- red\n",
    "names in a row of YAML": "nc: 4\nnames: [grass, sand, water, red]\n",
    "line of YAML": "classes: grass, sand, water, red",
    "COCO from 0": json.dumps({"categories": records(id=[0, 1, 2, 3]), "images": []}),
    "config of transformers": json.dumps(
        {"architectures": ["x"], "id2label": dict(enumerate(NAMES)), "label2id": dict.fromkeys(NAMES, 0)}
    ),
    "detectron": json.dumps({"stuff_classes": NAMES, "ignore_label": 255}),
    "Label Studio": "<View><BrushLabels>" + lines('<Label value="{n}"/>') + "</BrushLabels></View>",
    "heading": "name\n" + lines("{n}"),
    "table": "id,name\n" + lines("{i},{n}"),
    "table, other order": "Name;ID;note\n" + lines("{n};{i};x"),
    "table, two words for names": "class,label\n" + lines("{n},{i}"),
    **{
        form: lines(form)
        for form in (
            *("{i}: {n}", "{i} {n}", "{i}. {n}", "{i}.{n}", "{i}) {n}", "{i}\t{n}", "{i},{n}", "{i};{n}", "{i} - {n}"),
            *("{i}-{n}", "{i}={n}", "{n}: {i}", "{n},{i}", "{n}\t{i}", "- {n}", "* {n}", '"{n}"', '"{n}",', "{n},"),
            *("'{n}',", "{n};", "- {i}: {n}", "{i}: {n},"),
        )
    },
}
PAINTED = {
    "CVAT": "# label:color_rgb:parts:actions\n" + lines("{n}:{c}::"),
    "CVAT with parts": lines("{n}:{c}:head,hand:run,walk"),
    "CVAT in JSON": json.dumps(records(color=[f"#{colour:06x}" for colour in COLOURS])),
    "name to colour": json.dumps(dict(zip(NAMES, TRIPLES, strict=True))),
    "colour to name": json.dumps({f"#{colour:06X}": name for colour, name in zip(COLOURS, NAMES, strict=True)}),
    "MMSegmentation": json.dumps({"classes": NAMES, "palette": TRIPLES}),
    "Supervisely": json.dumps({"classes": records(color=TRIPLES), "tags": []}).replace("name", "title"),
    "YAML": lines("{n}: [{c}]"),
    "table": "name,r,g,b\n" + lines("{n},{c}"),
    "table with hex": "class_name,color\n" + lines("{n},{h}"),
    "table with numbers": "id;name;color\n" + lines("{i};{n};{h}"),
    **{
        form: lines(form)
        for form in (
            *(
                "{n}: {c}",
                "{n} {b}",
                "{b} {n}",
                "{b}\t\t{n}",
                "{n}: ({c})",
                "{n}={c}",
                "{n},{c}",
                "{n}: {h}",
                "{n} {h}",
            ),
            *("{n}: {h}", "{n} {h}", "{i},{n},{c}", "{i}: {n}: {c}", "{i}: {n} {h}", "{n}: {c},", "{n}:{h}"),
        )
    },
}


def read(tmp_path, text, name="classes.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_classes(path)


@pytest.mark.parametrize("form", NAMED)
def test_clear_forms_are_read_and_said(tmp_path, form):
    found = read(tmp_path, NAMED[form])
    assert found.names == NAMES and found.numbers is None and found.colours == ()
    assert found.said.startswith(f"{tmp_path / 'classes.txt'} is read as ")
    assert found.said.endswith(": 4 classes (grass, sand, water, red)") and "\n" not in found.said


@pytest.mark.parametrize("form", PAINTED)
def test_colours_stand_beside_names(tmp_path, form):
    found = read(tmp_path, PAINTED[form])
    assert found.names == NAMES and found.numbers is None
    assert found.colours == tuple(zip(COLOURS, range(4), strict=True))
    assert "4 classes, colours" in found.said


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_marks_change_nothing(tmp_path, end, mark):
    for text, said in ((lines("{n}"), None), (lines("{i}: {n}"), "numbered")):
        found = read(tmp_path, mark + text.replace("\n", end).encode())
        assert found.names == NAMES and (found.said is None if said is None else said in found.said)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("grass\nsand | beach # why\n\n# no\n", ("grass", "sand | beach")),
        ("building, edifice\nsky\n", ("building, edifice", "sky")),
        ("zone 1\nzone 2\n", ("zone 1", "zone 2")),
        ("2 wheeler\ncar\n", ("2 wheeler", "car")),
        ("4x4 | off-road car\nbus", ("4x4 | off-road car", "bus")),
        ("sky\nstreet: main\n", ("sky", "street: main")),
        ("0\n1\n", ("0", "1")),
        ("# 12 classes\nsky #facade\nroad", ("sky", "road")),
        ("one name", ("one name",)),
    ],
)
def test_one_name_a_line_is_as_it_was_and_says_nothing(tmp_path, text, names):
    found = read(tmp_path, text)
    assert found.names == names and found.said is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (lines("{i}: {n}", 1), (1, 2, 3, 4)),
        (lines("{i}. {n}", 1), (1, 2, 3, 4)),
        ("Idx\tRatio\tName\n" + lines("{i}\t0.1\t{n}", 1), (1, 2, 3, 4)),
        (json.dumps({"categories": records(id=[1, 2, 4, 9])}), (1, 2, 4, 9)),
    ],
)
def test_numbers_that_do_not_begin_at_0_are_kept(tmp_path, text, numbers):
    found = read(tmp_path, text)
    assert found.names == NAMES and found.numbers == numbers
    assert found.said.endswith(
        f"; label maps to be read have {numbers[0]} to {numbers[-1]} for them, results 0 to {len(numbers) - 1}"
    )


def test_a_colour_called_void_is_no_class(tmp_path):
    found = read(tmp_path, lines("{n}: {c}") + "Void: 224,224,192\n")
    assert found.names == NAMES and found.colours[-1] == (0xE0E0C0, None)
    assert found.said.endswith("; 224,224,192 is no class")


def test_labelme_lists_know_what_to_ignore(tmp_path):
    found = read(tmp_path, "__ignore__\n_background_\ncar\n")
    assert found.names == ("background", "car") and "labelme" in found.said


def test_quotes_keep_what_is_in_them(tmp_path):
    assert read(tmp_path, '"2 wheeler"\n"4 wheeler"\n').names == ("2 wheeler", "4 wheeler")
    assert read(tmp_path, '"building, edifice", sky').names == ("building, edifice", "sky")
    assert read(tmp_path, 'sky\n"building, edifice"\n').names == ("sky", "building, edifice")


UNCLEAR = {
    "": "names no class; write one",
    "[]": "names no class",
    "grass, sand; water": "has both commas and semicolons",
    "grass,,sand": "has an empty name between commas",
    "grass, lawn\nsand, beach": "each line of .* has commas, which may part names or belong to them",
    "grass\tgreen\nsand\tyellow": "each line of .* has tabs",
    "grass;lawn\nsand;beach": "each line of .* has semicolons",
    "0: grass\n2: sand": "from 0 to 2 and leaves out 1",
    "2: grass\n3: sand": "from 2 to 3 and leaves out 1",
    "2 wheeler\n4 wheeler": "leaves out 1; .* in quotes if they begin with a number",
    "0: grass\n0: sand": "gives the number 0 twice",
    "0: grass\nsand\n2: water": r"line 1 of .* has a number \('0: grass'\) and line 2 has none",
    "0 grass\n1 sand\nwater": "has a number",
    "id name\n0 grass\n1 sand": "has a number .* and line 1 has none",
    "0, grass, sand": "has names and numbers",
    "grass: 0,128,0\nsand": r"line 1 of .* has a colour \('grass: 0,128,0'\) and line 2 has none",
    "grass: #008000\nsand": "has a colour",
    "name r g b\ngrass 0 128 0\nsand 1 2 3": "has a colour .* and line 1 has none",
    "grass: 0,128,0\nsand: 0,128,0": "gives the colour 0,128,0 to grass and sand",
    "grass: 300,0,0\nsand: 0,0,0": "line 1 of .* has no colour",
    "grass 0 128 0 255\nsand 1 2 3 255": "four numbers",
    "grass:::\nsand:0,1,2::": "line 1 of .* has no colour, others have",
    "vehicle: car\nvehicle: truck": "each line of .* has two parts",
    "grass:\nsand:": "each line of .* ends in ':'",
    "'building, edifice', 'sand'": "a quoted name with commas in it",
    '{"grass": "green"}': "a mapping in JSON of neither numbers nor colours",
    '{"grass": 0, "sand": 2}': "leaves out 1",
    '{"grass": 0, "sand": 0}': "the number 0 twice",
    '{"grass": 0, "grass": 1}': "names 'grass' twice",
    '["grass", ["sand", "dune"]]': r'with a list \["sand", "dune"\] inside; .* one text, "sand \| dune"',
    '["grass", [1]]': "of other things than names",
    '["grass", null]': "of other things than names",
    "[1, 2]": None,  # words in YAML, numbers in JSON
    '["grass" "sand"': r"looks like JSON and cannot be read \(Expecting",
    '{"name": "grass"}\n{"name": "sand"}': r"looks like JSON and cannot be read \(Extra data",
    '{"thing_classes": ["a"], "stuff_classes": ["b"]}': "both stuff_classes and thing_classes",
    '{"a": {"b": {"c": 1}}}': "of neither numbers nor colours",
    '{"categories": [{"id": 1}]}': "has no name",
    "[" * 100000: "too many brackets",
    '{"a":' * 3000: "too many brackets",
    "names: [grass": "looks like YAML and cannot be read",
    "names:\n  grass: 0\n  grass: 1": "names 'grass' twice",
    'classes = ["grass"]': "line 1 of .* is no class name",
    "CLASSES = (\n'grass',\n)": "is no class name",
    'item {\n name: "x"\n}': "is no class name",
    "<html><body>x</body></html>": "XML or a web page",
    '<!DOCTYPE x [<!ENTITY a "b">]><View><Label value="&a;"/></View>': "XML or a web page",
    "id,name\n0,grass\nx,sand": "line 3 of .* has no number",
    "name,note\ngrass,a,b\nsand,c,d": "3 columns, its heading 2",
    "| a | b |\n|---|---|": "has an empty name",
    "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2": "is no class name",
}


@pytest.mark.parametrize("text", UNCLEAR, ids=lambda text: text[:24] or "empty")
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, text):
    with pytest.raises(VocabularyError, match=UNCLEAR[text]) as caught:
        read(tmp_path, text)
    assert len(str(caught.value)) < 600 + len(str(tmp_path)) and "\n" not in str(caught.value)


def test_suffixes_say_what_is_inside(tmp_path):
    assert read(tmp_path, lines("- {n}"), "classes.yaml").names == NAMES
    assert read(tmp_path, "- no\n- on\n", "classes.yml").names == ("no", "on")  # words stay words
    assert read(tmp_path, "label\n" + lines("{n}"), "classes.csv").names == NAMES
    assert read(tmp_path, "label\nsticker\n").names == ("label", "sticker")
    with pytest.raises(VocabularyError, match="looks like JSON"):
        read(tmp_path, "grass\nsand\n", "classes.json")


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab01 ,;:=.|#\"'[]{}()-\t\n<>/\\ä"), max_size=40))
def test_no_text_is_a_fault_of_ours(tmp_path_factory, text):
    try:
        found = read(tmp_path_factory.mktemp("lists"), text)
    except VocabularyError as error:
        assert error.remedy
    else:
        assert found.names and all(name.strip() for name in found.names)


def test_python_is_warned_of_an_unusual_form(tmp_path):
    (tmp_path / "classes.txt").write_text("grass, sand")
    with pytest.warns(UserWarning, match="is read as one line, separated by commas: 2 classes"):
        assert read_class_file(tmp_path / "classes.txt") == ["grass", "sand"]


def test_the_command_line_says_how_it_read_a_file(segment, street, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"0": "road", "1": "sky"}))
    result = segment(street, "--classes-file", "mine.json", "--format", "json")
    assert result.exit_code == 0
    assert result.stderr == "mine.json is read as a mapping in JSON, number to name: 2 classes (road, sky)\n"
    (tmp_path / "mine.txt").write_text("road, street\nsky, heaven\n")
    assert "may part names or belong to them" in complaint(segment(street, "--classes-file", "mine.txt"))


def test_a_folder_of_your_own_may_have_another_class_file(tmp_path):
    make_own(tmp_path, ["grass, sand, water"], np.zeros((1, 1), np.uint8))
    opened = open_dataset("folder", [tmp_path])
    assert opened.dataset.classes == 3 and "is read as one line" in opened.notes[0]
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "labelmap.txt").write_text("grass:0,128,0::\nsand:230,200,120::\n")
    opened = open_dataset("folder", [tmp_path])
    assert opened.dataset.names == ("grass", "sand") and "label map of CVAT" in opened.notes[0]
    (tmp_path / "classes.csv").write_text("id,name\n0,grass\n1,sand\n")
    with pytest.raises(OptionError, match=r"has classes\.csv and labelmap\.txt; keep one"):
        open_dataset("folder", [tmp_path])
