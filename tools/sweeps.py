"""What `tools/performance.py` lets grow, point by point; `benchmarks/point.py` measures each."""

from dataclasses import dataclass

Number = int | float | str


@dataclass(frozen=True)
class Sweep:
    """One thing grows, all else stays."""

    key: str
    title: str
    axis: str
    points: tuple[Number, ...]
    small: tuple[Number, ...]  # to try the command
    about: str
    minutes: float  # that one round takes, on two cores with bfloat16, starts of processes included


SWEEPS = (
    Sweep(
        "photo-size",
        "Size of the photo, 21 classes",
        "megapixels",
        (0.2, 0.5, 1, 3, 6, 12, 24, 48),
        (0.05, 0.1, 0.2, 0.5),
        "The network sees the photo at short side 336, so that only the way to that size and back grows.",
        3,
    ),
    Sweep(
        "photo-size-171",
        "Size of the photo, 171 classes",
        "megapixels",
        (0.2, 0.5, 1, 3, 6, 12, 24, 48),
        (0.05, 0.1, 0.2, 0.5),
        "The same with the words of COCO-Stuff.",
        6,
    ),
    Sweep(
        "classes",
        "Classes",
        "classes",
        (2, 21, 171, 847, 2000, 5000),
        (2, 8, 32, 128),
        "A photo of 500x375, 6 windows; rows of text are made before.",
        3,
    ),
    Sweep(
        "windows",
        "Windows of one photo",
        "windows",
        (224, 336, 448, 672, 896, 1344),
        (224, 288, 336, 448),
        "A photo of 500x375 brought to short sides of 224 to 1344 pixels, windows of 224 with stride 112.",
        4,
    ),
    Sweep(
        "photos",
        "Photos in one stream",
        "photos",
        (1, 2, 4, 8, 16, 32, 64),
        (1, 2, 4, 8),
        "Photos of 500x375 through `Segmenter.stream`, 6 windows each; seconds are those of all together.",
        6,
    ),
    Sweep(
        "guide-tokens",
        "Patches of the guide",
        "patches",
        (196, 400, 784, 1764, 3136, 4096),
        (16, 36, 64, 144),
        "One window of 112 to 512 pixels by FSA on ProxyCLIP with DINO ViT-B/8: both networks, attention, feedback.",
        4,
    ),
    Sweep(
        "feedback-tokens",
        "Patches of the guide, the feedback stage alone",
        "patches",
        (196, 400, 784, 1764, 3136, 4096),
        (16, 36, 64, 144),
        "Attention and values at hand, float32; the published form holds an N x N x Q tensor here.",
        2,
    ),
    Sweep(
        "clip-size",
        "Size of CLIP: B/16, L/14, H/14",
        "million weights",
        ("b16", "l14", "h14"),
        ("b16", "l14", "h14"),
        "One window of 224 by SCLIP's attention; the axis counts weights of the vision tower.",
        4,
    ),
)
