"""What training code puts around a dataset: its order, its batches, its name in checkpoints."""
