"""The straight line from a photo to its map."""
