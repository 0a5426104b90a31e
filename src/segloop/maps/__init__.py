"""Score maps: windows over a photo and the way back, steps on the finished map, from scores to labels."""
