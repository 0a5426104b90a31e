"""CLIP models that the published figures and the tests rest on (spec 0.2)."""

MODELS: dict[str, dict[str, str]] = {
    "tiny": {
        "vision": "patch 8, bundled",
        "about": "grounds and colours of drawn scenes only: for a first look and for tests",
    },
    "openai/clip-vit-base-patch16": {"vision": "ViT-B/16, 224 px", "about": "the published default"},
    "openai/clip-vit-large-patch14": {"vision": "ViT-L/14, 224 px", "about": "published"},
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": {"vision": "ViT-H/14, 224 px", "about": "published, exact GELU"},
}
