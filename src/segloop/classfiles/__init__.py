"""Class files of any clear form: one name a line, lists, tables, label maps of other tools."""
