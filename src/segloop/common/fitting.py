"""Photos fit into squares: sides of integers, and nothing else."""


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """The (height, width) of this aspect whose long side is `side`, halves rounded up; at least 1."""
    scale = side / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def next_multiple(length: int, multiple: int) -> int:
    """The smallest multiple that is no less than `length`."""
    return -(-length // multiple) * multiple
