"""The one small world that the tests share: C-like documents, tokenizers trained on them, parquets.

Everything is made here from fixed seeds; nothing is fetched and nothing is larger than 300 kB.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from codedata.format.card import CARD_NAME, render_card
from codedata.format.document_packing import pack_documents
from codedata.format.documents import EMPTY, KEPT, ChunkDocuments, Form
from codedata.format.facts import FACTS_NAME, Origin, Probe, TokenizerFacts, dump_facts, facts_of
from codedata.format.meta import (
    META_NAME,
    ShardEntry,
    documents_name,
    dump_meta,
    parse_meta,
    shard_name,
    spans_name,
)
from codedata.format.ranges import CharRange
from codedata.format.shards import encode_shard
from codedata.format.sidecars import DOCUMENT_SCHEMA, encode_documents
from codedata.format.spans import encode_spans

BOS, PAD, EOT = "<|begin|>", "<|pad|>", "<|EOT|>"
SINGLE_CHARACTERS = ("ü", "õ")
TEXTS = (FACTS_NAME, CARD_NAME)
"""What a dataset folder has beside shards and meta."""

_NAMES = [
    *("buffer", "count", "index", "node", "list", "size"),
    *("flags", "device", "queue", "length", "state", "offset"),
]
_TYPES = ["int", "char", "long", "void", "size_t", "uint32_t", "struct"]


def c_function(random_: random.Random) -> str:
    """A function that looks like C: indentation, digits, comments, now and then other scripts."""
    name, argument, other = random_.sample(_NAMES, 3)
    lines = [
        f"/* {random_.choice(['returns', 'übergibt', '计算', 'вычисляет'])} the {name} 🙂 */",
        f"static {random_.choice(_TYPES)} {name}_{argument}({random_.choice(_TYPES)} {argument})",
        "{",
        f"\tint {other} = {random_.randrange(10_000)};\r" if random_.random() < 0.1 else "\tint i;",
        "",
        f"\tfor (i = 0; i < {argument}; i++)   {{",
        f"\t\t{other}[i] += 0x{random_.randrange(2**16):04x} * {name};",
        "\t}",
        f"    return {other} ? {name} : -1;",
        "}",
        "",
    ]
    return "\n".join(lines)


def c_documents(num_documents: int, seed: int = 0) -> list[str]:
    """Documents of one to thirty functions each."""
    random_ = random.Random(seed)
    return [
        "\n".join(c_function(random_) for _ in range(random_.randrange(1, 30)))
        for _ in range(num_documents)
    ]


def plain_text(documents: Sequence[str | None]) -> str:
    """The text as the contract defines it."""
    return " ".join(document for document in documents if document is not None)


def numbered(num_samples: int, seq_length: int = 4, *, first: int = 0) -> NDArray[np.int64]:
    """Shape (num_samples, seq_length): row r is r + first, repeated."""
    return np.repeat(np.arange(first, first + num_samples)[:, None], seq_length, axis=1)


def write_parquet(
    path: Path,
    documents: Sequence[Any],
    *,
    row_group_size: int = 7,
    type_: pa.DataType | None = None,
) -> Path:
    """A parquet with the column `content` between two others."""
    contents = pa.array(documents, type_ or pa.string())
    rows = range(len(documents))
    table = pa.table({"hexsha": [f"{i:040x}" for i in rows], "content": contents, "size": rows})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def deepseek_like() -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer structure of deepseek-coder."""
    isolated = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+"]
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in isolated),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2_like() -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer of GPT-2, which a cut after a newline may change."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def starcoder_like() -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer structure of StarCoder: every numeral alone, then as GPT-2."""
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2_like()])


def llama3_like(digits: str = r"\p{N}{1,3}") -> pre_tokenizers.PreTokenizer:
    r"""The pre-tokenizer structure of Llama 3, and with `\p{N}` for digits that of Qwen 2."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train_tokenizer(pre_tokenizer: pre_tokenizers.PreTokenizer, vocab_size: int = 600) -> Tokenizer:
    """A byte-level BPE trained on the documents, with added tokens as deepseek-coder has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(c_documents(40, seed=1), trainer)
    tokenizer.add_tokens([AddedToken(character) for character in SINGLE_CHARACTERS])
    tokenizer.add_special_tokens([BOS, PAD])
    tokenizer.add_tokens([AddedToken(EOT)])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, **config: Any) -> Path:
    """A tokenizer folder; without `config` there is no tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def dataset_bytes(folder: Path) -> dict[str, bytes]:
    """Shards and meta by name; facts and card, which name folder and command, left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in TEXTS}


def write_facts(
    folder: Path,
    tokenizer: str = "mine",
    *,
    sha256: str = "",
    revision: str | None = None,
    probe: Probe | None = None,
    switches: Mapping[str, int | str] = MappingProxyType({}),
    recipe: Mapping[str, Any] | None = None,
) -> Path:
    """The dataset folder, with facts and card that name a tokenizer."""
    origin = Origin(
        corpus={"file": "c.parquet", "sha256": "c" * 64},
        tokenizer=TokenizerFacts(
            source=tokenizer,
            sha256=sha256 or hashlib.sha256(tokenizer.encode()).hexdigest(),
            revision=revision,
            probe=probe,
        ),
        engine="whole",
        versions={"codedata": "0"},
        command="codedata materialize train",
    )
    entries = parse_meta((folder / META_NAME).read_bytes(), "meta")
    facts = facts_of(origin, name=folder.name, switches=switches, entries=entries, recipe=recipe)
    card = render_card(facts)
    (folder / FACTS_NAME).write_bytes(dump_facts(facts, card))
    (folder / CARD_NAME).write_bytes(card)
    return folder


def write_dataset(
    folder: Path,
    shards: Sequence[Any],
    *,
    chars: Sequence[CharRange] | None = None,
    last_sample_tokens: Sequence[int] | None = None,
) -> Path:
    """A dataset folder as this package writes it; each shard a list or array of samples."""
    folder.mkdir(parents=True)
    entries: list[ShardEntry] = []
    for index, samples in enumerate(shards):
        ids = np.array(samples, np.int32)
        data = b"".join(map(bytes, encode_shard(ids, pad_token=0)))
        (folder / shard_name(index)).write_bytes(data)
        entries.append(
            ShardEntry(
                num_samples=len(ids),
                num_tokens=ids.size,
                sha256=hashlib.sha256(data).hexdigest(),
                chars=chars[index] if chars else None,
                last_sample_tokens=last_sample_tokens[index] if last_sample_tokens else None,
            )
        )
    (folder / META_NAME).write_bytes(dump_meta(entries))
    return folder


DOCUMENT_LENGTHS = ((5, 3, 20, 0, 6), (4, 8, 2))
"""Tokens of each document, chunk by chunk; one of none is an empty one."""

DOCUMENT_EOS = 1
"""The last token of each."""


def chunk_documents(
    lengths: Sequence[int], forms: Mapping[int, Form], *, first_row: int = 10
) -> ChunkDocuments:
    """Documents whose ids say which they are: 100 * (document + 1) + token, the last one EOS."""
    rows = [number for number, length in enumerate(lengths) if length]
    ids = [100 * (row + 1) + token for row in rows for token in range(lengths[row])]
    ends = np.cumsum([lengths[row] for row in rows], dtype=np.int64) - 1
    texts = [f"document {number}" * bool(length) for number, length in enumerate(lengths)]
    columns = {
        "document": range(len(lengths)),
        "file": [0 for _ in lengths],
        "row": range(first_row, first_row + len(lengths)),
        "characters": [len(text) for text in texts],
        "sha256": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
        "repository": [f"owner/{number}" if number else None for number in range(len(lengths))],
        "path": [f"src/{number}.c" if number else None for number in range(len(lengths))],
        "licences": [["MIT", "ISC"][:number] if number else None for number in range(len(lengths))],
        "decision": [KEPT if length else EMPTY for length in lengths],
    }
    array = np.array(ids, np.uint16)
    array[ends] = DOCUMENT_EOS
    return ChunkDocuments(
        ids=array,
        pieces=np.array(
            [(r, lengths[r], forms.get(r, Form.PLAIN)) for r in rows], np.int32
        ).reshape(-1, 3),
        table=pa.table(columns, DOCUMENT_SCHEMA),
    )


def write_document_dataset(
    folder: Path,
    chunks: Sequence[Sequence[int]] = DOCUMENT_LENGTHS,
    *,
    seq_length: int = 8,
    max_dump_size: int = 2,
    packing: str = "best_fit",
    forms: Mapping[int, Form] = MappingProxyType({}),
    min_sample_length: int = 0,
) -> Path:
    """A dataset folder with documents, as a run writes it, facts and card aside.

    Args:
        folder: to be made.
        chunks: of each the tokens of its documents: see `chunk_documents`.
        seq_length: tokens a sample; the pad token is 0.
        max_dump_size: samples a shard.
        packing: best_fit or concat.
        forms: of those documents that are not plain, by their numbers in each chunk.
        min_sample_length: of concat.
    """
    folder.mkdir(parents=True)
    entries: list[ShardEntry] = []
    for number, lengths in enumerate(chunks):
        documents = chunk_documents(lengths, forms)
        packed = pack_documents(
            documents,
            packing=packing,
            order=None,
            seq_length=seq_length,
            min_sample_length=min_sample_length,
            pad_token=0,
        )
        left_out = {*range(len(lengths))} - {*packed.spans[:, 3].tolist()}
        for samples, spans in packed.shards(max_dump_size):
            index, rows = len(entries), {*spans[:, 3].tolist()} | left_out
            files = {
                shard_name(index): b"".join(map(bytes, encode_shard(samples, pad_token=0))),
                spans_name(index): encode_spans(spans),
                documents_name(index): encode_documents(documents.table.take(sorted(rows))),
            }
            hashes = [hashlib.sha256(data).hexdigest() for data in files.values()]
            for name, data in files.items():
                (folder / name).write_bytes(data)
            entries.append(
                ShardEntry(
                    num_samples=len(samples),
                    num_tokens=samples.size,
                    chars=CharRange(100 * number, 100 * number + 100),
                    last_sample_tokens=int(spans[-1, 2]) if packing == "concat" else None,
                    num_text_tokens=int((spans[:, 2] - spans[:, 1]).sum()),
                    **dict(
                        zip(("sha256", "spans_sha256", "documents_sha256"), hashes, strict=True)
                    ),
                )
            )
            left_out = set[int]()
    (folder / META_NAME).write_bytes(dump_meta(entries))
    return folder
