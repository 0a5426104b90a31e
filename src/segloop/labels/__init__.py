"""Label maps: the numbers and colours that are stored, and what they mean."""
