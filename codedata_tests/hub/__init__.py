"""Tests of the hub's client against a loopback hub."""
