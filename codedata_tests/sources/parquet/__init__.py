"""Tests of codedata.sources.parquet."""
