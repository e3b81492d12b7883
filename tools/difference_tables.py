r"""Structures that are known -> codedata/tokenize/differences.json, at the versions installed.

    python tools/difference_tables.py [--check] [FAMILY ...]

Probes each structure without a limit of time (15 s of CPU each), says what changed, and writes the
file after each; `--check` writes nothing, and ends with 1 where something would change. FAMILY
takes those whose name has it. Run it after tokenizers or gigatoken got another version: the keys
hold both.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from codedata.tokenize.cuts import MARK
from codedata.tokenize.differences import (
    TABLE,
    probe_differences,
    steps_of_ranges,
    structure_key,
)
from codedata.tokenize.patterns import DEEPSEEK_V3, WORDS, split

_NFC = {"type": "NFC"}
_MARKED = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}


def _splits(*patterns: str) -> dict[str, Any]:
    """Splits by regexes, then bytes."""
    steps = [split(each) for each in patterns]
    return {"type": "Sequence", "pretokenizers": [*steps, _bytes(use_regex=False)]}


def _bytes(*, use_regex: bool = True, add_prefix_space: bool = False) -> dict[str, Any]:
    flags = {"add_prefix_space": add_prefix_space, "use_regex": use_regex, "trim_offsets": True}
    return {"type": "ByteLevel", **flags}


def _byte_level() -> Iterator[tuple[str, Any, Any]]:
    yield "GPT-2", None, _bytes()
    yield "GPT-2 with NFC (NeoX)", _NFC, _bytes()
    yield "GPT-2 with a first space (RoBERTa)", None, _bytes(add_prefix_space=True)
    yield "Llama 3", None, _splits(WORDS["Llama 3"])
    yield "Qwen 2", _NFC, _splits(WORDS["Qwen 2"])
    yield "Qwen 3.5", _NFC, _splits(WORDS["Qwen 3.5"])
    yield "o200k", None, _splits(WORDS["o200k"])
    yield "DeepSeek V3", None, _splits(*DEEPSEEK_V3)
    yield "Nemotron", None, _splits(WORDS["Nemotron"])


def _sentencepiece() -> Iterator[tuple[str, Any, Any]]:
    prepended = {"type": "Prepend", "prepend": MARK}
    yield "Llama 2", {"type": "Sequence", "normalizers": [prepended, _MARKED]}, None
    for scheme in ("first", "always", "never"):
        for splits in (True, False):
            yield (
                f"Metaspace {scheme}{', split' if splits else ''}",
                None,
                {
                    "type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme,
                    "split": splits,
                },
            )  # fmt: skip
    spaces = {"pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    yield "Gemma 3", _MARKED, {"type": "Split", **spaces}


def families() -> dict[str, list[dict[str, Any]]]:
    """Families by name, each as the structures that differ in the same code points.

    `ignore_merges` says what a pre-token becomes, never where one ends: one probe serves both.
    """

    def structure(normalizer: Any, pre_tokenizer: Any, **model: bool) -> dict[str, Any]:
        return {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model}

    byte_level = {
        name: [structure(*parts, ignore_merges=ignore_merges) for ignore_merges in (False, True)]
        for name, *parts in _byte_level()
    }
    marked = {name: [structure(*parts, byte_fallback=True)] for name, *parts in _sentencepiece()}
    return byte_level | marked


def main() -> int:
    """Probe, compare with the file, and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="only these (all)")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would change")
    options = parser.parse_args()
    old: dict[str, Any] = json.loads(TABLE.read_bytes()) if TABLE.exists() else {}
    known = families()
    chosen = [name for name in known if any(each in name for each in options.families or [""])]
    table = {name: entry for name, entry in old.items() if name in known}
    for name in chosen:
        ranges = probe_differences(known[name][0], seconds=float("inf"))
        keys = [structure_key(each) for each in known[name]]
        table[name] = {"keys": keys, "steps": steps_of_ranges(ranges)}
        changed = "as before" if old.get(name) == table[name] else "changed"
        num_code_points = int(np.diff(ranges).sum())
        print(f"{name}: {num_code_points:,} code points in {len(ranges)} ranges, {changed}")
        if not options.check:
            lines = [
                f"{json.dumps(each)}: {json.dumps(table[each])}" for each in known if each in table
            ]
            TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return int(options.check and table != old)


if __name__ == "__main__":
    sys.exit(main())
