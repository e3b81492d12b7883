"""A run: plan, tokenize, assemble, check, publish; for the script, the assets and Python alike."""
