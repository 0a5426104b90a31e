"""A photo from above: labels in another language than the words, and the area of each class.

python examples/aerial.py PHOTO METRES_PER_PIXEL [CLIP]
"""

import sys

from segloop import Segmenter

WORDS = {
    "Wiese": ["grass", "meadow seen from above"],
    "Wasser": ["water", "lake seen from above"],
    "Boden": ["sand", "bare soil seen from above"],
    "Dach": ["brick", "roof seen from above"],
}

photo, metres = sys.argv[1], float(sys.argv[2])
segmenter = Segmenter.from_pretrained(*sys.argv[3:])
result = segmenter(photo, WORDS)
for name in result.classes:
    print(f"{result.mask(name).sum() * metres**2:12,.0f} m2  {name}")
print(*result.save("segloop-out/aerial"), sep="\n")
