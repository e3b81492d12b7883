"""What a dataset is to be: its switches, and what they say of a text. Pure."""
