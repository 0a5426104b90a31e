"""Pages made from a folder's template, style and script."""

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from segloop.common.pages import filled


@pytest.fixture
def template(tmp_path):
    """Writes a folder's page.html, with a style and a script beside it -> the folder."""
    (tmp_path / "page.css").write_text("a > b { color: red }")
    (tmp_path / "page.js").write_text('if (a < b && "{{ c }}") {}')

    def write(content: str) -> Path:
        (tmp_path / "page.html").write_text(content)
        return tmp_path

    return write


def test_values_are_text_and_never_markup(template):
    folder = template("<p title='{{ name }}'>{{ name }}</p>\n")
    made = filled(folder, name="<img src=x onerror=alert(1)> & \"'")
    assert made == "<p title='{0}'>{0}</p>\n".format("&lt;img src=x onerror=alert(1)&gt; &amp; &#34;&#39;")


def test_style_and_script_go_in_as_they_are(template):
    made = filled(template("<style>{{ style }}</style><script>{{ script }}</script>"))
    assert made == '<style>a > b { color: red }</style><script>if (a < b && "{{ c }}") {}</script>'


def test_a_value_that_nobody_gave_is_an_error(template):
    for content in ("{{ name }}", "{% if name %}{% endif %}", "{{ given.name }}"):
        with pytest.raises(UndefinedError, match="name"):
            filled(template(content), given={})


def test_lines_of_logic_leave_no_trace(template):
    folder = template("<ul>\n  {% for item in items %}\n<li>{{ item }}</li>\n  {% endfor %}\n</ul>\n")
    assert filled(folder, items=[1, 2]) == "<ul>\n<li>1</li>\n<li>2</li>\n</ul>\n"


def test_json_keeps_its_order_and_cannot_end_its_script(template):
    assert filled(template("{{ told|tojson }}"), told={"b": "</script>", "a": 1}) == (
        '{"b": "\\u003c/script\\u003e", "a": 1}'
    )


def test_odd_bytes_of_a_file_name_pass(template):
    assert filled(template("{{ name }}"), name="a\udcff.png") == "a\udcff.png"


def test_the_template_engine_waits_for_the_first_page():
    code = "import sys, segloop.common.pages, segloop.report.page; print('jinja2' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
