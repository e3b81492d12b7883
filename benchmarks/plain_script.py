"""The format made in the plainest way, as the script that codedata replaces made it.

    python benchmarks/plain_script.py PARQUET FOLDER TOKENIZER_JSON BOS_ID NUM_CHARS

The whole file through pandas, one string of the whole text, `encode` of each chunk as one string,
lists of lists of int, `pickle.dump`. Needs pandas.
"""

import json
import pickle
import sys
from pathlib import Path

import pandas as pd
from tokenizers import Tokenizer

CHUNK_SIZE, SEQ_LENGTH, MIN_SAMPLE_LENGTH, MAX_DUMP_SIZE, PAD = (
    10_000_000,
    1536,
    1000,
    10_000,
    32014,
)


def main() -> None:
    """Write the dataset."""
    parquet, folder, tokenizer_json, bos_id, num_chars = sys.argv[1:]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(tokenizer_json)
    text = " ".join(pd.read_parquet(parquet)["content"])[: int(num_chars)]
    meta: dict[str, dict[str, int]] = {}
    for start in range(0, len(text), CHUNK_SIZE):
        ids = [int(bos_id), *tokenizer.encode(text[start : start + CHUNK_SIZE]).ids]
        samples = []
        for place in range(0, len(ids) - MIN_SAMPLE_LENGTH, SEQ_LENGTH):
            sample = ids[place : place + SEQ_LENGTH]
            samples.append(sample + [PAD] * (SEQ_LENGTH - len(sample)))
        for place in range(0, len(samples), MAX_DUMP_SIZE):
            dump = samples[place : place + MAX_DUMP_SIZE]
            name = f"dump-{len(meta)}.pkl"
            with (target / name).open("wb") as file:
                pickle.dump(dump, file)
            meta[name] = {"num_samples": len(dump), "num_tokens": len(dump) * SEQ_LENGTH}
    (target / "dump-meta_data.json").write_text(json.dumps(meta))


if __name__ == "__main__":
    main()
