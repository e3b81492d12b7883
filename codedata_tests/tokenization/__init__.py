"""Tests of codedata.tokenization."""
