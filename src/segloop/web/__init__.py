"""The page of `segloop demo` and its HTTP interface: a photo and words in, a map out, nothing kept."""
