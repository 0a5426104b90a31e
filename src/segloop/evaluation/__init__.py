"""A data set labelled, counted and scored, in runs that cannot be lost."""
