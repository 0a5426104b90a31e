"""What torch.hub.load finds: the public class by one call."""

import sys
from pathlib import Path
from typing import Any

dependencies = ["torch", "transformers", "safetensors", "numpy", "PIL", "tifffile", "filelock", "jinja2"]

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a checkout of the hub is not installed


def segmenter(model: str = "openai/clip-vit-base-patch16", **options: Any) -> Any:
    """`segloop.Segmenter.from_pretrained`; a call segments: segmenter("photo.jpg", ["road", "sky"])."""
    from segloop import Segmenter

    return Segmenter.from_pretrained(model, **options)
