"""`python -m segloop` is the program `segloop`."""

from .cli import main

main()
