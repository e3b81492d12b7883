"""The pure core: arrays and bytes in and out; no files, no processes, no frameworks."""
