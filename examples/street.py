"""A street photo: what is sure keeps its class, the rest has none, and the sure parts are counted.

python examples/street.py PHOTO [CLIP]
"""

import sys

from segloop import Filter, Segmenter

WORDS = ["road", "pavement | sidewalk", "car | automobile", "person in clothes | pedestrian", "tree", "building", "sky"]

photo = sys.argv[1]
segmenter = Segmenter.from_pretrained(*sys.argv[2:])
result = segmenter(photo, WORDS, keep=Filter(min_confidence=0.4))
for name, share in sorted(result.share.items(), key=lambda item: -item[1]):
    print(f"{share:6.1%}  {name}")
print(*result.save("segloop-out/street"), sep="\n")
