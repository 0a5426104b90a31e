"""The hub, asked once for a model: which files it has. Those that segloop reads go into the hub's own cache.

Everything is then opened from there, as from any local folder, so that settings, tokenizer, weights and guide never ask
again, and a hub that cannot be reached costs one failed connection.
"""

import re
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.system import FULL
from ..errors import MissingModelError, ModelError, Notice
from .folders import check_indexes, without_config
from .kept import CONFIGS, WEIGHTS, has_config, has_weights, is_whole, kept_folder, parts_of, weights_folder
from .pixels import PREPROCESSORS
from .trouble import Trouble, trouble_of

SMALL = {  # what is read beside the weights
    *CONFIGS,
    "segloop.json",
    *PREPROCESSORS,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
}
QUICK = 4  # seconds that the hub has to answer where everything is on this machine already
FORGET = 60.0  # seconds after which a hub that could not be reached is asked again
LARGE = 32 * 10**6  # bytes; from there on, a download is worth a line


@dataclass(frozen=True)
class Listing:
    """What the hub has of a model."""

    name: str
    commit: str
    sizes: dict[str, int]  # file -> bytes, 0 where the hub does not say

    @property
    def folder(self) -> Path:
        """Where the cache keeps this commit."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        repository = repo_folder_name(repo_id=self.name, repo_type="model")
        return Path(constants.HF_HUB_CACHE).expanduser().resolve() / repository / "snapshots" / self.commit


@dataclass
class Answers:
    """What the hub has said to this process: every model is asked for once, and a failure spares the next attempts."""

    folders: dict[tuple[str, str], Path] = field(default_factory=dict)  # (cache, name) -> snapshot
    listings: dict[Path, Listing] = field(default_factory=dict)  # snapshot -> what else the hub has of it
    trouble: Trouble | None = None
    since: float = 0.0  # of time.monotonic

    def recent(self) -> Trouble | None:
        """Why the hub could not be reached a moment ago."""
        if self.trouble and time.monotonic() - self.since > FORGET:
            self.trouble = None
        return self.trouble

    def forget(self) -> None:
        """As if nothing had been asked yet."""
        self.folders.clear()
        self.listings.clear()
        self.trouble = None


answers = Answers()


def fetch(name: str) -> Path:
    """A hub id -> its snapshot in the cache, small files as the hub has them now; weights come with `fetch_weights`.

    Where the hub cannot be asked, what was fetched earlier is taken, and a warning says so. Raises ModelError where
    nothing was, or where the weights are missing.
    """
    from huggingface_hub import constants

    key = (str(constants.HF_HUB_CACHE), name)
    known = answers.folders.get(key)
    if known is None or not has_config(known):
        known = answers.folders[key] = _fetched(name)
    if not has_config(known):
        raise without_config(name, files_of(str(known)))
    return known


def _fetched(name: str) -> Path:
    kept = kept_folder(name)
    whole = kept is not None and is_whole(kept)
    trouble, told = answers.recent(), True
    if trouble is None:
        told = False
        try:
            listing = _ask(name, quick=whole)
            answers.listings[listing.folder] = listing
            return _download(listing, SMALL & listing.sizes.keys(), listing.folder)
        except Exception as error:  # the client raises many kinds, and servers that are no hub make it raise others
            trouble = _remembered(name, error)
    if kept is None:
        answers.trouble = None  # who tries again has perhaps mended it
        raise trouble.kind(f"model {name!r} cannot be had ({trouble.reason})", trouble.remedy_for(name))
    if not whole:
        answers.trouble = None
        what = f"of model {name!r} only a part is on this machine, and no more can be had ({trouble.reason})"
        raise MissingModelError(what, trouble.remedy_for(name))
    if not told:
        whose = "the hub cannot be asked" if trouble.general else f"the hub does not give {name} again"
        spare = "--offline spares the attempt" if trouble.general else trouble.remedy_for(name)
        warnings.warn(f"{whose} ({trouble.reason}): what was fetched earlier is used; {spare}", stacklevel=2)
    return kept


def fetch_weights(folder: str, names: Sequence[str] = WEIGHTS) -> None:
    """Bring the weights of a snapshot that `fetch` gave; nothing where they are there, or where the folder is another.

    They are the first of `names` that the hub has. Raises ModelError where they cannot be had.
    """
    listing = answers.listings.get(Path(folder))
    if listing is None:
        return
    if has_weights(Path(weights_folder(folder, names)), names):
        _settle(listing)
        return
    wanted = next((name for name in names if name in listing.sizes), None)
    if wanted is None:
        return
    place = Path(folder)
    try:
        _download(listing, [wanted], place)
        check_indexes(listing.name, place)
        _download(listing, [part for part in parts_of(place / wanted) if part in listing.sizes], place)
    except ModelError:
        raise
    except Exception as error:
        trouble = _remembered(listing.name, error)
        answers.trouble = None
        what = f"the weights of {listing.name!r} cannot be had ({trouble.reason})"
        raise MissingModelError(what, trouble.remedy_for(listing.name)) from error
    _settle(listing)


def files_of(folder: str) -> set[str]:
    """The names of all files that the hub has of a snapshot that `fetch` gave; empty for any other folder."""
    listing = answers.listings.get(Path(folder))
    return set(listing.sizes) if listing else set()


def _ask(name: str, quick: bool) -> Listing:
    """One request. Not through the client's own methods, which ask for other things first."""
    from huggingface_hub import constants, get_session, get_token
    from huggingface_hub.utils import hf_raise_for_status, validate_repo_id

    validate_repo_id(name)
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    answer = get_session().get(
        f"{constants.ENDPOINT}/api/models/{name}/revision/main",
        params={"blobs": "true"},
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=min(QUICK, constants.HF_HUB_ETAG_TIMEOUT) if quick else constants.HF_HUB_ETAG_TIMEOUT,
    )
    hf_raise_for_status(answer)
    return _listing(name, answer.json())


def _listing(name: str, found: Any) -> Listing:
    commit, siblings = found["sha"], found["siblings"]
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError("no commit")
    return Listing(name, commit, {str(file["rfilename"]): int(file.get("size") or 0) for file in siblings})


def _download(listing: Listing, files: Iterable[str], folder: Path) -> Path:
    """Bring those files that are not there yet."""
    from huggingface_hub import hf_hub_download

    missing = sorted(file for file in files if not (folder / file).is_file())
    size = sum(listing.sizes[file] for file in missing)
    if size >= LARGE:
        warnings.warn(f"fetching {listing.name} from the hub, {size / 1e6:.0f} MB, once", Notice, stacklevel=2)
    for file in missing:
        hf_hub_download(listing.name, file, revision=listing.commit)
    return folder


def _settle(listing: Listing) -> None:
    """Let the cache's `main` be this commit, now that it is whole: an offline run then opens the same."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    own = next((config for config in CONFIGS if config in listing.sizes), CONFIGS[0])
    config = try_to_load_from_cache(listing.name, own)
    if not isinstance(config, str) or Path(config).parent.name != listing.commit:
        with suppress(Exception):  # a cache that cannot be written; offline, the newest whole snapshot is opened
            hf_hub_download(listing.name, own)


def _remembered(name: str, error: Exception) -> Trouble:
    """What went wrong, kept where it holds for every model. Raises what is no matter of the hub."""
    if isinstance(error, OSError) and error.errno in FULL:
        raise error
    trouble = trouble_of(name, error)
    if trouble.general:
        answers.trouble, answers.since = trouble, time.monotonic()
    return trouble
