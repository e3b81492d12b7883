"""The kinds of source that come with the package, a module each."""
