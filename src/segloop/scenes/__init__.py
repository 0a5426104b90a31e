"""Procedural scenes with exact masks."""
