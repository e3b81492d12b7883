"""Tests of codedata.components: real Dagster instances, runs, command lines, a webserver."""
