"""Counts, scores and their intervals."""
