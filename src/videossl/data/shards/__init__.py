"""Stored frames: the format, building and reading it."""
