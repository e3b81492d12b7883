"""Tests of codedata.core."""
