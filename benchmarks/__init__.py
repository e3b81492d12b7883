"""Benchmarks: each module is one command that prints a table with ratios and saves JSON."""
