"""One folder a corpus or split: a new dataset is a new YAML, no Python."""
