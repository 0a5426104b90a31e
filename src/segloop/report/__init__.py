"""Reports of evaluations: tables as the papers have them, comparisons, confusions, pictures."""
