"""Tests of codedata.tokenize.engines."""
