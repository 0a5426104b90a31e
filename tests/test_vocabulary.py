import hashlib
import json
import multiprocessing
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from torch.nn import functional as F

from segloop.common.keys import EIGHT
from segloop.errors import ModelError, Notice, VocabularyError
from segloop.words import embeddings
from segloop.words.embeddings import METADATA, cache_root, embed
from segloop.words.lists import variant_for
from segloop.words.tables import ALONE  # headings, which a list of classes cannot begin with
from segloop.words.vocabulary import (
    BENCHMARKS,
    Vocabulary,
    benchmark_names,
    benchmark_queries,
    parse_classes,
    read_class_file,
    template_sets,
)

# First 16 hex digits of SHA-256 of each published list, one class a line, " | " between its queries.
PUBLISHED = {
    "voc21/P": (21, 46, "742dce5f9021f69a"),
    "voc21/S": (21, 56, "d203c1e82b0542d1"),
    "voc21/SFP": (21, 56, "17193a056e6a99eb"),
    "voc21/clear": (21, 21, "cd16b467c4a22861"),
    "voc20/P": (20, 20, "40b38125df50d488"),
    "voc20/S": (20, 30, "7af21dd9ab89ebc5"),
    "voc20/SFP": (20, 30, "d178f433e30a22e0"),
    "voc20/clear": (20, 20, "40b38125df50d488"),
    "context60/P": (60, 60, "c8278f9257ab2ed0"),
    "context60/S": (60, 60, "c8278f9257ab2ed0"),
    "context60/SFP": (60, 60, "c8278f9257ab2ed0"),
    "context60/clear": (60, 60, "c8278f9257ab2ed0"),
    "context59/P": (59, 59, "6a45bee9f3acb41f"),
    "context59/S": (59, 59, "6a45bee9f3acb41f"),
    "context59/SFP": (59, 59, "6a45bee9f3acb41f"),
    "context59/clear": (59, 59, "6a45bee9f3acb41f"),
    "coco-object/P": (81, 97, "4246298c33ef4cbc"),
    "coco-object/S": (81, 113, "d5656afcce669a80"),
    "coco-object/SFP": (81, 113, "d5656afcce669a80"),
    "coco-object/clear": (81, 81, "80701ae9381b4e71"),
    "coco-stuff/P": (171, 171, "30c967b5149e46d7"),
    "coco-stuff/S": (171, 171, "30c967b5149e46d7"),
    "coco-stuff/SFP": (171, 171, "30c967b5149e46d7"),
    "coco-stuff/clear": (171, 171, "30c967b5149e46d7"),
    "cityscapes/P": (19, 19, "1e04fab22c8f884c"),
    "cityscapes/S": (19, 19, "1e04fab22c8f884c"),
    "cityscapes/SFP": (19, 19, "f91b328e93fa79ea"),
    "cityscapes/clear": (19, 19, "1e04fab22c8f884c"),
    "ade20k/P": (150, 150, "ff67f87ee44175aa"),
    "ade20k/S": (150, 150, "ff67f87ee44175aa"),
    "ade20k/SFP": (150, 150, "ff67f87ee44175aa"),
    "ade20k/clear": (150, 150, "ff67f87ee44175aa"),
    "ade847/P": (847, 847, "ba5eb1ad91c7d579"),
    "context459/P": (459, 459, "57ca42f50d0cd1cd"),
}
TEMPLATES = "717aaf1055595d31"
LISTS = Path(__file__).parents[2] / "shared" / "data" / "lists"
with_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the published lists are not beside this checkout")


def digest(lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:16]


# --- published lists


@pytest.mark.parametrize("source", PUBLISHED)
def test_published_list(source):
    key, variant = source.split("/")
    vocabulary = Vocabulary.benchmark(key, variant)
    classes, queries, expected = PUBLISHED[source]
    assert digest(vocabulary.lines()) == expected
    assert (len(vocabulary.classes), len(vocabulary.queries)) == (classes, queries)
    assert len(vocabulary.query_index) == queries and set(vocabulary.query_index) == set(range(classes))
    assert vocabulary.source == source
    assert vocabulary.background == (0 if key in ("voc21", "context60", "coco-object") else None)
    if vocabulary.background == 0:
        assert vocabulary.classes[0] == "background"


@with_lists
@pytest.mark.parametrize("source", PUBLISHED)
def test_list_equals_the_file(source):
    text = (LISTS / f"{source.replace('/', '.')}.txt").read_bytes().decode()
    assert "".join(f"{line}\n" for line in Vocabulary.benchmark(*source.split("/")).lines()) == text


def test_every_stored_variant_is_tested():
    stored = set()
    for key in BENCHMARKS:
        for variant in ("P", "S", "SFP", "clear"):
            try:
                benchmark_queries(key, variant)
            except VocabularyError:
                continue
            stored.add(f"{key}/{variant}")
    assert stored == set(PUBLISHED)


def test_lists_of_lposs_keep_the_names_of_mmsegmentation():
    counts = {key: len(Vocabulary.benchmark(key, "LPOSS").queries) for key in ("voc21", "coco-object", "context60")}
    assert counts == {"voc21": 46, "coco-object": 97, "context60": 60}  # spec 2.8
    assert benchmark_queries("voc21", "LPOSS")[4] == benchmark_queries("voc20", "LPOSS")[3] == ["boat"]
    assert benchmark_queries("coco-object", "LPOSS")[5] == ["aeroplane"]
    for key in ("cityscapes", "coco-stuff", "ade20k"):
        assert [[name] for name in benchmark_names(key)] == benchmark_queries(key, "LPOSS")


def test_a_list_without_a_methods_variant_gives_p():
    assert (variant_for("voc21", "LPOSS"), variant_for("ade847", "LPOSS")) == ("LPOSS", "P")


@pytest.mark.parametrize("key", EIGHT)
def test_lists_of_corrclip_say_people(key):
    mine, second, plain = (benchmark_queries(key, variant) for variant in ("corrclip", "corrclip-v2", "P"))
    changed = {old[0]: new for old, new in zip(plain, mine, strict=True) if old != new}
    background = {"sky": [word for word in plain[0] if word != "bed"]} if key == "coco-object" else {}
    assert changed == {"person": ["people"], **background}
    differs = [(a, b) for a, b in zip(mine, second, strict=True) if a != b]
    assert differs == ([(["people"], ["people, person"])] if key == "cityscapes" else [])
    if key == "coco-object":
        assert (len(mine[0]), sum(map(len, mine))) == (16, 96)


def test_template_sets():
    sets = template_sets()
    assert digest(sets["openai80"]) == TEMPLATES and len(sets["openai80"]) == 80
    assert len(sets["openai7"]) == 7 and set(sets["openai7"]) < set(sets["openai80"])
    assert (sets["single"], sets["plain"]) == (("a photo of a {}.",), ("{}",))
    if LISTS.is_dir():
        assert "\n".join(sets["openai80"]) + "\n" == (LISTS / "templates.txt").read_text()


def test_classes_carry_the_names_of_the_data_set():
    assert benchmark_names("voc20")[3] == "boat" and benchmark_queries("voc20")[3] == ["ship"]
    assert benchmark_names("voc21")[11] == "diningtable" and benchmark_queries("voc21")[11] == ["table"]
    assert benchmark_names("coco-stuff")[9] == "traffic light"
    assert benchmark_queries("coco-stuff")[9] == ["trafficlight"]
    assert "chest of drawers" in benchmark_names("ade20k")
    assert benchmark_queries("ade847")[1] == ["building, edifice"]
    assert benchmark_names("context459")[2] == benchmark_queries("context459")[2][0] == "air conditioner"
    for key in BENCHMARKS:
        names = benchmark_names(key)
        assert len(set(names)) == len(names) and all(name == " ".join(name.split()) for name in names)


def test_the_only_published_word_in_two_classes():
    vocabulary = Vocabulary.benchmark("coco-object")
    owned = list(zip(vocabulary.query_index, vocabulary.queries, strict=True))
    assert [vocabulary.classes[c] for c, query in owned if query == "bed"] == ["background", "bed"]
    assert len({query for _, query in owned}) == len(owned) - 1


def test_unknown_lists_name_the_nearest():
    with pytest.raises(VocabularyError, match=r"no published list 'voc2'.*did you mean 'voc2[01]'"):
        Vocabulary.benchmark("voc2")
    with pytest.raises(VocabularyError, match=r"no variant 'sfp'.*P, S, SFP, clear"):
        Vocabulary.benchmark("voc21", "sfp")
    with pytest.raises(VocabularyError, match=r"ade847 has no variant 'S'.*choose one of P"):
        Vocabulary.benchmark("ade847", "S")


def test_lists_are_read_without_torch():
    code = (
        "import sys, segloop.words.vocabulary as v; v.Vocabulary(v.parse_classes('a, b'));"
        "v.Vocabulary.benchmark('ade20k'); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- a user's own list


def test_synonyms_and_templates():
    vocabulary = Vocabulary(["road", "car | automobile", " tree  trunk "])
    assert vocabulary.classes == ["road", "car", "tree trunk"]
    assert vocabulary.queries == ["road", "car", "automobile", "tree trunk"]
    assert vocabulary.query_index == (0, 1, 1, 2)
    assert vocabulary.lines() == ["road", "car | automobile", "tree trunk"]
    assert vocabulary.background is vocabulary.embeddings is vocabulary.source is None
    assert vocabulary.templates == template_sets()["openai80"]
    assert Vocabulary(["a"], templates="plain").templates == ("{}",)
    assert Vocabulary(["a"], templates=["my {}!"]).templates == ("my {}!",)


def test_a_vocabulary_is_frozen():
    words = ["road"]
    vocabulary = Vocabulary(words)
    words.append("car")
    assert vocabulary.classes == ["road"]
    with pytest.raises(AttributeError):
        vocabulary.background = 0
    first = Vocabulary.benchmark("voc20")
    first.classes.append("mine")
    assert len(Vocabulary.benchmark("voc20").classes) == 20


def test_background_of_general_words():
    vocabulary = Vocabulary(["car", "Road | TREE", "tree house"], background=True)
    assert vocabulary.classes == ["background", "car", "Road", "tree house"]
    assert vocabulary.background == 0
    words = [q for q, c in zip(vocabulary.queries, vocabulary.query_index, strict=True) if c == 0]
    assert "sky" in words and len(words) == 24 and not {"road", "tree", "background"} & set(words)
    general = Vocabulary(["x"], background=True).queries[:26]
    assert Vocabulary(general, background=True).queries[0] == "background"  # every general word is a class


def test_background_in_the_list():
    vocabulary = Vocabulary(["sky | wall", "car"], background=0)
    assert (vocabulary.background, vocabulary.classes) == (0, ["sky", "car"])


@pytest.mark.parametrize("background", [False, 1, -1, "sky", 0.0, [0]])
def test_other_backgrounds(background):
    with pytest.raises(VocabularyError, match=r"allowed are None, True and 0; put the background"):
        Vocabulary(["sky", "car"], background=background)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "list is empty"),
        ("road, car", r"came as str .*parse_classes"),
        (Path("classes.txt"), "read_class_file"),
        (7, "not as a list of names"),
        (["road", 7], "class 2 is int"),
        (["road", " "], "class 2 has an empty name"),
        (["car||auto"], r"class 1 has an empty name \('car\|\|auto'\); remove"),
        (["|car"], "empty name"),
        (["car", "Car"], "'Car' is named twice"),
        (["car | auto", "AUTO"], "'AUTO' is named twice"),
        (["car | car"], "'car' is named twice"),
    ],
)
def test_class_lists_that_make_no_sense(classes, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary(classes)


def test_a_background_beside_an_added_one():
    with pytest.raises(VocabularyError, match="pass background=0"):
        Vocabulary(["Background", "car"], background=True)


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ("openai8", "no template set 'openai8'; did you mean 'openai80'"),
        ("", "no template set"),
        ([], "list of templates is empty"),
        (["a photo"], "exactly one {}"),
        (["{} and {}"], "exactly one {}"),
        (["{name}"], "exactly one {}"),
        ([3], "exactly one {}"),
        (None, "exactly one {}"),
    ],
)
def test_templates_that_make_no_sense(templates, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary(["car"], templates=templates)


# --- lists as text

SIGNS = "|,#;:=\"'[]{}()<-*\u20220123456789"  # what separates, numbers, quotes or lists names
NAME = st.text(st.characters(exclude_characters=SIGNS, exclude_categories=["C", "Z"]), min_size=1, max_size=8)
WORDS = st.lists(NAME, min_size=1, max_size=3).map(" ".join).filter(lambda name: name.casefold() not in ALONE)
CLASS_LISTS = st.lists(WORDS, min_size=1, max_size=12, unique_by=str.casefold).flatmap(
    lambda names: st.lists(st.booleans(), min_size=len(names), max_size=len(names)).map(
        lambda joins: grouped(names, joins)
    )
)


def grouped(names, joins):
    lines = names[:1]
    for name, join in zip(names[1:], joins[1:], strict=True):
        if join:
            lines[-1] += f" | {name}"
        else:
            lines.append(name)
    return lines


@settings(max_examples=60, deadline=None)
@given(CLASS_LISTS, st.sampled_from([", ", ",", " ,\t"]))
def test_parse_then_render(lines, comma):
    vocabulary = Vocabulary(parse_classes(comma.join(lines)))
    assert vocabulary.lines() == lines
    assert parse_classes(", ".join(vocabulary.lines())) == lines
    assert sorted(vocabulary.query_index) == list(vocabulary.query_index)
    assert vocabulary.classes == [line.split(" | ")[0] for line in lines]


@settings(max_examples=40, deadline=None)
@given(lines=CLASS_LISTS, end=st.sampled_from(["\n", "\r\n", "\r"]), mark=st.booleans())
def test_file_then_render(tmp_path_factory, lines, end, mark):
    path = tmp_path_factory.mktemp("lists") / "classes.txt"
    noisy = ["# what to find", "", *(f"  {line} # why" for line in lines), "   "]
    path.write_bytes(end.join(noisy).encode("utf-8-sig" if mark else "utf-8"))
    assert read_class_file(path) == lines


def test_parse_classes():
    assert parse_classes("road, car|automobile, tree") == ["road", "car | automobile", "tree"]
    for text in ("road;car|automobile; tree", "road\ncar|automobile\n\r\ntree\n", "road,\ncar | automobile, \ntree"):
        assert parse_classes(text) == ["road", "car | automobile", "tree"]
    assert parse_classes("grass sand water") == ["grass sand water"]
    for text in ("road,,tree", "road, ", "a||b", "road;"):
        with pytest.raises(VocabularyError, match="empty name"):
            parse_classes(text)


def test_templates_as_one_text_or_a_file(tmp_path):
    assert Vocabulary(["road"], templates="a map of {}").templates == ("a map of {}",)
    path = tmp_path / "templates.txt"
    path.write_text("# mine\na map of {}\n\n  {} from above.\n", encoding="utf-8-sig")
    assert Vocabulary(["road"], templates=str(path)).templates == ("a map of {}", "{} from above.")


def test_class_file_with_commas_and_hashes(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("building, edifice\nF# sheet music | C#\nNew\u2028line\n")
    assert read_class_file(str(path)) == ["building, edifice", "F# sheet music | C#", "New line"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read .*no such file.*one class a line"),
        (b"", "names no class; write one"),
        (b"# only\n\n  # comments\n", "names no class"),
        ("straße".encode("latin-1"), "is not UTF-8; save it again"),
        ("road\ncar\n".encode("utf-16"), "is not UTF-8"),
        ("road\ncar\n".encode("utf-16-le"), "is not UTF-8"),
        (b"road\n\ncar || auto\n", "line 3 of .* has an empty name"),
    ],
)
def test_class_files_that_make_no_sense(tmp_path, content, message):
    path = tmp_path / "classes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VocabularyError, match=message):
        read_class_file(path)


def test_a_folder_is_no_class_file(tmp_path):
    with pytest.raises(VocabularyError, match="cannot read"):
        read_class_file(tmp_path)


# --- rows given instead of text


def test_one_row_a_class():
    rows = torch.eye(4)[:2]
    vocabulary = Vocabulary(["road", "car | auto"], embeddings=rows)
    assert (vocabulary.classes, vocabulary.queries) == (["road", "car"], ["road", "car"])
    assert vocabulary.query_index == (0, 1)
    rows.zero_()
    assert vocabulary.embeddings.equal(torch.eye(4)[:2])


def test_rows_in_any_order_and_dtype():
    for index in ([1, 0, 1], torch.tensor([1, 0, 1]), np.array([1, 0, 1])):
        vocabulary = Vocabulary(["a", "b"], background=0, embeddings=np.eye(3), query_index=index)
        assert vocabulary.queries == ["b", "a", "b"] and vocabulary.query_index == (1, 0, 1)
        assert vocabulary.embeddings.dtype == torch.float32 and vocabulary.background == 0
        assert vocabulary.lines() == ["a", "b"]
    torch.manual_seed(0)
    half = F.normalize(torch.randn(2, 512), dim=-1).half()
    assert Vocabulary(["a", "b"], embeddings=half).embeddings.equal(half.float())  # cast, not normalised again


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (torch.eye(3), {}, "3 rows of embeddings came for 2 classes; give query_index"),
        (torch.eye(3), {"query_index": [0, 1]}, "3 rows of embeddings came for 2 places"),
        (torch.eye(3), {"query_index": [0, 1, 2]}, "query_index holds 2, and there are 2 classes"),
        (torch.eye(3), {"query_index": [0, -1, 1]}, "query_index holds -1"),
        (torch.eye(3), {"query_index": [0, 0, 0]}, "class 'b' has no row"),
        (torch.eye(3), {"query_index": [0.0, 1.0, 1.0]}, "not a list of whole numbers"),
        (torch.eye(3), {"query_index": 1}, "not a list of whole numbers"),
        (torch.ones(2), {}, r"shape \(2,\); give one row a query"),
        (torch.ones(1, 2, 2), {}, "shape"),
        (torch.eye(2) * 1.01, {}, "row 0 of the embeddings has length 1.01, not 1; normalise"),
        (torch.eye(2) * torch.tensor([[1.0], [0.0]]), {}, "row 1 .* length 0"),
        (torch.full((2, 2), torch.nan), {}, "not finite"),
        (torch.empty(2, 0), {}, "length 0"),
        ("rows", {}, "not as numbers"),
        (torch.eye(2), {"background": True}, "background=True needs words"),
        (None, {"query_index": [0, 1]}, "query_index came without embeddings"),
    ],
)
def test_rows_that_make_no_sense(rows, more, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary(["a", "b"], embeddings=rows, **more)


# --- embedding and its cache


class HashEncoder:
    """Rows that depend on nothing but the text, and a record of what was asked."""

    fingerprint = "0123456789abcdef-and-more"

    def __init__(self, width=6):
        self.width, self.calls = width, []

    def tokens_cut(self, texts):
        return [0] * len(texts)

    def encode_text(self, texts):
        self.calls.append(list(texts))
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") for text in texts]
        return torch.tensor(np.stack([np.random.default_rng(s).normal(size=self.width) for s in seeds])).float()

    @property
    def texts(self):
        return [text for call in self.calls for text in call]


class NoEncoder:
    fingerprint = HashEncoder.fingerprint
    tokens_cut = HashEncoder.tokens_cut

    def encode_text(self, texts):
        raise AssertionError(f"encoded again: {texts}")


def cache_files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_rows_are_the_mean_over_templates(tmp_path):
    vocabulary = Vocabulary(["car | {odd} auto", "road"], templates=["a {}.", "the {}"])
    rows = embed(vocabulary, HashEncoder(), tmp_path)
    encoder = HashEncoder()
    for row, query in zip(rows, vocabulary.queries, strict=True):
        pair = F.normalize(encoder.encode_text([f"a {query}.", f"the {query}"]), dim=-1)
        torch.testing.assert_close(row, F.normalize(pair.sum(0), dim=0))
    assert rows.shape == (3, 6) and rows.dtype == torch.float32


def test_a_row_rests_on_its_query_alone(tmp_path):
    encoder = HashEncoder()
    vocabulary = Vocabulary(["a", "b", "c"])
    embed(vocabulary, encoder, tmp_path)
    assert [len(call) for call in encoder.calls] == [80] * 3  # the batch is the same whatever is missing
    encoder = HashEncoder()
    embed(Vocabulary(["a"], templates=[f"{n} {{}}" for n in range(600)]), encoder, tmp_path)
    assert [len(call) for call in encoder.calls] == [512, 88]


def test_only_what_is_missing_is_encoded(tmp_path):
    first = embed(Vocabulary(["car", "road"]), HashEncoder(), tmp_path)
    encoder, seen = HashEncoder(), []
    more = embed(Vocabulary(["sky", "road", "car"]), encoder, tmp_path, lambda *step: seen.append(step))
    assert seen == [(1, 1)] and all("sky" in text for text in encoder.texts)
    assert more[[2, 1]].equal(first)
    assert embed(Vocabulary(["road", "car"]), NoEncoder(), tmp_path).equal(first[[1, 0]])
    assert not embed(Vocabulary(["car"], templates="plain"), HashEncoder(), tmp_path).equal(first[:1])


def test_cache_layout(tmp_path):
    row = embed(Vocabulary(["car"]), HashEncoder(), tmp_path)
    [file] = cache_files(tmp_path)
    assert file.parent == tmp_path / "text" / "0123456789abcdef" and len(file.stem) == 64
    with safe_open(file, "pt") as opened:
        assert opened.keys() == ["rows"] and opened.get_tensor("rows").equal(row)
        told = json.loads(opened.metadata()[METADATA])
    assert told["sha256"] == hashlib.sha256(row.numpy().tobytes()).hexdigest()
    assert (told["query"], told["text_tower"]) == ("car", HashEncoder.fingerprint) and "mean" in told["step"]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


def test_a_word_in_two_classes_is_encoded_once(tmp_path):
    encoder, seen = HashEncoder(), []
    vocabulary = Vocabulary.benchmark("coco-object", templates="plain")
    rows = embed(vocabulary, encoder, tmp_path, lambda *step: seen.append(step))
    assert rows.shape == (97, 6) and len(encoder.texts) == 96 == len(cache_files(tmp_path))
    assert seen == [(n, 96) for n in range(1, 97)]


def sealed(rows, dtype=torch.float32):
    rows = torch.as_tensor(rows, dtype=dtype)
    told = {"sha256": hashlib.sha256(rows.numpy().tobytes()).hexdigest()}
    return save({"rows": rows}, {METADATA: json.dumps(told)})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-3],
        lambda data: data[:-4],
        lambda data: data + b"\0\0\0\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-4] + bytes([data[-4] ^ 1]) + data[-3:],  # the last bit of a mantissa
        lambda data: sealed(torch.empty(0, 6)),
        lambda data: sealed(torch.empty(1, 0)),
        lambda data: sealed(torch.full((1, 6), torch.nan)),
        lambda data: sealed(torch.full((1, 6), torch.inf)),
        lambda data: sealed(torch.zeros(1, 6)),
        lambda data: sealed(torch.eye(6)[0]),
        lambda data: sealed(torch.eye(6)[:1], torch.float64),
        lambda data: sealed(torch.eye(2, 6)),  # rows of two templates
        lambda data: sealed(torch.eye(1, 5)),  # whole, but of another width
        lambda data: save({"rows": torch.eye(6)[:1]}),  # without what it says of itself
        lambda data: save({"rows": torch.eye(6)[:1]}, {METADATA: "{"}),
        lambda data: save({"rows": torch.eye(6)[:1]}, {METADATA: "[]"}),
        lambda data: save({"other": torch.eye(6)[:1]}, {METADATA: "{}"}),
    ],
)
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_damaged_file_is_rebuilt(tmp_path, damage, victim):
    vocabulary = Vocabulary(["car", "road", "sky"], templates="single")
    rows = embed(vocabulary, HashEncoder(), tmp_path)
    file = cache_files(tmp_path)[victim]
    good = file.read_bytes()
    file.write_bytes(damage(good))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embed(vocabulary, HashEncoder(), tmp_path).equal(rows)
    assert file.read_bytes() == good
    assert embed(vocabulary, NoEncoder(), tmp_path).equal(rows)


def test_rows_of_another_width_beside_a_new_query(tmp_path):
    embed(Vocabulary(["car", "road"]), HashEncoder(width=5), tmp_path)
    rows = embed(Vocabulary(["car", "sky", "road"]), HashEncoder(), tmp_path)
    assert rows.equal(embed(Vocabulary(["car", "sky", "road"]), HashEncoder(), tmp_path / "new"))


def test_files_of_earlier_versions_are_made_anew(tmp_path):
    rows = embed(Vocabulary(["car"]), HashEncoder(), tmp_path)
    [file] = cache_files(tmp_path)
    payload = torch.eye(6)[0].numpy().tobytes()
    file.rename(file.with_suffix(".bin")).write_bytes(hashlib.sha256(payload).digest() + payload)
    assert embed(Vocabulary(["car"]), HashEncoder(), tmp_path).equal(rows)
    assert embed(Vocabulary(["car"]), NoEncoder(), tmp_path).equal(rows)


def test_a_folder_in_the_place_of_a_file(tmp_path):
    rows = embed(Vocabulary(["car"]), HashEncoder(), tmp_path)
    [file] = cache_files(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.warns(UserWarning, match="not kept"):
        assert embed(Vocabulary(["car"]), HashEncoder(), tmp_path).equal(rows)


def test_a_cache_that_cannot_be_written_warns_once(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.warns(UserWarning, match="not kept for the next time") as caught:
        rows = embed(Vocabulary(["car", "road", "sky"]), HashEncoder(), blocked)
    assert len(caught) == 1 and rows.shape == (3, 6)


def test_place_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "mine"))
    embed(Vocabulary(["car"]), HashEncoder())
    assert len(cache_files(tmp_path / "mine" / "text")) == 1
    monkeypatch.setenv("SEGLOOP_CACHE", "~/segloop-cache")
    assert cache_root() == Path.home() / "segloop-cache"
    monkeypatch.setenv("SEGLOOP_CACHE", "")
    assert "segloop" in str(cache_root())


def test_given_rows_need_no_encoder(tmp_path):
    vocabulary = Vocabulary(["a", "b"], embeddings=torch.eye(2).double())
    rows = embed(vocabulary, None, tmp_path)
    assert rows.equal(torch.eye(2)) and rows.dtype == torch.float32
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0])
def test_a_broken_encoder_is_named_and_not_kept(tmp_path, bad):
    encoder = HashEncoder()
    encoder.encode_text = lambda texts: torch.full((len(texts), 6), bad)
    with pytest.raises(ModelError, match="no finite direction for 'car'"):
        embed(Vocabulary(["car"]), encoder, tmp_path)
    assert not cache_files(tmp_path)


def test_long_work_says_how_long(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(embeddings.time, "monotonic", lambda: clock[0])

    class Slow(HashEncoder):
        def encode_text(self, texts):
            clock[0] += 6
            return super().encode_text(texts)

    with pytest.warns(Notice) as said:
        embed(Vocabulary([f"thing {n}" for n in range(100)]), Slow(), tmp_path)
    lines = [str(line.message) for line in said]
    assert lines[0].startswith("8 of 100 words are encoded in 80 templates, about 9 min left; rows are kept")
    assert [line.split()[0] for line in lines] == ["8", *(str(n) for n in range(10, 101, 10))]
    assert lines[5] == "50 of 100 words are encoded in 80 templates, about 5 min left"


def test_short_work_says_nothing(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(embeddings.time, "monotonic", lambda: next(clock) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed(Vocabulary([f"thing {n}" for n in range(100)]), HashEncoder(), tmp_path)


def test_more_classes_than_a_map_holds():
    words = [f"thing {n}" for n in range(2**16)]
    for rows in ({}, {"embeddings": torch.ones(2**16, 1)}):
        with pytest.raises(VocabularyError, match="65536 classes came, and a label map holds 65535; give fewer"):
            embed(Vocabulary(words, **rows), NoEncoder())
    synonyms = Vocabulary(["thing"], embeddings=torch.ones(2**16, 1), query_index=[0] * 2**16)
    with pytest.warns(Notice, match="compared with 65536 words: a large photo may take many minutes"):
        assert len(embed(synonyms, NoEncoder())) == 2**16


def embed_often(folder, gate, results):
    words = Vocabulary([f"thing {n}" for n in range(30)], templates="openai7")
    gate.wait()
    rows = [embed(words, HashEncoder(), folder / str(turn)) for turn in range(5)]
    results.put(hashlib.sha256(torch.stack(rows).numpy().tobytes()).hexdigest())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="starting torch anew is slow")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_write_one_cache(tmp_path):
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(2), context.SimpleQueue()
    workers = [context.Process(target=embed_often, args=(tmp_path, gate, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    words = Vocabulary([f"thing {n}" for n in range(30)], templates="openai7")
    rows = torch.stack([embed(words, NoEncoder(), tmp_path / str(turn)) for turn in range(5)])
    own = hashlib.sha256(rows.numpy().tobytes()).hexdigest()
    assert {results.get(), results.get(), own} == {own}
    assert not list(tmp_path.rglob("*.part"))


def test_data_files_stay_small():
    folder = Path(sys.modules[Vocabulary.__module__].__file__).parent / "classes"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40_000
    for path in folder.iterdir():
        json.loads(path.read_text(encoding="utf-8"))
    assert {path.stem for path in folder.iterdir()} >= {*BENCHMARKS, "words", "templates"}
