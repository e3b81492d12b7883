"""Tests of codedata.cli: a command as its user meets it."""
