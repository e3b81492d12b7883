"""Tests of codedata.recipe."""
