"""Words one meant: labels before `=`, tables and workbooks with queries, and sentences where words mislead."""

import json
import re
import warnings
from pathlib import Path

import pytest
from openpyxl import Workbook

from command import complaint, record
from segloop.errors import Notice, VocabularyError
from segloop.words.language import tell_of_language, tell_of_rest, tell_of_signs
from segloop.words.read import parse_classes, read_class_file, read_classes
from segloop.words.vocabulary import Vocabulary, first_is_background
from segloop.words.workbook import sheet_lines

STREET = {"Straße": ["road", "street"], "Wasser": ["water"]}
LINES = ["Straße = road | street", "Wasser = water"]


def words_of(vocabulary):
    found = {name: [] for name in vocabulary.classes}
    for query, owner in zip(vocabulary.queries, vocabulary.query_index, strict=True):
        found[vocabulary.classes[owner]].append(query)
    return found


def workbook(path, *rows, title="classes"):
    book = Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


# --- labels


def test_a_label_stands_before_its_words():
    assert parse_classes("Straße=road|street, Wasser = water") == LINES
    for given in (LINES, parse_classes("Straße=road|street;Wasser=water"), STREET, {"Straße": "road|street", **STREET}):
        vocabulary = Vocabulary(given)
        assert words_of(vocabulary) == STREET and vocabulary.lines() == LINES
    assert Vocabulary(["road = road | street", "tree"]).lines() == ["road | street", "tree"]


def test_a_mapping_takes_labels_as_they_are():
    assert words_of(Vocabulary({"a=b|c": ["x"], "d": "y | z"})) == {"a=b|c": ["x"], "d": ["y", "z"]}
    for wrong in ({"a": []}, {"": ["x"]}, {"a": ["x"], "b": "X"}, {"a": "x|"}, {"a": 1}):
        with pytest.raises(VocabularyError):
            Vocabulary(wrong)


@pytest.mark.parametrize("entry", ["=road", "Straße=", "a=b=c", "a|b=c", "a=b||c", "a = "])
def test_what_is_no_label_with_words_is_told(entry):
    with pytest.raises(VocabularyError, match="class 1"):
        Vocabulary([entry])


def test_labels_and_words_are_named_once():
    for entries in (["a=x", "A=y"], ["a=x", "b=X"]):
        with pytest.raises(VocabularyError, match="named twice"):
            Vocabulary(entries)
    assert words_of(Vocabulary(["Gras=grass", "grass=hay"])) == {"Gras": ["grass"], "grass": ["hay"]}


def test_a_label_may_be_background():
    assert first_is_background(["background = sky | wall", "road"]) and not first_is_background(["a=background"])
    added = Vocabulary(["Wand=wall", "road"], background=True)
    assert added.classes == ["background", "Wand", "road"] and "wall" not in words_of(added)["background"]
    assert Vocabulary(added.lines(), background=0).queries == added.queries


# --- class files

TABLES = {
    "label-query.csv": "label,query\nStraße,road|street\nWasser,water\n",
    "label-query.tsv": "label\tquery\nStraße\troad | street\nWasser\twater\n",
    "semicolons.csv": "id;label;query\n1;Wasser;water\n0;Straße;road|street\n",
    "colours.csv": "name,query,color\nStraße,road|street,#ff0000\nWasser,water,#0000ff\n",
    "labels.txt": "Straße=road|street\n# of the map\nWasser = water\n",
    "numbered.txt": "0: Straße=road|street\n1: Wasser=water\n",
    "coloured.txt": "Straße=road|street: 255,0,0\nWasser=water: 0,0,255\n",
    "records.json": json.dumps(
        [{"label": "Straße", "query": ["road", "street"]}, {"label": "Wasser", "query": "water"}]
    ),
    "names.yaml": "Straße: {query: road|street}\nWasser: {query: water}\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_class_files_have_labels_and_words(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    found = read_classes(tmp_path / name)
    assert list(found.names) == LINES and found.said
    if name.startswith("colour"):
        assert found.colours == ((0xFF0000, 0), (0x0000FF, 1))
    with pytest.warns(UserWarning, match=r"is read as .*2 classes.* \(Straße = road \| street, Wasser = water\)"):
        assert read_class_file(tmp_path / name) == LINES


def test_a_cell_without_words_looks_for_its_name(tmp_path):
    (tmp_path / "c.csv").write_text("label,query\nroad,\nWasser,water\n")
    assert read_classes(tmp_path / "c.csv").names == ("road", "Wasser = water")


def test_an_empty_cell_is_told_as_one(tmp_path):
    (tmp_path / "c.csv").write_text("label,query\nWasser,water\n,\n,road\n")
    with pytest.raises(VocabularyError, match=r"line 4 of .* empty cell under 'label' .*take the row out"):
        read_classes(tmp_path / "c.csv")
    with pytest.raises(VocabularyError, match=r"row 2 of .*c.xlsx has an empty cell under 'name'"):
        read_classes(workbook(tmp_path / "c.xlsx", ("name", "id"), (None, 0), ("road", 1)))
    (tmp_path / "c.csv").write_text("label,query\n,\nWasser,water\n")  # a row that Excel left behind
    assert read_classes(tmp_path / "c.csv").names == ("Wasser = water",)


def test_a_phrase_with_a_comma_is_shown_in_quotes(tmp_path):
    (tmp_path / "c.csv").write_text('label,query\nGras,"grass, lawn|hay"\nWasser,water\n')
    said = read_classes(tmp_path / "c.csv").said
    assert '2 classes (Gras = "grass, lawn" | hay, Wasser = water); "grass, lawn" is one phrase, write | ' in said


@pytest.mark.parametrize("heading", ["Nr,Klasse", "Nr;Klasse", "Nr|Klasse", "id|name"])
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".xlsx"])
def test_headings_that_are_understood_are_told(tmp_path, heading, suffix):
    sign = re.search(r"\W", heading)[0]
    path, rows = tmp_path / f"c{suffix}", [heading.replace(sign, "|"), "0|Gras", "1|Sand"]
    if suffix == ".xlsx":
        workbook(path, *([row] if sign == "|" else row.split("|") for row in rows))
    else:
        path.write_text("\n".join(row.replace("|", sign) for row in rows))
    with pytest.raises(VocabularyError, match=r"no heading that is understood; call its columns name .* id .* query"):
        read_classes(path)


def test_a_table_of_words_needs_a_heading_and_one_column_none(tmp_path):
    (tmp_path / "c.csv").write_text("Klasse,Suche\nGras,grass\nSand,sand\n")
    with pytest.raises(VocabularyError, match="call its columns name"):
        read_classes(tmp_path / "c.csv")
    (tmp_path / "one.csv").write_text("Klasse\nGras\nSand\n")
    assert "one column without a heading: 3 classes (Klasse, Gras, Sand)" in read_classes(tmp_path / "one.csv").said
    (tmp_path / "hex.csv").write_text("grass,#00ff00\nsand,#ffff00\n")
    assert read_classes(tmp_path / "hex.csv").names == ("grass", "sand")


@pytest.mark.parametrize("row", ["a=b,road", "a|b,road", "a,b=c"])
def test_signs_that_part_names_are_told_in_tables(tmp_path, row):
    (tmp_path / "c.csv").write_text(f"label,query\n{row}\n")
    with pytest.raises(VocabularyError, match="parts names"):
        read_classes(tmp_path / "c.csv")


def test_a_workbook_is_a_table_or_a_list(tmp_path):
    head = ("id", "label", "query", "color")
    rows = [(1, "Straße", "road|street", "#ff0000"), (2.0, "Wasser", "water", "#0000ff")]
    found = read_classes(workbook(tmp_path / "table.xlsx", head, *rows))
    assert list(found.names) == LINES and found.numbers == (1, 2) and found.colours == ((0xFF0000, 0), (0x0000FF, 1))
    assert "sheet 'classes' of a workbook" in found.said
    plain = workbook(tmp_path / "list.xlsx", (None, "grass"), (), (None, "sand, wet"), (None, "# of wood"))
    assert read_classes(plain).names == ("grass", "sand, wet", "# of wood")


def test_a_workbook_without_words_or_whole_bytes_is_told(tmp_path, monkeypatch):
    (tmp_path / "bad.xlsx").write_bytes(b"PK\3\4nonsense")
    with pytest.raises(VocabularyError, match="damaged workbook"):
        read_classes(tmp_path / "bad.xlsx")
    with pytest.raises(VocabularyError, match="names no class"):
        read_classes(workbook(tmp_path / "empty.xlsx"))
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(VocabularyError, match=r"segloop\[xlsx\]"):
        sheet_lines(b"", "words.xlsx")


# --- sentences


ROWS = [
    "0;grass",
    "0;grass\n1;sand",
    "0: grass, 1: sand",
    "1) grass; 2) sand",
    "grass, 3",
    "1. grass, 2. sand",
    "1 a, 2 b",
]


@pytest.mark.parametrize("given", ROWS)
def test_rows_of_numbers_are_not_words(given):
    with pytest.raises(VocabularyError, match="numbers among them"):
        parse_classes(given)
    assert parse_classes("3 wheeler, 1.5 m fence") == ["3 wheeler", "1.5 m fence"]
    assert parse_classes("7, 8") == ["7", "8"] and parse_classes("0=grass, 1=sand") == ["0 = grass", "1 = sand"]


def test_signs_of_other_keyboards_part_names():
    for given in ("grass，sand", "grass、 sand", "grass；sand", "grass, sand"):
        assert parse_classes(given) == ["grass", "sand"]
    assert parse_classes("Gras＝grass｜lawn") == ["Gras = grass | lawn"]


@pytest.mark.parametrize("query", ["grass/lawn", "1. grass", "grass，lawn", "2) grass / lawn"])
def test_signs_for_the_reader_are_told(query):
    with pytest.warns(Notice, match="sign and all; write 'grass(.lawn' for names of one class, 'grass, lawn'.*|')$"):
        tell_of_signs(["road", query])


def test_signs_that_belong_to_a_word_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_of_signs(["24/7", "w/o", "1.5 m fence", "3 wheeler", "sand, wet", "T-shirt"])


def tell_of(vocabulary):
    tell_of_rest(vocabulary.classes, vocabulary.words(), vocabulary.background)


@pytest.mark.parametrize("name", ["other", "Rest", "everything else", "background"])
def test_a_class_for_the_rest_is_told(name):
    with pytest.warns(Notice, match=rf"{name}.*--background"):
        tell_of(Vocabulary(["grass", name]))


def test_what_says_its_words_is_no_rest():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for classes in (["grass", "other=car|bus"], ["other things to eat"]):
            tell_of(Vocabulary(classes))
        tell_of(Vocabulary(["background", "grass"], background=0))
        tell_of(Vocabulary(["grass"], background=True))


PIECES = {"Bürgersteig": 5, "Himmel": 2, "café": 2, "skyscraper": 3, "Verkehrsschild": 5}


def told(*queries, known=True):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tell_of_language(queries, lambda words: [PIECES.get(word, 1) if known else 0 for word in words])
    return [str(one.message) for one in seen]


def test_other_letters_are_certain_and_rare_syllables_a_hint():
    (line,) = told("дорога", "grass", "道路", "水")
    assert line.startswith("CLIP was taught English, and 'дорога', '道路', '水' are not in Latin letters")
    assert line.endswith("'дорога=ENGLISH WORDS'")
    (line,) = told("Bürgersteig", "Himmel", "café")
    assert line.startswith("'Bürgersteig', 'café' may not be English")
    (line,) = told("a Verkehrsschild")
    assert line.startswith("'Verkehrsschild' may not be English") and "Verkehrsschild=ENGLISH WORDS" in line
    assert told("skyscraper", "windowpane", "7-up") == []
    assert told("Verkehrsschild", known=False) == []  # a tokenizer of few words breaks all


# --- the command line


def test_results_show_the_label_and_the_network_sees_the_words(segloop, street):
    command = ("segment", street, "--clip", "tiny", "--templates", "plain", "--format", "json,coco,npz")
    labelled = segloop(*command, "--classes", "Gras=grass, Sand=sand|brick", "--out", "labelled")
    plain = segloop(*command, "--classes", "grass, sand|brick", "--out", "plain")
    assert labelled.exit_code == plain.exit_code == 0 and labelled.stderr == ""
    assert "Gras" in labelled.stdout or "Sand" in labelled.stdout
    shares = [record(Path(out) / "street")["share"] for out in ("labelled", "plain")]
    assert list(shares[0]) == ["Gras", "Sand"] and list(shares[0].values()) == list(shares[1].values())
    coco = record(Path("labelled/annotations.coco"))
    assert [one["name"] for one in coco["categories"]] == ["Gras", "Sand"]


def test_the_command_line_says_what_words_mislead(segloop, street):
    command = ("segment", street, "--clip", "tiny", "--templates", "plain", "--format", "json")
    for words, said in (
        ("дорога, grass", "not in Latin letters"),
        ("grass, other", "--background"),
        ("grass, " + "very green " * 60, "say it in fewer words"),
    ):
        result = segloop(*command, "--classes", words)
        assert result.exit_code == 0 and said in result.stderr and len(result.stderr.splitlines()) == 1
    assert "--classes-file" in complaint(segloop(*command, "--classes", "0;grass"))
    assert "one label" not in complaint(segloop(*command, "--classes", "a=b=c"))


def test_a_workbook_on_the_command_line(segloop, street, tmp_path):
    path = workbook(tmp_path / "words.xlsx", ("label", "query"), ("Gras", "grass"), ("Wasser", "water"))
    command = ("segment", street, "--clip", "tiny", "--templates", "plain", "--format", "json")
    result = segloop(*command, "--classes-file", path)
    assert result.exit_code == 0 and "2 classes (Gras = grass, Wasser = water)" in result.stderr
    assert "--classes-file words.xlsx" in complaint(segloop(*command, "--classes", "words.xlsx"))


def test_a_column_that_is_not_used_is_told(tmp_path):
    (tmp_path / "de.csv").write_text("Label,Suchwort\nGras,grass\nSand,sand\n")
    said = read_classes(tmp_path / "de.csv").said
    assert "without its column 'suchwort'" in said
    (tmp_path / "known.csv").write_text("id,label,query,color\n5,Gras,grass,#00ff00\n9,Sand,sand,#ffff00\n")
    said = read_classes(tmp_path / "known.csv").said
    assert "without" not in said and "label maps to be read have 5 to 9 for them, results 0 to 1" in said


def test_a_list_without_quotes_is_told(segloop, street):
    for loose in (("grass,", "sand"), ("grass", "sand")):
        for command in ("segment", "inspect"):
            told = complaint(segloop(command, street, "--clip", "tiny", "--classes", *loose))
            assert "'sand'" in told and "put the list in quotes" in told
    assert "put the list in quotes" in complaint(segloop("segment", street, "--clip", "tiny", "--classes", "grass,"))
    result = segloop("label", street, "--clip", "tiny", "--classes", "grass,", "sand")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "given, meant",
    [("a {label}.", "a {}."), ("a %s", "a {}"), ("{name}", "{}"), ("my <class>", "my {}"), ("a b", "a photo of a {}.")],
)
def test_a_template_with_another_placeholder_is_mended(given, meant):
    for templates in (given, [given]):
        with pytest.raises(VocabularyError, match=re.escape(f"write {{}} where the name goes, as in {meant!r}")):
            Vocabulary(["a"], templates=templates)


@pytest.mark.parametrize(
    "text, words", [('["grass","sand"]', "--classes-file"), ("", "road, tree"), ("  ", "road, tree")]
)
def test_what_is_no_list_of_words(text, words):
    with pytest.raises(VocabularyError, match=words):
        parse_classes(text)


def test_an_old_workbook_is_told(tmp_path):
    (tmp_path / "old.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512))
    with pytest.raises(VocabularyError, match=r"old Excel.*\.xlsx"):
        read_classes(tmp_path / "old.xls")


def test_a_model_of_few_words_says_which_it_does_not_know(segloop, street):
    done = segloop(
        "segment", street, "--clip", "tiny", "--classes", "road, Gras=grass, sky|sea", "--background", "--out", "o"
    )
    assert done.exit_code == 0
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(
        "this model was taught 46 words (such as grass, sand, water), and none of them is in 'road':"
    )


def test_letters_that_english_hardly_has_are_told_whatever_the_tokenizer(segloop, street):
    done = segloop("segment", street, "--clip", "tiny", "--classes", "Straße sand, grass", "--out", "o")
    assert "'Straße' may not be English" in done.stderr
