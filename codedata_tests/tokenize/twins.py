# ruff: noqa: RUF001  (characters that look alike are in the tokens of families)
"""The families' structures -> small tokenizers of them, trained here; nothing of the real ones.

A twin has the normalizer, the pre-tokenizer, the model's flags, the post-processor and the kinds of
added tokens that the family's tokenizer.json declares, and a vocabulary of 1,000 to 3,000 tokens
that were trained on code, prose of many scripts, and each sort of new code point beside all that a
pattern tells apart: an engine that splits elsewhere than the library merges otherwise, and shows.
"""

import base64
import copy
import json
import random
import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers, trainers

from codedata_tests.tokenize.hostile import CODE, NEW_SINCE_15, PROSE, hostile_text
from codedata_tests.tokenize.structures import UNMERGED

Json = dict[str, Any]

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TIKTOKEN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"
)
QWEN35 = CL100K.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN35.replace(r"[^\s\p{L}\p{N}]+", r"[^\s\p{L}\p{M}\p{N}]+")
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NEMO = rf"{_UPPER}*{_LOWER}+|{_UPPER}+{_LOWER}*|\p{{N}}{_REST}"
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = rf"{_UPPER}*{_LOWER}+{_SUFFIX}|{_UPPER}+{_LOWER}*{_SUFFIX}|\p{{N}}{{1,3}}{_REST}"
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    (
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
        "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
        "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
    ),
)
DEEPSEEK_CODER = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+")


def byte_level(*, prefix: bool = False, regex: bool = False) -> Json:
    flags = {"add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
    return {"type": "ByteLevel", **flags}


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> Json:
    step = {"type": "Split", "behavior": behavior, "invert": invert}
    return step | {"pattern": {"Regex": pattern}}


def steps(*each: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(each)}


def normalizers(*each: Json) -> Json:
    return {"type": "Sequence", "normalizers": list(each)}


def metaspace(scheme: str, *, splits: bool = True) -> Json:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def replaced(text: str, by: str) -> Json:
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


def added(content: str, **flags: bool) -> Json:
    names = ("single_word", "lstrip", "rstrip", "normalized")
    return {"content": content} | dict.fromkeys(names, False) | {"special": True} | flags


def plain(*contents: str) -> list[Json]:
    """Added tokens that are not special."""
    return [added(content, special=False) for content in contents]


def specials(*contents: str) -> list[Json]:
    return [added(content) for content in contents]


def framed(first: str | None, last: str | None = None) -> Callable[[Json], Json]:
    """TemplateProcessing; the ids are those of the vocabulary."""

    def made(ids: Json) -> Json:
        text: list[Json] = [{"Sequence": {"id": "A", "type_id": 0}}]
        before = [{"SpecialToken": {"id": first, "type_id": 0}}] if first else []
        after = [{"SpecialToken": {"id": last, "type_id": 0}}] if last else []
        tokens = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (first, last) if t}
        pair = [*text, {"Sequence": {"id": "B", "type_id": 1}}]
        texts_ = {"single": before + text + after, "pair": pair}
        return {"type": "TemplateProcessing", "special_tokens": tokens, **texts_}

    return made


def charsmap(changes: dict[str, str]) -> str:
    """Base64 of what SentencePiece compiles its changes of text into.

    Source: the double array of https://github.com/s-yata/darts-clone; a node's children lie at its
    number, times 256, plus their byte, and a value where a zero byte would be.
    """
    nodes, texts, children = [b""], b"", dict[bytes, int]()
    for key in changes:
        for stop in range(1, len(key.encode()) + 1):
            if key.encode()[:stop] not in nodes:
                nodes.append(key.encode()[:stop])
    ends = {key.encode() for key in changes}
    array = [1 << 31] * 256 * (len(nodes) + 1)
    for number, node in enumerate(nodes, 1):
        place = 256 * children[node[:-1]] + node[-1] if node else 0
        children[node] = number
        array[place] = (place ^ 256 * number) << 10 | (node in ends) << 8 | (node or b"\0")[-1]
    for key, text in changes.items():
        array[256 * children[key.encode()]] = 1 << 31 | len(texts)
        texts += text.encode() + b"\0"
    trie = struct.pack(f"<{len(array)}I", *array)
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + texts).decode()


NMT_NFKC = {
    **dict.fromkeys("\t\n\r\u00a0\u2003\u3000\u2028\u200b\ufeff", " "),
    **dict.fromkeys("\x01\x7f\xad", ""),
    **dict(zip("ﬁ①½ＡÅ㎏", ("fi", "1", "1⁄2", "A", "Å", "kg"), strict=True)),
    "e\u0301": "é",
}
"""A few of the changes of SentencePiece's rule nmt_nfkc."""
PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": charsmap(NMT_NFKC)}


KNOWN = [*CODE.split("\n}\n"), *PROSE * 8]
"""What vocabularies without bytes are trained on: other characters are unknown to them."""


@cache
def texts() -> list[str]:
    """What the others are trained on."""
    random_ = random.Random(3)
    new = [chr(random_.randrange(*codes)) for codes in NEW_SINCE_15]
    around = "a{0} {0}b1{0} _{0}'{0} {0}{0}{0}'s {0}({0}a {0}\n中{0}я{0}Z {0}1 \t{0}/".format
    hostile = [hostile_text(random_)[:2000] for _ in range(150)]
    return [*KNOWN, *[around(char) for char in new] * 8, *hostile]


@cache
def _merged(structure: str, vocab_size: int) -> tuple[dict[str, int], list[Any]]:
    """Vocabulary and merges of bytes, trained on what a structure's first steps leave."""
    tokenizer = Tokenizer.from_str(structure)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], model["merges"]


def _structure(model: Json, **parts: Any) -> Json:
    none = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {"version": "1.0", "added_tokens": [], **dict.fromkeys(none), "model": model} | parts


def _with_added(structure: Json, tokens: list[Json], post: Any) -> Json:
    """Added tokens behind the vocabulary, where they are not of it; and the post-processor."""
    ids: Json = (
        dict(structure["model"]["vocab"])
        if structure["model"]["type"] != "Unigram"
        else {token: place for place, (token, _) in enumerate(structure["model"]["vocab"])}
    )
    for token in tokens:
        token_id = ids.setdefault(token["content"], len(ids))
        structure["added_tokens"].append({"id": token_id, **token})
    structure["added_tokens"].sort(key=lambda token: token["id"])
    structure["post_processor"] = post(ids) if callable(post) else post
    return structure


def bytes_bpe(
    pre_tokenizer: Json,
    tokens: list[Json],
    *,
    normalizer: Json | None = None,
    post: Any = None,
    vocab_size: int = 1_500,
    **flags: Any,
) -> Json:
    """A byte-level BPE."""
    if post is None:
        post = byte_level(regex=True)
    empty = _structure({"type": "BPE", "vocab": {}, "merges": []}, pre_tokenizer=pre_tokenizer)
    vocab, merges = _merged(json.dumps(empty | {"normalizer": normalizer}), vocab_size)
    flags = {"continuing_subword_prefix": None, "end_of_word_suffix": None} | flags
    model = {"type": "BPE", "unk_token": None, "dropout": None, "fuse_unk": False, **flags}
    model |= {"byte_fallback": False, "vocab": dict(vocab), "merges": merges}
    if flags.get("ignore_merges"):
        model["vocab"] |= {word: len(vocab) + place for place, word in enumerate(UNMERGED)}
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": byte_level()}
    return _with_added(_structure(model, **parts), tokens, post)


@cache
def _sentencepieces() -> tuple[list[str], list[Any]]:
    """Pieces and merges as SentencePiece trains them: no piece has ▁ within but a run of it."""
    words = [
        word
        for text in texts()
        for line in text.splitlines()
        for word in re.findall("▁[^▁]+|[^▁]+|▁+(?=▁|$)", "▁" + line.replace(" ", "▁"))
    ]
    tokenizer = Tokenizer.from_str(
        json.dumps(_structure({"type": "BPE", "vocab": {}, "merges": []}))
    )
    trainer = trainers.BpeTrainer(vocab_size=2_000, limit_alphabet=700, show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), model["merges"]


def sentencepiece_bpe(
    tokens: list[Json],
    *,
    normalizer: Json | None = None,
    pre_tokenizer: Json | None = None,
    post: Any = None,
    **flags: Any,
) -> Json:
    """A BPE of characters that falls back to bytes."""
    trained, merges = _sentencepieces()
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *trained]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None, **flags}
    vocab = {piece: place for place, piece in enumerate(pieces)}
    model |= {"byte_fallback": True, "vocab": vocab, "merges": merges}
    undone = {"type": "Sequence", "decoders": [replaced("▁", " "), {"type": "ByteFallback"}]}
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": undone}
    structure = _structure(model, **parts)
    return _with_added(structure, tokens, framed("<s>") if post is None else post)


@cache
def _trained(structure: str, kind: str, specials_: tuple[str, ...]) -> Json:
    """The model that a trainer of the library makes of a structure."""
    tokenizer = Tokenizer.from_str(structure)
    options: Json = {"special_tokens": list(specials_), "show_progress": False, "vocab_size": 1_200}
    if kind == "Unigram":
        trainer = trainers.UnigramTrainer(unk_token="<unk>", n_sub_iterations=1, **options)
    else:
        trainer = trainers.WordPieceTrainer(limit_alphabet=500, **options)
    tokenizer.train_from_iterator(KNOWN, trainer)
    return json.loads(tokenizer.to_str())["model"]


def unigram(normalizer: Json | None, pre_tokenizer: Json, tokens: list[Json], post: Any) -> Json:
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
    empty = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]], "byte_fallback": False}
    first = ("<unk>", "<s>", "</s>", "<pad>", "[CLS]", "[SEP]")
    model = _trained(json.dumps(_structure(empty, **parts)), "Unigram", first)
    parts["decoder"] = metaspace("always")
    return _with_added(_structure(dict(model), **parts), tokens, post)


def wordpiece(*, lowercase: bool) -> Json:
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    normalizer |= {"strip_accents": None, "lowercase": lowercase}
    parts = {"normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}}
    empty = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    empty |= {"max_input_chars_per_word": 100, "vocab": {"[UNK]": 0}}
    first = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    model = _trained(json.dumps(_structure(empty, **parts)), "WordPiece", first)
    structure = _structure(dict(model), **parts)
    structure["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return _with_added(structure, specials(*first), framed("[CLS]", "[SEP]"))


NFC, BYTES = {"type": "NFC"}, byte_level()
AFTER_REGEX = byte_level(regex=True)
SPACES = normalizers({"type": "Prepend", "prepend": "▁"}, replaced(" ", "▁"))
FRAMING = specials("<unk>", "<s>", "</s>")
CHAT = specials("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|repo_name|>")
DEEPSEEK = specials("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜EOT｜>")
TURNS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|placeholder1|>")
GEMMA = plain(
    *("<mask>", "[multimodal]", *("\n" * times for times in range(1, 32))),
    *("▁" * times for times in range(2, 32)),
    *(f"<{end}{tag}>" for tag in ("table", "h1", "b", "code", "strong", "ul") for end in ("", "/")),
    *(f"<unused{number}>" for number in range(6_000)),
)
INST = specials("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")

TWINS: dict[str, Callable[[], Json]] = {
    "gpt2": lambda: bytes_bpe(AFTER_REGEX, specials("<|endoftext|>"), continuing_subword_prefix=""),
    "neox": lambda: bytes_bpe(
        AFTER_REGEX,
        [
            *specials("<|endoftext|>", "<|padding|>"),
            *(added(" " * n, special=False, normalized=True) for n in range(24, 1, -1)),
        ],
        normalizer=NFC,
    ),
    "starcoder2": lambda: bytes_bpe(
        steps({"type": "Digits", "individual_digits": True}, AFTER_REGEX),
        specials("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<file_sep>", "<issue_start>"),
    ),
    "cl100k": lambda: bytes_bpe(steps(split(CL100K, "Removed", invert=True), BYTES), CHAT),
    "cl100k of tiktoken": lambda: bytes_bpe(steps(split(TIKTOKEN), BYTES), CHAT),
    "cl100k, older": lambda: bytes_bpe(
        steps(split(CL100K.replace(r"\s*[\r\n]+", r"\s*[\r\n]")), BYTES), CHAT
    ),
    "olmo2": lambda: bytes_bpe(
        steps(split(CL100K), BYTES), [*CHAT, *plain("|||PHONE_NUMBER|||", "|||IP_ADDRESS|||")]
    ),
    "llama3": lambda: bytes_bpe(
        steps(split(CL100K), BYTES),
        specials(
            *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>"),
            *(f"<|reserved_special_token_{number}|>" for number in range(252)),
        ),
        post=framed("<|begin_of_text|>"),
        ignore_merges=True,
    ),
    "qwen2": lambda: bytes_bpe(
        steps(split(CL100K.replace("{1,3}", "")), BYTES),
        [*CHAT, *plain("<tool_call>", "</tool_call>", "<think>", "</think>")],
        normalizer=NFC,
    ),
    "qwen3.5": lambda: bytes_bpe(steps(split(QWEN35), BYTES), CHAT, normalizer=NFC),
    "deepseek-v3": lambda: bytes_bpe(
        steps(*map(split, DEEPSEEK_V3), BYTES), DEEPSEEK, normalizer=normalizers()
    ),
    "deepseek-coder": lambda: bytes_bpe(
        steps(*map(split, DEEPSEEK_CODER), {"type": "Digits", "individual_digits": True}, BYTES),
        [
            *plain("õ", "÷", "ü", "Á", "<|User|>", "<|EOT|>"),
            *specials("<｜begin▁of▁sentence｜>", "<｜fim▁hole｜>"),
        ],
        normalizer=normalizers(),
        post=framed("<｜begin▁of▁sentence｜>"),
    ),
    "o200k": lambda: bytes_bpe(steps(split(O200K, "Removed", invert=True), BYTES), CHAT),
    "gpt-oss": lambda: bytes_bpe(steps(split(O200K), BYTES), CHAT),
    "nemo": lambda: bytes_bpe(
        steps(split(NEMO), BYTES), FRAMING + INST, post=framed("<s>"), ignore_merges=True
    ),
    "roberta": lambda: bytes_bpe(
        byte_level(prefix=True, regex=True),
        [*specials("<s>", "<pad>", "</s>", "<unk>"), added("<mask>", lstrip=True)],
        post=framed("<s>", "</s>"),
    ),
    "llama2": lambda: sentencepiece_bpe(FRAMING, normalizer=SPACES),
    "codellama": lambda: sentencepiece_bpe(
        [
            *(added(token, normalized=True) for token in ("<unk>", "<s>", "</s>")),
            *specials("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"),
        ],
        normalizer=SPACES,
    ),
    "phi3": lambda: sentencepiece_bpe(
        [
            *specials("<unk>", "<s>", "<|endoftext|>"),
            *(added(token, rstrip=True) for token in TURNS),
            added("</s>", rstrip=True, special=False),
        ],
        normalizer=SPACES,
    ),
    "mistral": lambda: sentencepiece_bpe(
        [*FRAMING, *INST], pre_tokenizer=metaspace("first", splits=False), ignore_merges=False
    ),
    "gemma3": lambda: sentencepiece_bpe(
        [*specials("<pad>", "<eos>", "<bos>", "<unk>"), *GEMMA],
        normalizer=replaced(" ", "▁"),
        pre_tokenizer=split(" ", "MergedWithPrevious") | {"pattern": {"String": " "}},
        post=framed("<bos>"),
        ignore_merges=False,
    ),
    **{
        f"metaspace {scheme}{', in words' if splits else ''}": (
            lambda scheme=scheme, splits=splits: sentencepiece_bpe(
                FRAMING + plain("[TOOL]"), pre_tokenizer=metaspace(scheme, splits=splits)
            )
        )
        for scheme in ("first", "always", "never")
        for splits in (True, False)
    },
    "t5": lambda: unigram(
        PRECOMPILED,
        steps({"type": "WhitespaceSplit"}, metaspace("always")),
        specials("<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(20))),
        framed(None, "</s>"),
    ),
    "xlm-r": lambda: unigram(
        {"type": "NFKC"},
        metaspace("always"),
        [*specials("<s>", "<pad>", "</s>", "<unk>"), added("<mask>", lstrip=True)],
        framed("<s>", "</s>"),
    ),
    "albert": lambda: unigram(
        normalizers(
            *(replaced("``", '"'), replaced("''", '"'), {"type": "NFKD"}),
            *({"type": "StripAccents"}, {"type": "Lowercase"}, PRECOMPILED),
        ),
        steps({"type": "WhitespaceSplit"}, metaspace("always")),
        [*specials("<pad>", "<unk>", "[CLS]", "[SEP]"), added("[MASK]", lstrip=True)],
        framed("[CLS]", "[SEP]"),
    ),
    "bert": lambda: wordpiece(lowercase=False),
    "bert uncased": lambda: wordpiece(lowercase=True),
    "unknown": lambda: bytes_bpe(
        steps({"type": "UnicodeScripts"}, split(r"\w+|\W"), BYTES),
        plain("@@", "<a b>"),
        normalizer={"type": "NFKC"},
    ),
}


def with_vocabulary_changed(structure: Json, change: Callable[[Json], None]) -> Json:
    """A structure with its model changed, and no other added tokens than a frame."""
    changed = structure | {"model": copy.deepcopy(structure["model"]), "added_tokens": []}
    change(changed["model"])
    return _with_added(changed, FRAMING, framed("<s>", "</s>"))


def _shuffle_merges(model: Json) -> None:
    random.Random(1).shuffle(model["merges"])


def _permute_ids(model: Json) -> None:
    ids = random.Random(1).sample(list(model["vocab"].values()), len(model["vocab"]))
    model["vocab"] = dict(zip(model["vocab"], ids, strict=True))


def _drop_merges(model: Json) -> None:
    """Leave tokens that nothing makes, and others that are made in one way of several."""
    model["merges"] = model["merges"][::2]


def _without_letter(model: Json) -> None:
    vocab = [token for token in model["vocab"] if "a" not in token]
    model["vocab"] = {token: place for place, token in enumerate(vocab)}
    model["merges"] = [merge for merge in model["merges"] if "a" not in "".join(merge)]


def _merge_over_marks(model: Json) -> None:
    model["vocab"] |= {"s▁": len(model["vocab"])}
    model["merges"] = [["s", "▁"], *model["merges"]]


def _merge_lowercase(model: Json) -> None:
    model["vocab"] |= {"t▁": len(model["vocab"])}
    model["merges"] = [["t", "▁"], *model["merges"]]


def _any_flags() -> list[Json]:
    """Added tokens of all flags, some of them one another's parts."""
    return [
        *plain("ab", "abc", "bc", "é", "e\u0301", "12", "  ", "\n\n", ";", "K"),
        *(added(token, special=False, normalized=True) for token in ("<n>", "   ", "a;b", "K9")),
        *(added(token, special=False, single_word=True) for token in ("int", "if")),
        *(added("<x>", lstrip=True, rstrip=True), added("<l>", lstrip=True, normalized=True)),
    ]


TRAPS: dict[str, Callable[[], Json]] = {
    "merges in no order": lambda: with_vocabulary_changed(TWINS["gpt2"](), _shuffle_merges),
    "ids in no order": lambda: with_vocabulary_changed(TWINS["o200k"](), _permute_ids),
    "tokens without merges": lambda: with_vocabulary_changed(TWINS["gpt2"](), _drop_merges),
    "pieces without merges": lambda: with_vocabulary_changed(TWINS["mistral"](), _drop_merges),
    "pieces that go on behind a mark": lambda: with_vocabulary_changed(
        TWINS["llama2"](), _merge_over_marks
    ),
    "pieces merged in no order": lambda: with_vocabulary_changed(
        TWINS["llama2"](), _shuffle_merges
    ),
    "no letter a": lambda: with_vocabulary_changed(TWINS["gpt2"](), _without_letter),
    "a frame that is a letter": lambda: bytes_bpe(AFTER_REGEX, specials("a"), post=framed("a")),
    "all flags": lambda: bytes_bpe(AFTER_REGEX, _any_flags()),
    "all flags, NFC": lambda: bytes_bpe(AFTER_REGEX, _any_flags(), normalizer=NFC),
    "all flags, marks": lambda: sentencepiece_bpe(
        [*FRAMING, *_any_flags()], normalizer=replaced(" ", "▁")
    ),
    "a start behind tokens that are words": lambda: sentencepiece_bpe(
        [*FRAMING, *specials("int", "Z", "i")], normalizer=SPACES
    ),
    "a first space behind tokens that are words": lambda: bytes_bpe(
        byte_level(prefix=True, regex=True), specials("int", "Z", "i")
    ),
    "white space stripped behind tokens that are words": lambda: bytes_bpe(
        AFTER_REGEX,
        specials("int", "i"),
        normalizer={"type": "Strip", "strip_left": True, "strip_right": True},
    ),
    "a token whose mark is a space": lambda: sentencepiece_bpe(
        [*FRAMING, added("int▁i", special=False, normalized=True)], normalizer=SPACES
    ),
    "a token whose blank is a space": lambda: bytes_bpe(
        AFTER_REGEX,
        [added("int\u00a0i", special=False, normalized=True)],
        normalizer={"type": "NFKC"},
    ),
    "a token whose tilde is a space": lambda: bytes_bpe(
        AFTER_REGEX,
        [added("int~i", special=False, normalized=True)],
        normalizer=replaced("~", " "),
    ),
    "a token whose tab is a space": lambda: unigram(
        PRECOMPILED,
        steps({"type": "WhitespaceSplit"}, metaspace("always")),
        [*specials("</s>", "<unk>"), added("int\ti", special=False, normalized=True)],
        framed(None, "</s>"),
    ),
    "small letters merged with a mark": lambda: with_vocabulary_changed(
        sentencepiece_bpe([], normalizer=normalizers({"type": "Lowercase"}, replaced(" ", "▁"))),
        _merge_lowercase,
    ),
    "marks removed": lambda: sentencepiece_bpe(
        FRAMING, normalizer=normalizers(replaced(" ", "▁"), replaced("▁", ""))
    ),
}
"""Structures in which a cut, or what a faster engine takes for granted, would change ids."""
