"""Numbers as the page shows them."""


def percent(share: float) -> str:
    """A fraction as "3.2 %"."""
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "< 0.1 %"


def number(value: float) -> str:
    """Three figures, without an exponent where that is short."""
    return f"{value:.3g}"
