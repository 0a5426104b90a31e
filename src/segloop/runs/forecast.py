"""What a run would take, judged by a few of its photos: which are tried, and how long times are said."""

TRIED = 8  # photos, spread over all


def spread(count: int, tried: int = TRIED) -> slice:
    """At most so many of all, at even distances, the first among them."""
    step = max(1, count // tried)
    return slice(0, step * tried, step)


def duration(seconds: float) -> str:
    """In the unit that people would say: "40 seconds", "12 minutes", "3.5 hours", "9 days"."""
    for most, unit in ((90, 1), (90 * 60, 60), (48 * 3600, 3600)):
        if seconds < most:
            name = {1: "seconds", 60: "minutes", 3600: "hours"}[unit]
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400:.3g} days"
