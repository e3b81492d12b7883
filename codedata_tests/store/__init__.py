"""Tests of codedata.store."""
