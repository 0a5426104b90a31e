"""Many photos labelled: a source of photos in, label maps out, in a run that survives anything."""
