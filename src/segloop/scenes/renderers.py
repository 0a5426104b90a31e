"""Who can draw scenes, by the name that `segloop scenes --renderer` takes."""

from . import cells, draw

RENDERERS: dict[str, draw.Renderer] = {
    "bands": draw.scene,  # what the bundled models are trained on
    "cells": cells.scene,
}
