"""Tests of codedata.tokenize."""
