"""A parquet's documents: its footer, what its row groups hold, decoding, addresses."""
