"""A painting: two methods side by side, and where they differ.

python examples/artwork.py PICTURE [CLIP]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from segloop import Segmenter

WORDS = ["sky", "water | sea", "field | grass", "person | figure", "boat", "house", "wood | frame"]

picture = sys.argv[1]
maps = []
for options in ({"method": "sclip"}, {"method": "fsa", "host": "sclip"}):
    segmenter = Segmenter.from_pretrained(*sys.argv[2:], **options)
    maps.append(segmenter(picture, WORDS))
host, fed = maps
differ = host.labels != fed.labels
print(f"feedback changes {differ.mean():.1%} of the pixels")
views = [np.asarray(one.overlay(legend=False)) for one in maps]
Path("segloop-out").mkdir(exist_ok=True)
Image.fromarray(np.concatenate(views, 1)).save("segloop-out/artwork.png")
print("segloop-out/artwork.png")
