"""Tests of codedata.reporting."""
