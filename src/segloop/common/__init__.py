"""What every room may use: files, records, names on a terminal, sentences instead of tracebacks, doors for packages."""
