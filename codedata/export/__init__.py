"""A dataset folder -> the same samples in a format of someone else, for code that reads that.

A module a format, each with `write(dataset, folder)`. Samples keep their order, their length and
their ids; where the meta says so, each comes with how many of its tokens are the text's. Of a
dataset with documents, each says what it carries of their boundaries: `BOUNDARIES`.
"""
