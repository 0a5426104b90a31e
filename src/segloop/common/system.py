"""What the operating system refuses, in sentences: one table from its numbers to what is wrong and what to do."""

import errno
import os
import platform
from pathlib import Path

from ..errors import MachineError, OptionError, OutputError, SegloopError, TooLargeError, UserError
from .visible import shortened

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
A_PROCESSOR, ALWAYS = 8, 64  # threads or processes that one may be given, and that any machine may
AGAIN = "then run the same command again"

# number -> (what is wrong with a path, remedy)
USERS = {
    errno.ENOENT: ("is not there", "check the path, it may have been moved or deleted meanwhile"),
    errno.ENOTDIR: ("cannot be reached, there is a file where a folder should be", "check the path"),
    errno.EISDIR: ("is a folder, and a file was expected", "name a file"),
    errno.EACCES: ("may not be opened", "ask for permission, or use a place of yours"),
    errno.EPERM: ("may not be changed", "ask for permission, or use a place of yours"),
    errno.EROFS: ("lies on a disk that can only be read", "use a place that can be written"),
    errno.ELOOP: ("is a link that leads back to itself", "remove the link, or name what it should lead to"),
    errno.ENAMETOOLONG: ("has a name that is too long for this disk", "shorten it"),
    errno.EILSEQ: ("has a name that this disk does not take", "rename it in plain letters"),
    errno.EINVAL: ("does not allow this", "use an ordinary file on an ordinary disk"),
    errno.EOPNOTSUPP: ("does not allow this", "use an ordinary file on an ordinary disk"),
    errno.ENODEV: ("is a device that is not there", "use an ordinary file"),
    errno.ENXIO: ("is a pipe or a device with nobody at its other end", "use an ordinary file"),
    errno.ESPIPE: ("is a pipe, and a file was expected", "save it to a file first"),
    errno.EEXIST: ("is there already", "move it away, or use another name"),
    errno.ENOTEMPTY: ("is not empty", "move what it holds away, or use another name"),
    errno.EBUSY: ("is in use by another program", f"close that, {AGAIN}"),
    errno.ETXTBSY: ("is in use by another program", f"close that, {AGAIN}"),
}
# number -> (what the machine does not give, remedy)
MACHINES = {
    **dict.fromkeys(FULL, ("the disk is full", "free some space and run the same command again")),
    errno.EMFILE: ("too many files are open", f"raise the limit (ulimit -n), {AGAIN}"),
    errno.ENFILE: ("too many files are open on this machine", f"close other programs, {AGAIN}"),
    errno.EAGAIN: ("no more processes or threads are given", f"raise the limit (ulimit -u), {AGAIN}"),
}
_OF_CONNECTIONS = ("EIO", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "ENOTCONN")
FAILING = {getattr(errno, name) for name in _OF_CONNECTIONS if hasattr(errno, name)}  # Windows has not all of them


def processor() -> str:
    """Its name as its maker sells it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def check_count(option: str, count: int) -> None:
    """Raises OptionError for so many threads or processes that the machine would end the program."""
    processors = os.cpu_count() or 1
    most = max(ALWAYS, A_PROCESSOR * processors)
    if count > most:
        what = f"{option} {count} is more than this machine carries ({processors} processors)"
        raise OptionError(what, f"give at most {most}; more than {processors} is seldom faster")


def refusal(error: OSError, place: object = None) -> SegloopError | None:
    """What to say of an operating system's error: a UserError, or a MachineError where the machine is at its end.

    `place` is the path where the error names none. None for an error that is not the operating system's, which bears
    no number.
    """
    number = error.errno
    path = error.filename if isinstance(error.filename, (str, bytes)) else place
    if not number:
        return None
    if number == errno.ENOMEM:
        return TooLargeError("memory ran out", f"close other programs, {AGAIN}")
    if number in MACHINES:
        return MachineError(*MACHINES[number])
    if number in FAILING:
        what = f"the disk or the connection behind {_named(path)} fails ({_reason(error)})"
        return MachineError(what, f"check it, {AGAIN}")
    if path is None and number == errno.ENOENT:  # what `getcwd` says
        return UserError("the folder that the command runs in is gone", "change to one that is there")
    if number not in MACHINES and _is_our_own(path):
        what = f"{shortened(path)}, a part of segloop, cannot be used ({_reason(error)})"
        return MachineError(what, "install segloop again")
    what, remedy = USERS.get(number, (f"cannot be used ({_reason(error)})", "check the path"))
    return UserError(f"{_named(path)} {what}", remedy)


def unwritten(error: OSError, target: Path, remedy: str = "choose another folder with --out") -> SegloopError:
    """What to say where `target` was not written: OutputError, or MachineError where the machine is at its end."""
    if error.errno in FULL:
        return MachineError(f"the disk is full, {shortened(target)} was not written", MACHINES[errno.ENOSPC][1])
    said = refusal(error, target)
    if isinstance(said, MachineError):
        return said
    if error.errno == errno.ENAMETOOLONG:
        remedy = "shorten the name"
    return OutputError(f"cannot write {shortened(target)} ({_reason(error)})", remedy)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _named(path: object) -> str:
    return "a file" if path is None else shortened(path)


def _is_our_own(path: object) -> bool:
    """Whether a path is of the installed package: what is missing there is no mistake of the user's."""
    return isinstance(path, str) and Path(path).parent.is_relative_to(Path(__file__).parents[1])
