"""Files as people have them: each format by its ending, read once, in order, in record batches."""
