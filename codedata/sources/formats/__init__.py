"""Temporary."""



def is_readable(name: str) -> bool:
    return name.endswith(
        (".parquet", ".jsonl", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".csv", ".arrow")
    )
