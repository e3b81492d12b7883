"""The kinds of source that need nothing else than this machine, a module each."""
