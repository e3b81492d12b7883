"""`codedata tokenizer`: what a tokenizer is made of, which engine it gets and why, ids, speed."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.printable import fail, printable, say
from codedata.progress import TERMINAL

if TYPE_CHECKING:
    from codedata.tokenize.examination import Examination, Framing

TOKENIZER = "TOKENIZER"
"""What usages call the argument."""

_SHOWN_ADDED = 6
"""Of the added tokens, which may be thousands; JSON has them all."""

_PARTS = ("normalizer", "pre_tokenizer", "model", "decoder")

_LABEL = 16

_PAGE = "docs/howto/own-tokenizer.md"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tokenizer",
        help="what a tokenizer is made of, its engine, ids and speed",
        description="Say what a tokenizer is made of, which engine it gets and why no faster one, "
        "which ids it gives, whether they decode to the text, and how fast; exit with 1 if a run "
        "would refuse it.",
        epilog="--json: an object with tokenizer, tokenizer_json, tokenizer_config, sha256, "
        "revision (null of one of this machine), normalizer, pre_tokenizer, model and decoder (a "
        "list of lines each), vocab_size, added_tokens (objects with id, content, special), before "
        "and after (objects with the ids that frame a chunk and what asks for each; null where "
        "they depend on the text), engine, reason, not_proven (an object: why, by engine), sample "
        "(text, and tokens: objects with ids and text), lost (a line for each text that does not "
        "come back), not_given_back (characters that do not count as lost), refused (null, or "
        "why), and speed: text, bytes, tokens, threads, engine_bytes_per_second, "
        "encode_bytes_per_second, ratio.",
    )
    parser.add_argument(
        "tokenizer",
        metavar=TOKENIZER,
        help="a folder, a tokenizer.json, or a hub name (owner/name, owner/name@commit)",
    )
    parser.add_argument(
        "--text", type=_utf8, help="show the ids of this text (default: a sample of C)"
    )
    parser.add_argument(
        "--corpus",
        metavar="PARQUET",
        type=path,
        help="measure on the first characters of this parquet (default: on installed C headers)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine a tokenizer.

    Raises:
        CodedataError: the tokenizer cannot be had or used, or the corpus has no text.
    """
    # The tokenizers library and Arrow, which most commands do not need.
    from codedata.tokenize.engines.registry import explain_choice
    from codedata.tokenize.examination import Examination, speed_text
    from codedata.tokenize.tokenizer import load_tokenizer
    from codedata.tokenize.tokenizer_files import find_tokenizer

    loaded = load_tokenizer(find_tokenizer(options.tokenizer))
    engine, not_proven = explain_choice(loaded)
    found = Examination(
        loaded=loaded,
        engine=engine,
        not_proven=not_proven,
        text=options.text,
        speed_text=speed_text(options.corpus),
    )
    if options.json:
        print(json.dumps(_as_json(found)))
        return int(found.refusal is not None)
    _say_structure(found)
    _say_engine(found)
    _say_ids(found)
    _say_speed(found)
    return 0 if found.refusal is None else fail("codedata", found.refusal)


def _utf8(text: str) -> str:
    """The type of a switch that takes a text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("the text is not UTF-8") from error
    return text


def _row(label: str, *lines: str) -> None:
    for number, line in enumerate(lines or ("none",)):
        say(f"{'' if number else label:<{_LABEL}}{printable(line)}")


def _say_structure(found: "Examination") -> None:
    from codedata.tokenize.examination import parts_of

    loaded, files = found.loaded, found.loaded.files
    config = "no tokenizer_config.json" if files.tokenizer_config is None else "its config"
    revision = f", commit {files.revision}" if files.revision else ""
    _row("tokenizer", f"{files.tokenizer_json} and {config}{revision}")
    for part in _PARTS:
        _row(part, *parts_of(loaded.structure.get(part)))
    added = loaded.tokenizer.get_added_tokens_decoder()
    vocabulary = len(loaded.tokenizer.get_vocab())
    _row("vocabulary", f"{vocabulary:,} tokens, ids up to {loaded.vocab_size - 1:,}")
    shown = [f"{each} {added[each].content!r}" for each in sorted(added)[:_SHOWN_ADDED]]
    shown += [f"{len(added) - _SHOWN_ADDED:,} more"] if len(added) > _SHOWN_ADDED else []
    num_special = sum(each.special for each in added.values())
    counts = f"{len(added):,}, of them {num_special:,} special: {', '.join(shown)}"
    _row("added tokens", *([counts] if added else []))
    if found.framing is None:
        _row("framing", "its post_processor may do more than frame the text")
    else:
        for label, ids in zip(("chunks begin", "chunks end"), found.framing, strict=True):
            _row(label, *(f"with {_framed(found, *each)}" for each in ids or ()))


def _framed(found: "Examination", token_id: int, asked_by: str) -> str:
    return f"{found.loaded.tokenizer.id_to_token(token_id)!r}, id {token_id}, by its {asked_by}"


def _say_engine(found: "Examination") -> None:
    from codedata.tokenize.engines.blocks import BlocksEngine
    from codedata.tokenize.engines.whole import WholeTextEngine

    engine, against = found.engine, found.not_proven
    _row("engine", engine.name if against else f"{engine.name}: {engine.reason}")
    by_reason = dict[str, list[str]]()
    for name, why in against:
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        _row("  not proven", f"{', '.join(names)}: {why}")
    if isinstance(engine, (BlocksEngine, WholeTextEngine)):
        _row("  what helps", f"{_PAGE}, Speed")


def _say_ids(found: "Examination") -> None:
    from codedata.tokenize.examination import BUILT_IN

    what = BUILT_IN if found.text is None else "the text"
    num_ids = sum(len(ids) for ids, _ in found.steps)
    say(f"ids of {what}: {num_ids:,} tokens, each with its text")
    line: list[str] = []
    for ids, text in found.steps:
        line.append(f"{'+'.join(map(str, ids))} {text!r}")
        if "\n" in text:
            say(f"  {'  '.join(line)}")
            line = []
    if line:
        say(f"  {'  '.join(line)}")


def _say_speed(found: "Examination") -> None:
    what, name = found.speed_text.what, found.engine.name
    *others, last = [each for _, each in found.samples]
    _row(
        "decoded again", *(found.lost or [f"{', '.join(others)} and {last} come back as they are"])
    )
    if found.not_given_back:
        characters = " ".join(map(repr, found.not_given_back))
        _row("  but for", f"{characters}: added tokens that the decoder does not give back")
    _row("speed", f"on {what}")
    with TERMINAL.waiting("measuring"):
        speed = found.speed
    _row(f"  {name}", f"{speed.engine_rate / 1e6:,.1f} MB/s on up to {speed.threads} threads")
    _row("  encode", f"{speed.encode_rate / 1e6:,.2f} MB/s: the tokenizers library, one string")
    same = f"{speed.num_tokens:,} ids of {speed.num_bytes:,} bytes are the same"
    _row("  ratio", f"{speed.ratio:,.1f} times; all {same}")


def _as_json(found: "Examination") -> dict[str, Any]:
    """What the page of commands says of `tokenizer --json`."""
    from codedata.tokenize.examination import parts_of
    from codedata.tokenize.probe import PROBE

    loaded, files = found.loaded, found.loaded.files
    added = sorted(loaded.tokenizer.get_added_tokens_decoder().items())
    before, after = found.framing or (None, None)
    text = PROBE if found.text is None else found.text
    return {
        "tokenizer": files.source,
        "tokenizer_json": str(files.tokenizer_json.absolute()),
        "tokenizer_config": files.tokenizer_config and str(files.tokenizer_config.absolute()),
        "sha256": files.fingerprint,
        "revision": files.revision,
        **{part: parts_of(loaded.structure.get(part)) for part in _PARTS},
        "vocab_size": loaded.vocab_size,
        "added_tokens": [
            {"id": each, "content": token.content, "special": token.special}
            for each, token in added
        ],
        "before": before and _framing_json(before),
        "after": after and _framing_json(after),
        "engine": found.engine.name,
        "reason": found.engine.reason,
        "not_proven": dict(found.not_proven),
        "sample": {
            "text": text,
            "tokens": [{"ids": ids, "text": each} for ids, each in found.steps],
        },
        "lost": found.lost,
        "not_given_back": found.not_given_back,
        "refused": found.refusal,
        "speed": {
            "text": found.speed_text.what,
            "bytes": found.speed.num_bytes,
            "tokens": found.speed.num_tokens,
            "threads": found.speed.threads,
            "engine_bytes_per_second": round(found.speed.engine_rate),
            "encode_bytes_per_second": round(found.speed.encode_rate),
            "ratio": round(found.speed.ratio, 2),
        },
    }


def _framing_json(framing: "Framing") -> list[dict[str, Any]]:
    return [{"id": token_id, "asked_by": asked_by} for token_id, asked_by in framing]
