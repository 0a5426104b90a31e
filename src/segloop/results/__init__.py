"""What comes out: the map of a photo, and the files that others read."""
