"""What `make demo` runs: the example pictures, with the bundled model or a real CLIP."""

import argparse
import sys
from pathlib import Path

REAL = "openai/clip-vit-base-patch16"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OUT = Path("demo-out")
GROUNDS = ["grass", "sand", "water", "red circle | red"]
PEOPLE = ["person", "flag", "rocket | space shuttle", "wall | studio backdrop"]
COLOURS = ["orange", "white", "black", "blue | purple"]  # all that tiny could say of a photo


def main(clip: str) -> None:
    """Segment a scene and a photo, and say where the pictures lie."""
    from segloop import SegloopError, Segmenter
    from segloop.common.console import quiet_libraries

    print(f"opening {clip} ...", flush=True)
    quiet_libraries()
    try:
        segmenter = Segmenter.from_pretrained(clip)
        scene = segmenter(EXAMPLES / "scene-1.png", GROUNDS)
        photo = segmenter(EXAMPLES / "astronaut.jpg", COLOURS if clip == "tiny" else PEOPLE)
        paths = [
            result.save(OUT / f"{Path(result.source or '').stem}", ["overlay", "png", "json"])[0]
            for result in (scene, photo)
        ]
    except SegloopError as error:
        sys.exit(f"error: {error}")
    print(f"\na drawn scene, asked for {', '.join(scene.classes)}:\n  {paths[0].resolve()}")
    beyond = clip == "tiny"
    caption = "a photo, beyond this model (it knows grounds and colours of drawn scenes)" if beyond else "a photo"
    print(f"{caption}, asked for {', '.join(photo.classes)}:\n  {paths[1].resolve()}\n")
    if beyond:
        print(
            "A real CLIP is fetched once (about 600 MB) and kept in the Hugging Face cache; add --offline after that,"
        )
        print(f"or keep a folder of your own with `hf download {REAL} --local-dir clip` and give --clip ./clip.")
        print(f"make demo CLIP={REAL}")
    else:
        print(f'segloop segment YOUR.jpg --classes "road, car|automobile, tree, sky" --clip {clip}')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", default="tiny")
    main(parser.parse_args().clip)
