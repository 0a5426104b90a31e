"""A result in supervision: drawn with its annotators. Needs pip install supervision opencv-python.

python examples/to_supervision.py PHOTO [CLIP]
"""

import sys
from pathlib import Path

import cv2
import supervision as sv

from segloop import Segmenter

WORDS = ["grass", "sand", "water", "red circle | red"]

image = cv2.imread(sys.argv[1])
segmenter = Segmenter.from_pretrained(*sys.argv[2:])
detections = segmenter(image, WORDS, channels="bgr").to_supervision()
names = [f"{name} {sure:.2f}" for name, sure in zip(detections["class_name"], detections.confidence, strict=True)]
drawn = sv.MaskAnnotator().annotate(image.copy(), detections)
drawn = sv.LabelAnnotator().annotate(drawn, detections, names)
Path("segloop-out").mkdir(exist_ok=True)
cv2.imwrite("segloop-out/supervision.png", drawn)
print("segloop-out/supervision.png")
