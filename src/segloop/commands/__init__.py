"""One file a command. Rooms are opened inside the functions, so that `segloop --help` answers at once."""
