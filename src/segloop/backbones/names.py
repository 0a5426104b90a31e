"""What people give for a model, and what they mean by it: addresses, names of other libraries, slips of the pen."""

import difflib
import re
from urllib.parse import urlsplit

from ..errors import ModelError
from .models import DEFAULT_CLIP, GUIDES, MODELS

CLIPS = {  # (size, patch, extra) of an OpenAI or OpenCLIP name -> a hub id that transformers opens
    ("b", "32", ""): "openai/clip-vit-base-patch32",
    ("b", "16", ""): DEFAULT_CLIP,
    ("l", "14", ""): "openai/clip-vit-large-patch14",
    ("l", "14", "336"): "openai/clip-vit-large-patch14-336",
    ("b", "32", "laion"): "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    ("b", "16", "laion"): "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    ("l", "14", "laion"): "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    ("h", "14", ""): "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    ("g", "14", ""): "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
    ("bigg", "14", ""): "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
SIZES = {"base": "b", "large": "l", "huge": "h", "giant": "g", "bigg": "bigg", "gigantic": "bigg"}
VIT = re.compile(
    r"vit[-_ ]?(?P<size>bigg|base|large|huge|gigantic|giant|b|l|h|g)[-_/ ]*p?(?:atch)?[-_ ]?(?P<patch>14|16|32)"
    r"(?!\d)(?:.*?(?P<pixels>336))?",
    re.IGNORECASE,
)
SHORT = re.compile(
    rf"(openai[/:])?(clip[-_ :]?)?{VIT.pattern}([@_-]?336(px)?|[-_]?(quickgelu|224|openai))*", re.IGNORECASE
)
RESNET = re.compile(r"(openai[/:])?(clip[-_]?)?(rn|resnet[-_]?)(50|101)(x\d+)?([-_]quickgelu)?", re.IGNORECASE)
OTHER_FAMILIES = ("siglip", "eva", "coca", "roberta", "xlm", "mobileclip", "convnext", "metaclip", "dino", "mae")
HUB_HOSTS = ("huggingface.co", "hf.co", "hf-mirror.com")
ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|git@)(?P<rest>.*)", re.IGNORECASE)
PREFIX = re.compile(r"(hf-hub|hf_hub|hub|huggingface|local-dir|open_clip|openclip|model|timm):/*", re.IGNORECASE)
REVISION = re.compile(r"(?P<model>[\w.-]+/[\w.-]+)[@:](?P<revision>[\w./-]+)")
FORMS = f"a hub id such as {DEFAULT_CLIP}, a local folder, or tiny"


def same_clip(name: str) -> str | None:
    """The hub id that transformers opens of a CLIP that OpenAI, OpenCLIP or timm names otherwise, or None."""
    found = VIT.search(name)
    if found is None or any(word in name.lower() for word in OTHER_FAMILIES):
        return None
    size = found["size"].lower()
    key = (SIZES.get(size, size), found["patch"])
    extra = "336" if found["pixels"] else "laion" if "laion" in name.lower() else ""
    return CLIPS.get((*key, extra)) or CLIPS.get((*key, ""))


def nearest_model(name: str) -> str | None:
    """The known hub id that a name comes close to, or None."""
    known = {*CLIPS.values(), *(row.hub for row in GUIDES.values()), *MODELS}
    spelt = {hub.lower(): hub for hub in known}
    close = difflib.get_close_matches(name.strip(" /").lower(), spelt, n=1, cutoff=0.85)
    found = spelt[close[0]] if close else same_clip(name)
    return found if found != name else None


def misnamed(name: str, guide: bool = False) -> ModelError | None:
    """What is wrong with a name that is neither a folder here nor kept in the hub's cache, or None.

    For a guide, names of CLIPs mean nothing.
    """
    if not name.strip():
        return ModelError("the model has no name", f"give {FORMS}")
    if address := ADDRESS.fullmatch(name.strip()):
        return _address(name, re.sub(r":", "/", address["rest"], count=1) if "git@" in name else address["rest"])
    host, _, rest = name.strip().partition("/")
    if host.lower().removeprefix("www.") in HUB_HOSTS and rest:
        return _address(name, name.strip())
    if prefix := PREFIX.match(name):
        return _another(name, "is named as another library does", name[prefix.end() :].strip("/"))
    if not guide and RESNET.fullmatch(name):
        return ModelError(f"model {name!r} is a ResNet, which has no patches", f"give a ViT, {FORMS}")
    if not guide and SHORT.fullmatch(name) and name not in CLIPS.values() and (known := same_clip(name)):
        return ModelError(f"model {name!r} is not named as the hub names it", f"give {known}")
    if named := REVISION.fullmatch(name):
        return _of_a_revision(name, named["model"], named["revision"])
    return None


def _address(name: str, rest: str) -> ModelError:
    """An address of the hub names a hub id; any other is not fetched."""
    if name.lower().startswith("file:"):
        return ModelError(f"model {name!r} is an address", f"give the folder as a path, {'/' + rest.lstrip('/')}")
    parts = urlsplit(f"//{rest}")
    path = [part for part in parts.path.split("/") if part]
    ours = is_hub((parts.hostname or "").removeprefix("www.")) or name.lower().startswith("hf://")
    if name.lower().startswith("hf://"):
        path = [part for part in rest.split("/") if part]
    if not ours:
        known = same_clip(path[-1]) if path else None
        remedy = f"give {known}, which the hub has" if known else "download it and give the folder, or give a hub id"
        return ModelError(f"model {name!r} is an address, and segloop fetches from the hub only", remedy)
    if path and path[0] in ("datasets", "spaces"):
        return ModelError(f"model {name!r} is one of the hub's {path[0]}, not a model", f"give {FORMS}")
    path = path[1:] if path and path[0] == "models" else path
    if path[:2] == ["api", "models"]:
        path = path[2:]
    found = "/".join(path[:2]).removesuffix(".git")
    if path[2:3] in (["tree"], ["blob"], ["resolve"]) and path[3:4] not in ([], ["main"]):
        return _of_a_revision(name, found, path[3])
    return _another(name, "is an address", found)


def _of_a_revision(name: str, found: str, revision: str) -> ModelError:
    remedy = f"give {found}, or for another `hf download {found} --revision {revision} --local-dir DIR` and DIR"
    return ModelError(f"model {name!r} names a revision, and segloop opens main", remedy)


def _another(name: str, what: str, found: str) -> ModelError:
    """The same model under the id that segloop takes."""
    if found.count("/") == 1:
        return ModelError(f"model {name!r} {what}", f"give its hub id, {found}")
    known = same_clip(found)
    return ModelError(f"model {name!r} {what}", f"give {known or FORMS}")


def is_hub(host: str) -> bool:
    """Whether an address of this host means the hub, also where HF_ENDPOINT names another."""
    from huggingface_hub import constants

    return host.lower() in (*HUB_HOSTS, urlsplit(constants.ENDPOINT).hostname)
