"""The Hugging Face Hub: files and datasets from it, datasets to it. No dagster."""
