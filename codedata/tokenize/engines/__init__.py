"""Ways to tokenize a chunk, one module an engine: the first that is proven exact is taken.

`base` says what an engine is, `registry` which there are, in which order they are asked.
"""
