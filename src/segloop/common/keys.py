"""Keys of the benchmarks, in the papers' order: the one list that methods, class lists, sweeps and reports share."""

EIGHT = ("voc21", "context60", "coco-object", "voc20", "context59", "coco-stuff", "cityscapes", "ade20k")
LARGE = ("ade847", "context459")  # large vocabularies, published in one variant of the class list
BENCHMARKS = (*EIGHT, *LARGE)
FOLDER = "folder"  # also the row of data sets of one's own that bear names
OWN = (FOLDER, "scenes")  # each may be any set of images
