"""What the server does not do, as sentences with the HTTP codes that say the same."""

from typing import Any

from ..errors import MachineError, SegloopError, TooLargeError, memory_ran_out

MALFORMED, FORBIDDEN, GONE, TOO_LARGE, NO_FORM, WRONG, FAULT, BUSY, SLOW = 400, 403, 404, 413, 415, 422, 500, 503, 504
SENTENCES = {  # what the framework refuses by itself
    404: ("there is nothing at this address", "open / for the page, or /docs for the interface"),
    405: ("this address takes another method", "see /docs"),
}
MEMORY = ("memory ran out on the photo", "make it smaller first, or try again when fewer people are here")


class Refusal(SegloopError):
    """A request that is turned down, and the HTTP code for it."""

    def __init__(self, status: int, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.status = status


def explained(error: BaseException) -> tuple[int, dict[str, Any]]:
    """(HTTP code, {"error", "remedy"}) for any error; what is a fault of ours says nothing of its inside."""
    if memory_ran_out(error):
        return BUSY, sentence(*MEMORY)
    if isinstance(error, Refusal):
        return error.status, sentence(error.what, error.remedy)
    if isinstance(error, SegloopError):
        ours = isinstance(error, MachineError) and not isinstance(error, TooLargeError)
        return FAULT if ours else WRONG, sentence(error.what, error.remedy)
    return FAULT, sentence("this is a fault in segloop", "start it again with --debug, and report what it says")


def sentence(what: str, remedy: str) -> dict[str, str]:
    """The body of every refusal."""
    return {"error": what, "remedy": remedy}
