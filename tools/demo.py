"""What `make demo` runs: the example pictures, with the bundled model or a real CLIP."""

import argparse
import sys
from pathlib import Path

REAL = "openai/clip-vit-base-patch16"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OUT = Path("demo-out")
SCENES = ("scene-1.png", "scene-2.png", "scene-3.png")  # what the bundled model can read
PHOTO = "astronaut.jpg"  # what it cannot
FED, AILING = 1, "tiny-clip8"  # on which scene feedback is shown, and of which model
SEEN = ["grass", "sand", "water", "brick", "wood", "snow", "red", "green", "blue", "yellow", "purple", "orange"]
FEEDBACK = "\nthe second scene under plain CLIP attention, and with feedback, of a model trained on captions alone:"
GROUNDS = ["grass", "sand", "water", "red circle | red"]
PEOPLE = ["person", "flag", "rocket | space shuttle", "wall | studio backdrop"]


def main(clip: str) -> None:
    """Segment pictures that the model can read, and say where the results lie."""
    from segloop import SegloopError, Segmenter
    from segloop.common.console import quiet_libraries

    print(f"opening {clip} ...\n", flush=True)
    quiet_libraries()
    asked = [(name, GROUNDS) for name in SCENES] if clip == "tiny" else [(SCENES[0], GROUNDS), (PHOTO, PEOPLE)]
    try:
        segmenter = Segmenter.from_pretrained(clip)
        for name, words in asked:
            result = segmenter(EXAMPLES / name, words)
            picture = result.save(OUT / Path(name).stem, ["overlay", "png", "json"])[0]
            shares = ", ".join(f"{word} {share:.0%}" for word, share in result.share.items())
            print(f"examples/{name}: {shares}\n  {picture.resolve()}")
        if clip == "tiny":
            print(f"{FEEDBACK}\n  {feedback().resolve()}")
    except SegloopError as error:
        sys.exit(f"error: {error}")
    print(f"\n{BEYOND if clip == 'tiny' else ''}{YOURS.format(clip=clip)}")


def feedback() -> Path:
    """A scene, plain CLIP attention and feedback on it, side by side: what the method is about."""
    import numpy as np
    from PIL import Image

    from segloop import Segmenter
    from segloop.results.overlay import draw_overlay

    photo = EXAMPLES / SCENES[FED]
    views = [Image.open(photo).convert("RGB")]
    for options in ({"method": "clip"}, {"host": "clip"}):
        result = Segmenter.from_pretrained(AILING, **options)(photo, SEEN)
        drawn = draw_overlay(np.asarray(views[0]), result.labels, result.classes, alpha=0.75, legend=False)
        views.append(drawn.resize(views[0].size))
    width, height = views[0].size
    sheet = Image.new("RGB", (3 * (width + 8) - 8, height), "white")
    for number, view in enumerate(views):
        sheet.paste(view, (number * (width + 8), 0))
    path = OUT / "feedback.png"
    sheet.save(path)
    return path


BEYOND = f"""tiny, the bundled model, knows six grounds and eight colours of such drawn scenes, and nothing of
photographs: for those take a real CLIP, fetched once (about 600 MB, kept in the Hugging Face cache) by
  make demo CLIP={REAL}
"""
YOURS = """your own picture:
  .venv/bin/segloop segment YOUR.jpg --classes "grass, sand, water, red" --clip {clip}
or as a page in the browser:
  .venv/bin/pip install -e '.[demo]' && .venv/bin/segloop demo --clip {clip}"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", default="tiny")
    main(parser.parse_args().clip)
