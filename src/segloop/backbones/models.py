"""Networks that published figures and the tests rest on: CLIP models and guides by name (spec 0.2, 2.5)."""

from dataclasses import dataclass

DEFAULT_CLIP = "openai/clip-vit-base-patch16"
SIZES = {  # of the papers' tables: (patch, blocks); the first of a shape is what a network of that shape is
    "ViT-B/16": (16, 12),
    "ViT-L/14": (14, 24),
    "ViT-H/14": (14, 32),
    "ViT-B/16 (LAION-2B)": (16, 12),
}


@dataclass(frozen=True)
class ClipRow:
    """A CLIP that is known to fit."""

    vision: str  # its vision tower, for lists
    about: str
    size: str | None = None  # as the papers' tables call it; None: in no table


EXPERIMENTAL = "experimental, in no published table"
MODELS = {
    "tiny": ClipRow("patch 8, bundled", "grounds and colours of drawn scenes only: for a first look and for tests"),
    "tiny-clip8": ClipRow("patch 8, bundled", "the same words, learnt from captions alone: shows what methods mend"),
    DEFAULT_CLIP: ClipRow("ViT-B/16, 224 px", "the published default", "ViT-B/16"),
    "openai/clip-vit-large-patch14": ClipRow("ViT-L/14, 224 px", "published", "ViT-L/14"),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": ClipRow("ViT-H/14, 224 px", "published, exact GELU", "ViT-H/14"),
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K": ClipRow("ViT-B/16, 224 px", "LPOSS's, exact GELU", "ViT-B/16 (LAION-2B)"),
    "google/siglip2-base-patch16-256": ClipRow("ViT-B/16, 256 px", EXPERIMENTAL),
    "google/tipsv2-b14": ClipRow("ViT-B/14, 448 px", EXPERIMENTAL),
}


@dataclass(frozen=True)
class GuideRow:
    """What stands behind a short name of a vision model."""

    hub: str  # hub id
    kind: str
    patch: int  # side in pixels
    note: str
    published: bool = True  # whether a table of the papers has it
    bundled: bool = False  # lies beside this file; downloads nothing


GUIDES = {
    "dino": GuideRow("facebook/dino-vitb8", "dino", 8, "ViT-B/8, 768 channels: the published default"),
    "dino-b16": GuideRow("facebook/dino-vitb16", "dino", 16, "ViT-B/16, 768 channels: a quarter of the grid"),
    "dino16": GuideRow("facebook/dino-vitb16", "dino", 16, "the same as dino-b16, as lposs has it"),
    "dinov2": GuideRow("facebook/dinov2-with-registers-base", "dinov2", 14, "ViT-B/14, 4 registers: published"),
    "dinov2-large": GuideRow(
        "facebook/dinov2-with-registers-large", "dinov2", 14, "ViT-L/14, 4 registers: published, for corrclip-v2"
    ),
    "dinov2-plain": GuideRow("facebook/dinov2-base", "dinov2", 14, "ViT-B/14 without registers"),
    "dinov3": GuideRow(
        "facebook/dinov3-vitb16-pretrain-lvd1689m",
        "dinov3",
        16,
        "ViT-B/16, gated: ask for access on its hub page, then `hf auth login`",
    ),
    "sam": GuideRow("facebook/sam-vit-base", "sam", 16, "ViT-B, 1024 px input, grid 64x64, 256 channels: published"),
    "radio": GuideRow(
        "nvidia/C-RADIOv4-H",
        "radio",
        16,
        "ViT-H/16, experimental: in no published table; weights in transformers' own format only, see their licence",
        published=False,
    ),
    "mae": GuideRow("timm/vit_base_patch16_224.mae", "mae", 16, "ViT-B/16, the pretraining encoder: published"),
    "mae-visualize": GuideRow(
        "facebook/vit-mae-base",
        "mae",
        16,
        "ViT-B/16, a different checkpoint than mae: trained without per-patch pixel normalisation",
    ),
    "tiny-dino": GuideRow(
        "tiny-dino", "dino", 8, "patch 8, bundled, 128 channels: drawn scenes only", published=False, bundled=True
    ),
    "tiny-sam": GuideRow(
        "tiny-sam",
        "sam",
        8,
        "bundled, 256 px input, grid 32x32, 64 channels: drawn scenes only",
        published=False,
        bundled=True,
    ),
}
MASKERS = {  # short names of what draws masks, and the hub id behind each
    "sam": "facebook/sam-vit-base",
    "sam2": "facebook/sam2-hiera-large",
    "tiny-sam": "tiny-sam",  # bundled
}
