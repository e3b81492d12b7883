"""Tests of codedata; the folders mirror the package."""
