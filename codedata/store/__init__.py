"""Bytes on disk: files, locks, trust, chunks, dataset folders, publishing."""
