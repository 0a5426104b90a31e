"""Pages that need nothing else: a folder's page.html filled in, with its page.css and page.js inside."""

from pathlib import Path
from typing import Any


def filled(folder: Path, **values: Any) -> str:
    """`page.html` of a folder, filled with `values`; page.css and page.js beside it are `style` and `script` there.

    Whatever a value holds is shown as text: no name of a class or a file becomes markup. A value that the template
    names and nobody gave raises jinja2.UndefinedError.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # at import, it would slow `segloop --help`
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # its default sorts the keys
    ours = {
        name: Markup((folder / file).read_text(encoding="utf-8"))
        for name, file in (("style", "page.css"), ("script", "page.js"))
    }
    return environment.get_template("page.html").render(values | ours)
