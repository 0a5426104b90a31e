"""Why the hub did not give a model, in words, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import MissingModelError, ModelError
from .names import nearest_model

GATED = ("facebook/dinov3-", "facebook/sam3")  # the hub hands these out on request only


@dataclass(frozen=True)
class Trouble:
    """Why the hub could not be asked, or did not give."""

    reason: str
    remedy: str  # may hold {name}
    general: bool = True  # another model would fare alike
    gated: bool = False  # the hub has it, and does not give it

    @property
    def kind(self) -> type[ModelError]:
        """The error of a model that was never fetched."""
        return MissingModelError if self.general or self.gated else ModelError

    def remedy_for(self, name: str) -> str:
        """What to do for a model, which need not be the one that the hub was asked for."""
        return self.remedy.format(name=name)


STATUS = {  # of answers that have nothing to do with the model: what the hub means, and what helps
    407: ("the proxy wants a name and a password", "put them into HTTPS_PROXY"),
    408: ("it was too slow", "try again later"),
    429: ("it is asked too often", "try again in some minutes, or run `hf auth login`, which allows more"),
}
SERVER = ("it has trouble of its own", "try again later")
PORTAL = "log in to the network in a browser where it asks for that, and check HF_ENDPOINT and proxies"
CONNECT = "check the name and the connection, or fetch it once with `hf download {name}` and use --offline"
CONNECTION: tuple[tuple[str, str, str], ...] = (  # word in the error's kinds and text, what it means, what helps
    ("certificate", "its certificate is not trusted: {}", "point SSL_CERT_FILE at your network's certificates"),
    ("proxyerror", "the proxy does not let it through: {}", "check HTTPS_PROXY"),
    ("timeout", "no answer", ""),
    ("timed out", "no answer", ""),
    ("unsupportedprotocol", "the address is none: {}", "check HF_ENDPOINT"),
    ("invalidurl", "the address is none: {}", "check HF_ENDPOINT"),
)


def trouble_of(name: str, error: BaseException) -> Trouble:
    """What an error of the hub's client means for who wants the model `name`."""
    from huggingface_hub.errors import HFValidationError

    causes = list(_causes(error))
    if any(isinstance(cause, HFValidationError) for cause in causes):
        return Trouble("it is neither a folder here nor a hub id", _check(name), general=False)
    answered = next((cause for cause in causes if getattr(cause, "response", None) is not None), None)
    if answered is not None:
        return _refusal(name, answered)
    doors = (cause for cause in causes if type(cause) in (PermissionError, FileExistsError, NotADirectoryError))
    if door := next(doors, None):
        place = getattr(door, "filename", None) or "the hub's cache"
        return Trouble(f"{place} cannot be written", "set HF_HOME to a folder that can", general=False)
    if any(isinstance(cause, (KeyError, TypeError, AttributeError)) or _no_json(cause) for cause in causes):
        return Trouble(f"what answers at {_host()} is not the hub", PORTAL)
    said = _words(causes[-1])
    text = " ".join([type(cause).__name__ for cause in causes] + [str(cause) for cause in causes]).lower()
    for word, meaning, remedy in CONNECTION:
        if word in text:
            return Trouble(f"{_host()}: {meaning.format(said)}", remedy or CONNECT)
    return Trouble(f"{_host()}: {said}", CONNECT)


def access(name: str) -> str:
    """The remedy for a gated model."""
    return f"ask for access on https://huggingface.co/{name}, then run `hf auth login`"


def _refusal(name: str, error: Any) -> Trouble:
    """What a status code means."""
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

    status = int(error.response.status_code)
    told = any(key.lower().startswith("x-error") for key in error.response.headers)
    if isinstance(error, GatedRepoError) or (status in (401, 403) and name.startswith(GATED)):
        return Trouble("it is gated", access(name), general=False, gated=True)
    if isinstance(error, DisabledRepoError):
        return Trouble("the hub has closed it", "choose another model", general=False)
    token = status == 401 and "credentials" in error.response.headers.get("x-error-message", "").lower()
    if isinstance(error, RepositoryNotFoundError) or (status in (401, 404, 410) and not token):
        private = "where it is private, run `hf auth login`"
        return Trouble(f"the hub has none of this name, {status}", f"{_check(name)}; {private}", general=False)
    if status == 401:
        return Trouble("the hub does not accept your token, 401", "run `hf auth login` again, or unset HF_TOKEN")
    if status == 403:
        remedy = access(name) if told else f"look whether a proxy forbids it, or {access(name)}"
        return Trouble("it is not given to you, 403", remedy, general=False)
    meaning, remedy = STATUS.get(status, SERVER if status >= 500 else ("this is not how the hub answers", PORTAL))
    return Trouble(f"{_host()} answers {status}: {meaning}", remedy)


def _check(name: str) -> str:
    close = nearest_model(name)
    return f"give {close}, if that is meant" if close else "check the name, or the path of the folder"


def _host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc or str(constants.ENDPOINT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _no_json(error: BaseException) -> bool:
    return type(error) is ValueError or type(error).__name__ in ("JSONDecodeError", "UnicodeDecodeError")


def _words(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0].strip().rstrip(".")[:160]
    return line or type(error).__name__
