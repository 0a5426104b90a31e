"""Where photos come from: folders, patterns, lists, tables, tar shards, videos; on a disk or in a store."""
