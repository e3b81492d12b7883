"""Files: parquet text in, token chunks between, dataset folders out. No dagster, no torch."""
