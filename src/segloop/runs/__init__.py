"""Runs that cannot be lost: a folder with a record, shards that are whole or absent, one process at a time."""
