"""Data sets: their rows, where their files lie, photos beside label maps."""
