"""Fault campaigns: a quick slice of each runs by default, the long one with `pytest -m long`."""
