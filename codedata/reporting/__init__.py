"""What datasets are made of, in figures, tables and pictures; no dagster, no torch."""
