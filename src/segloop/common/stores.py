"""Files at addresses (`s3://bucket/key`, `memory://a/b`): listed, read, put there, through fsspec.

A store that is busy or stumbles is asked again, later and later. A file is put under its own name in one go: a reader
sees it whole or not at all. Keys, places and end points are those that the store's own library finds (its settings
files and variables such as AWS_ENDPOINT_URL).
"""

import posixpath
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import ImageError, MachineError, OptionError, OutputError
from .visible import shortened

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z][a-z0-9+.-]+)*://", re.IGNORECASE)
TRIES = 7  # in all, a little over six seconds
WAIT = 0.1  # seconds before the second, twice as many before each later one
FINAL = (NotImplementedError, ValueError, TypeError)
ONCE = {"s3": {"max_concurrency": 1}}  # else a file's size is asked for first, so that large ones come in pieces
EXTRAS = {"s3": "segloop[s3]", "s3a": "segloop[s3]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
KEYS = "give them as the store's own programs take them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

Result = TypeVar("Result")


class NotThere(ImageError):
    """Nothing lies at an address."""


def is_address(text: str) -> bool:
    """Whether this names a place in a store, not on a disk."""
    return ADDRESS.match(text) is not None


def plain_address(address: str) -> str:
    """The address without a name and a password in front of its host, and without a slash at its end."""
    return re.sub(r"(?<=://)[^/@]*@", "", address).rstrip("/")


def beside(address: str, name: str) -> str:
    """The address of a file in the same folder; a name that is an address stands for itself."""
    return name if is_address(name) else posixpath.join(address.rpartition("/")[0], name)


def read(address: str) -> bytes:
    """All bytes at an address. Raises NotThere, ImageError, MachineError, OptionError."""
    files, path = _opened(address)
    kinds = files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)
    how = next((ONCE[kind] for kind in kinds if kind in ONCE), {})
    return _asking(address, lambda: files.cat_file(path, **how))


def read_part(address: str, start: int, size: int) -> bytes:
    """Some bytes at an address. Raises as `read`."""
    files, path = _opened(address)
    return _asking(address, lambda: files.cat_file(path, start=start, end=start + size))


def stream(address: str) -> IO[bytes]:
    """The bytes at an address as a file in which one can seek; a little is read ahead. Raises as `read`."""
    files, path = _opened(address)
    return _asking(address, lambda: files.open(path, "rb"))


def is_there(address: str) -> bool:
    """Whether something lies at an address, a file or a folder. Raises MachineError, OptionError."""
    files, path = _opened(address)
    return bool(_asking(address, lambda: files.exists(path)))


def is_folder(address: str) -> bool:
    """Whether there are files below an address. Raises MachineError, OptionError."""
    files, path = _opened(address)
    return bool(_asking(address, lambda: files.isdir(path)))


def below(address: str) -> list[str]:
    """Addresses of all files below one. Raises MachineError, OptionError."""
    files, path = _opened(address)
    return [files.unstrip_protocol(name) for name in _asking(address, lambda: files.find(path))]


def matching(pattern: str) -> list[str]:
    """Addresses of what a pattern names, `**` allowed, sorted. Raises MachineError, OptionError."""
    files, path = _opened(pattern)
    return sorted(files.unstrip_protocol(name) for name in _asking(pattern, lambda: files.glob(path)))


def put(address: str, data: bytes) -> None:
    """Make `data` the file at an address, in one go. Raises OutputError, MachineError, OptionError."""
    files, path = _opened(address)
    _putting(address, lambda: files.pipe_file(path, data))


def put_file(address: str, source: Path) -> None:
    """Make a file of this machine the one at an address. Raises OutputError, MachineError, OptionError."""
    files, path = _opened(address)
    _putting(address, lambda: files.put_file(str(source), path))


def remove_all(address: str) -> None:
    """Take away all files below an address. Raises MachineError, OptionError."""
    files, path = _opened(address)
    for name in _asking(address, lambda: files.find(path)):
        _asking(address, partial(files.rm_file, name))


def _opened(address: str) -> tuple[Any, str]:
    """Fsspec's file system and the path in it; what it remembers of folders is forgotten."""
    kind = address.partition("://")[0].rpartition("::")[2]
    remedy = f"pip install {EXTRAS.get(kind, 'the package that fsspec names for it')}"
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        reason = "a package is missing" if isinstance(error, ImportError) else str(error).lower()
        raise OptionError(f"{shortened(plain_address(address))} cannot be opened ({reason})", remedy) from error
    files.invalidate_cache()
    return files, path


def _asking(address: str, ask: Callable[[], Result]) -> Result:
    """What a store answers, asked again where it stumbles."""
    for wait in [*_waits(), None]:
        try:
            return ask()
        except Exception as error:
            said = _refusal(address, error)
            if said or wait is None:
                raise said or _failing(address, error) from error
        time.sleep(wait)
    raise AssertionError  # the last answer is raised


def _putting(address: str, put: Callable[[], None]) -> None:
    """What is refused here is no photo's fault."""
    try:
        _asking(address, put)
    except ImageError as error:
        what = f"cannot write {shortened(plain_address(address))} ({error.what})"
        raise OutputError(what, "check the address, and which keys may write there") from error


def _waits() -> Iterator[float]:
    return (WAIT * 2**number for number in range(TRIES - 1))


def _refusal(address: str, error: Exception) -> Exception | None:
    """What to say of an answer that another question would not change; None where it may."""
    place, kind = shortened(plain_address(address)), type(error).__name__
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return NotThere(f"there is no file {place}", "check the address")
    if isinstance(error, PermissionError):
        return ImageError(f"{place} may not be opened", "ask for permission, or check which keys are in use")
    if "Credentials" in kind or "Profile" in kind:
        return OptionError(f"no keys are known for {place}", KEYS)
    if isinstance(error, FINAL):
        return OptionError(f"{place} does not allow this ({_first_line(error)})", "check the address")
    if isinstance(error, MemoryError):
        return error
    return None


def _failing(address: str, error: Exception) -> MachineError:
    what = f"the store behind {shortened(plain_address(address))} fails ({_first_line(error)})"
    return MachineError(what, "check it, then run the same command again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
