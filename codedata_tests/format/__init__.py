"""Tests of codedata.format."""
