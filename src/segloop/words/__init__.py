"""What to look for: class files of any clear form, class lists and templates, their rows from a text tower."""
