"""docs/format.md once more, as plainly as it can be written: the measure for the fast code.

Shares nothing with the package. Needs the whole text and all samples in memory.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer


def reference_ids(tokenizer_folder: Path, text: str) -> list[int]:
    """Ids of one chunk: tokenizer.json with its post-processor, then the config's BOS and EOS."""
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    ids = list(tokenizer.encode(text).ids)
    config_file = tokenizer_folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.exists() else {}
    if config.get("add_bos_token") is True:
        bos = tokenizer.token_to_id(config["bos_token"])
        assert bos is not None
        if not ids or ids[0] != bos:
            ids.insert(0, bos)
    if config.get("add_eos_token") is True:
        eos = tokenizer.token_to_id(config["eos_token"])
        assert eos is not None
        if not ids or ids[-1] != eos:
            ids.append(eos)
    return ids


def reference_shards(
    documents: Sequence[str | None], tokenizer_folder: Path, switches: dict[str, Any]
) -> list[tuple[list[list[int]], tuple[int, int]]]:
    """The samples of each shard, with the characters of its chunk.

    `switches` holds every switch of the script but the tokenizer.
    """
    text = " ".join(document for document in documents if document is not None)
    start_of_window = switches["starting_character"]
    text_end = min(len(text), start_of_window + switches["chars_to_tokenize"])
    seq_length = switches["seq_length"]
    shards: list[tuple[list[list[int]], tuple[int, int]]] = []
    for start in range(start_of_window, text_end, switches["chunk_size"]):
        stop = min(start + switches["chunk_size"], text_end)
        ids = reference_ids(tokenizer_folder, text[start:stop])
        samples = []
        position = 0
        while position < len(ids) - switches["min_sample_length"]:
            sample = ids[position : position + seq_length]
            while len(sample) < seq_length:
                sample.append(switches["pad_token"])
            samples.append(sample)
            position += seq_length
        while samples:
            shards.append((samples[: switches["max_dump_size"]], (start, stop)))
            samples = samples[switches["max_dump_size"] :]
    return shards
