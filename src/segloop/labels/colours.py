"""Published colours of label maps that come as pictures: 0xRRGGBB -> the number that a map of indices stores."""

VOC_CLASSES, VOC_VOID = 21, 0xE0E0C0  # (224, 224, 192) draws the rim of objects, which is void

POTSDAM = (  # ISPRS 2D semantic labelling; numbers as in the index maps: 0 the eroded rim, then the six classes
    (0x000000, 0),
    (0xFFFFFF, 1),  # impervious surface
    (0x0000FF, 2),  # building
    (0x00FFFF, 3),  # low vegetation
    (0x00FF00, 4),  # tree
    (0xFFFF00, 5),  # car
    (0xFF0000, 6),  # clutter
)


def voc_colour(index: int) -> int:
    """The colour of an index in the map of PASCAL VOC: its bits dealt out to red, green and blue, highest first."""
    colour = 0
    for place in range(8):
        for channel, shift in enumerate((16, 8, 0)):
            bit = index >> (3 * place + channel) & 1
            colour |= bit << (7 - place) << shift
    return colour


def voc_colours(count: int = VOC_CLASSES, void: int = 255) -> tuple[tuple[int, int], ...]:
    """(0xRRGGBB, index) of so many indices, and the colour of void where none of them has it."""
    made = {voc_colour(index): index for index in range(count)}
    return tuple({VOC_VOID: void, **made}.items())
