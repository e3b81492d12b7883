"""Tests of codedata.run."""
