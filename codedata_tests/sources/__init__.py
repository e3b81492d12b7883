"""Tests of codedata.sources."""
