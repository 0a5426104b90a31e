"""Frames of a video, two a second: how the shares of the classes change. Needs pip install 'segloop[video]'.

python examples/video.py CLIP.mp4 [CLIP]
"""

import sys

from segloop import Segmenter, iter_results

WORDS = ["grass", "sand", "water", "red | red thing"]

segmenter = Segmenter.from_pretrained(*sys.argv[2:])
for result in iter_results(sys.argv[1], segmenter, WORDS, fps=2):
    shares = "  ".join(f"{name} {share:.0%}" for name, share in result.share.items())
    print(f"{result.source}  {shares}")
