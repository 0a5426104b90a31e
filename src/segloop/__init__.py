"""segloop: segment any photo by free text, with no training."""

__version__ = "0.1.0"
