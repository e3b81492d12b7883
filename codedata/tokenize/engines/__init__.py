"""How text is tokenized: the fastest way that is proven exact for a tokenizer."""
