"""A tokenizer's files -> the tokenizer that they define, or why they are refused.

Always by tokenizer.json, through `tokenizers.Tokenizer`, never through transformers: releases of
transformers 5 rebuilt deepseek-coder's tokenizer with another pre-tokenizer and dropped every
space. From tokenizer_config.json only `add_bos_token`, `add_eos_token` and the two tokens' names
are taken (docs/format.md, "Ids").
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from codedata.errors import TokenizerError
from codedata.format.packing import MAX_TOKEN_ID
from codedata.printable import shortened
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.structure import merge_that_aborts
from codedata.tokenize.tokenizer_files import TOKENIZER_JSON, TokenizerFiles, read_files
from codedata.tokenize.tokenizer_json import parse_structure

_SAVE_AGAIN = "save the tokenizer again (save_pretrained), or download its files again"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedTokenizer:
    """A tokenizer, the structure it was read from, and the ids that frame a chunk.

    Attributes:
        files: where it came from.
        tokenizer: without truncation and padding, whatever its file declares.
        json_bytes: of tokenizer.json.
        structure: the parsed tokenizer.json, its model's merges a sequence that is no list.
        config: the parsed tokenizer_config.json; empty where there is none.
        vocab_size: one more than the largest id that it can give.
        bos_id: goes first where the first id is another; None where the config does not ask.
        eos_id: goes last likewise.
    """

    files: TokenizerFiles
    tokenizer: LibraryTokenizer
    json_bytes: bytes = field(repr=False)
    structure: dict[str, Any]
    config: dict[str, Any]
    vocab_size: int
    bos_id: int | None
    eos_id: int | None


@lru_cache(maxsize=4)
def load_tokenizer(files: TokenizerFiles) -> LoadedTokenizer:
    """Load a tokenizer, once a process.

    Raises:
        TokenizerError: a file is not what its name says, or changed since it was found.
    """
    json_bytes, config_bytes, found = read_files(files.tokenizer_json, files.tokenizer_config)
    if found != files.fingerprint:
        raise TokenizerError(
            f"the files of tokenizer {files.source} changed during the run; run again once they "
            "are complete"
        )
    structure = _parsed(parse_structure, json_bytes, files.tokenizer_json)
    if (merge := merge_that_aborts(structure)) is not None:
        raise TokenizerError(
            f"{files.tokenizer_json} is no tokenizer: its merge {merge!r} does not continue with "
            f"its continuing_subword_prefix; {_SAVE_AGAIN}"
        )
    try:
        tokenizer = LibraryTokenizer(json_bytes, str(files.tokenizer_json))
        vocab_size = _require_ids(tokenizer, structure, files.tokenizer_json)
    except TokenizerError as error:
        raise TokenizerError(f"{error}; {_SAVE_AGAIN}") from error
    if (structure.get("model") or {}).get("dropout"):
        raise TokenizerError(
            f"{files.tokenizer_json} declares a BPE dropout, so the same text gives other ids each "
            "time; set its model's dropout to null"
        )
    config: dict[str, Any] = {}
    if config_bytes:
        config = _parsed(json.loads, config_bytes, files.tokenizer_config)
    return LoadedTokenizer(
        files=files,
        tokenizer=tokenizer,
        json_bytes=json_bytes,
        structure=structure,
        config=config,
        vocab_size=vocab_size,
        bos_id=_framing_id(tokenizer, config, "bos", files),
        eos_id=_framing_id(tokenizer, config, "eos", files),
    )


def _require_ids(tokenizer: LibraryTokenizer, structure: dict[str, Any], path: Path) -> int:
    """Refuse ids that no shard can hold, and a frame of ids that the vocabulary does not have.

    Returns:
        One more than the largest id.

    Raises:
        TokenizerError: naming the token, or the id.
    """
    declared = (structure.get("model") or {}).get("vocab")
    # The library hands its vocabulary over in a tenth of a second or two.
    vocab = declared.values() if isinstance(declared, dict) else tokenizer.get_vocab().values()
    largest = max((*vocab, *tokenizer.get_added_tokens_decoder()), default=None)
    if largest is None:
        raise TokenizerError(f"{path} has an empty vocabulary")
    if largest > MAX_TOKEN_ID:
        token = tokenizer.id_to_token(largest) or ""
        raise TokenizerError(
            f"{path} gives {shortened(token)!r} the id {largest}; ids are 0 to {MAX_TOKEN_ID}"
        )
    for token_id in tokenizer.encode("").ids:
        if tokenizer.id_to_token(token_id) is None:
            raise TokenizerError(
                f"{path} frames every text with the id {token_id}, which its vocabulary does not "
                "have: its post_processor is of another tokenizer"
            )
    return largest + 1


def _parsed(parse: Callable[[bytes], Any], data: bytes, path: Path | None) -> dict[str, Any]:
    try:
        parsed = parse(data)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is not JSON: {error}; {_SAVE_AGAIN}") from error
    if not isinstance(parsed, dict):
        raise TokenizerError(
            f"{path} holds a JSON {type(parsed).__name__}, not an object; {_SAVE_AGAIN}"
        )
    return cast("dict[str, Any]", parsed)


def declared_token(config: dict[str, Any], which: str) -> str | None:
    """The `bos`, `eos` or `pad` token that a tokenizer_config.json names, as text or as object."""
    token = config.get(f"{which}_token")
    if isinstance(token, dict):
        token = cast("dict[str, Any]", token).get("content")
    return token if isinstance(token, str) else None


def _framing_id(
    tokenizer: LibraryTokenizer, config: dict[str, Any], which: str, files: TokenizerFiles
) -> int | None:
    if config.get(f"add_{which}_token") is not True:
        return None
    token = declared_token(config, which)
    token_id = None if token is None else tokenizer.token_to_id(token)
    if token_id is None:
        raise TokenizerError(
            f"{files.tokenizer_config} says add_{which}_token, but its {which}_token "
            f"{token or config.get(f'{which}_token')!r} is "
            f"not in the vocabulary of {TOKENIZER_JSON}; correct one of the two, or name "
            f"{TOKENIZER_JSON} itself, which frames no chunk"
        )
    return token_id
