"""Tests of codedata.io."""
