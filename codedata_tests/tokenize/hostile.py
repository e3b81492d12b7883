# ruff: noqa: RUF001  (characters that look alike are what it is about)
"""A seeded generator and a tokenizer's added tokens -> texts that tell exact engines from others.

A text is some fragments, each of one kind: what Unicode has, old and new; what normalizers change;
where pre-tokens begin and end; the tokens themselves, whole and cut; and whole lines of code and
prose between them. Most are short, so that millions can be compared; one in a few hundred has a
long run of one character. The same generator gives the same texts.
"""

import random
from collections.abc import Callable, Sequence

from codedata_tests import scenario

NEW_SINCE_15 = (
    *((0x31EF, 0x31F0), (0x2FFC, 0x3000), (0x2EBF0, 0x2EE5E)),  # 15.1
    *((0x0897, 0x0898), (0x1B4E, 0x1B50), (0x1C89, 0x1C8B), (0xA7CB, 0xA7CE), (0xA7DA, 0xA7DD)),
    *((0x105C0, 0x105F4), (0x10D40, 0x10D90), (0x10EC2, 0x10EC5), (0x10EFC, 0x10EFD)),
    *((0x11380, 0x113E3), (0x116D0, 0x116E4), (0x11BC0, 0x11BFA), (0x13460, 0x143FB)),
    *((0x16100, 0x1613A), (0x16D40, 0x16D7A), (0x1CC00, 0x1CEB4), (0x1E5D0, 0x1E600)),  # 16
    *((0x088F, 0x0890), (0x0C5C, 0x0C5D), (0x0CDC, 0x0CDD), (0x1ACF, 0x1AEC), (0x20C1, 0x20C2)),
    *((0x2B96, 0x2B97), (0xA7CE, 0xA7D5), (0xA7F1, 0xA7F2), (0xFBC3, 0xFBD3), (0xFD90, 0xFD92)),
    *((0x10940, 0x1095A), (0x10ED0, 0x10ED9), (0x11B60, 0x11B68), (0x11DB0, 0x11DEA)),
    *((0x16EA0, 0x16ED4), (0x16FF4, 0x16FF7), (0x18CFF, 0x18D1F), (0x18D80, 0x18DF3)),
    *((0x1CEBA, 0x1CF00), (0x1E6C0, 0x1E700), (0x1F6D8, 0x1F6D9), (0x323B0, 0x3347A)),  # 17
)
"""Code points that Unicode 15.1, 16 and 17 assigned: start and stop.

Source: DerivedAge.txt of the Unicode Character Database.
"""

_ASSIGNED = ((0, 0xD800), (0xE000, 0x33480), (0xE0000, 0xE0200), (0xF0000, 0xF0040))
_WINDOW = 64

LETTERS = (
    *"aZſKßéÅĲǅʼnµªҐЯαΣςאبकกあア中한𝒳Ａ\u0345\u1e9e\u0130\u0131ⅷⓐ",
    *("\u212b", "\ua7ce", "\U00016ea0", "\U000323b0"),
)
MARKS = "\u0301\u0308\u0323\u0338\u093c\u05b0\u0e31\u20dd\u302a\u3099\u200d\ufe0f\U0001d165\u0897"
DIGITS = "019²½Ⅷ٣१௧〇①𝟗\U0001fbf0\U00010d40\U00016d70"
SYMBOLS = "_-.,;:!?(){}[]<>/\\|@#$%^&*~`+=\"'’´‘“—…€©™🙂☕∑￼\ufffd¡·（、。"
BLANKS = (
    *(" ", "  ", "   ", "    ", " " * 8, "\t", "\t\t", "\n", "\n\n", "\n" * 5, "\r", "\r\n"),
    *("\r\n\r\n", "\n\r", " \n", "\n ", " \n \n  ", "\t\n", "\v", "\f", "\x1c", "\x1f", "\x85"),
    *("\u00a0", "\u2028", "\u2029", "\u2003", "\u200b", "\u3000", "\u202f", "\u180e", "\ufeff"),
    *(" \u00a0", "\u3000 ", "▁", "▁▁", " ▁", "▁ "),
)
CONTROLS = "\0\x01\x08\x7f\x80\xad\u2060\ufffe\uffff"
CHANGED_BY_NORMALIZERS = (
    *("e\u0301", "\u1e9b\u0323", "\u212b", "\u2126", "\u0344", "\u0958", "\u0374", "\u037e"),
    *("\u1100\u1161\u11a8", "가\u11a8", "\u1161", "\uf900", "\U0002f800", "\ufb01", "\u2260"),
    *(
        "=\u0338",
        ">\u0338",
        "a\u0323\u0301",
        "a\u0301\u0323",
        "q\u0307\u0323",
        "\u0f73",
        "\u0cc6\u0cd5",
    ),
    *(
        "か\u3099",
        "\uff76\uff9e",
        "\u2329",
        "\u1fef",
        "\u2000",
        "\u2001",
        "ﬀ",
        "①",
        "㎏",
        "İ",
        "\u0340",
    ),
    *("\U0001d15e", "\U000110a5\U000110ba", "\U00011382\U000113c9", "\U00016d67\U00016d67"),
)
QUOTES = "'’ʼ＇`"
CONTRACTIONS = (*"stmdSTſ\u212ar", "re", "ve", "ll", "Re", "vE", "LL", "lſ")
"""What may follow a quote, in any case; U+017F and U+212A (Kelvin) are s and k to some."""
SHAMS = (
    *("<0x0A>", "<0xE4>", "Ġ", "Ċ", "##a", "##", "[UNK]", "<unk>", "<s>", "</s>", "<|", "|>"),
    *("<|endoftext|>", "[INST]", "<｜", "｜>", "</", "<pad>", "[CLS]", "[MASK]", "<mask>"),
    *("``", "''"),
)
"""What vocabularies write for something else, and tokens that this tokenizer may not have."""

PIECES = (
    *(*LETTERS, *MARKS, *DIGITS, *SYMBOLS, *BLANKS, *CONTROLS, *CHANGED_BY_NORMALIZERS, *SHAMS),
    *(quote + suffix for quote in QUOTES for suffix in CONTRACTIONS),
    *(scenario.EOT, scenario.BOS, scenario.PAD, "0x", "zqzq", "int", "->", "();", "{\n"),
)
"""Where pre-tokens begin and end, and whatever may be taken for it."""

PROSE = (
    "The quick brown fox doesn't jump; it's tired, and they'll've WE'RE gone 1,234.56 miles.",
    "Быстрая лиса не перепрыгнула через ленивую собаку — ей 25 лет, и это правда.",
    "敏捷的棕色狐狸跳过了懒狗。他说:“今天是2026年11月30日。”素早い茶色の狐がノロマな犬を飛び越える",
    "날렵한 갈색 여우가 게으른 개를 뛰어넘는다. الثعلب البني السريع يقفز فوق الكلب ١٢٣",
    "शीघ्र भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। עברית שָׁלוֹם ภาษาไทยไม่มีช่องว่าง Tiếng Việt có dấu",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ❤️ ☺ 1️⃣ © ® ™ ½ € ∀x∈ℝ ⌊x⌋ ≠ ∞",
    "https://example.org/a_b?c=%20#d foo_bar FooBar fooBAR HTTPServer x86_64 0xDEADBEEF 1e-10f",
)
CODE = "\n".join(scenario.c_documents(12, seed=7))


def hostile_text(random_: random.Random, tokens: Sequence[str] = ()) -> str:
    """A text of up to some 2,000 bytes, one in 300 much longer.

    Args:
        random_: its state says which text.
        tokens: the tokenizer's added and special tokens.
    """
    if random_.random() < 1 / 300:
        return _long_run(random_, tokens)
    kinds = random_.choices(_KINDS, k=random_.choice((1, 2, 3, 5, 9, 17)))
    text = "".join(kind(random_, tokens) for kind in kinds)
    if random_.random() < 0.3:
        text = random_.choice(BLANKS) + text
    return text + random_.choice(BLANKS) if random_.random() < 0.3 else text


def _window(random_: random.Random, *_: object) -> str:
    """Neighbours in Unicode, mostly of one script, in words."""
    low, high = random_.choices(_ASSIGNED, weights=(6, 6, 1, 1))[0]
    start = random_.randrange(low, high, _WINDOW)
    codes = [random_.randrange(start, min(start + _WINDOW, high)) for _ in range(12)]
    return "".join(chr(code) + (" " if random_.random() < 0.15 else "") for code in codes)


def _new(random_: random.Random, *_: object) -> str:
    chars = [chr(random_.randrange(*random_.choice(NEW_SINCE_15))) for _ in range(4)]
    between = random_.choice(("", " ", "a", "1", "'", "_", "Я", "中"))
    return between.join(char * random_.choice((1, 1, 2)) for char in chars)


def _any_code_points(random_: random.Random, *_: object) -> str:
    planes = random_.choices(((0, 0xD800), (0xE000, 0x110000), (0, 0x800)), k=20)
    return "".join(chr(random_.randrange(*plane)) for plane in planes)


def _ascii(random_: random.Random, *_: object) -> str:
    return "".join(map(chr, random_.choices(range(128), k=random_.randrange(1, 40))))


def _classes(random_: random.Random, *_: object) -> str:
    """Characters of every class that a pattern may ask for, in any order."""
    kinds = random_.choices((LETTERS, MARKS, DIGITS, SYMBOLS, BLANKS, QUOTES, "aB1 "), k=12)
    return "".join(random_.choice(kind) for kind in kinds)


def _contractions(random_: random.Random, *_: object) -> str:
    word = random_.choice(("", "don", "I", "WE", "ſ", "é", "中", "1", " ", "\n", "_", "''"))
    after = random_.choice(("", " ", "x", "1", "'s", "\n", "\u0301", "ſ"))
    return word + random_.choice(QUOTES) + random_.choice(CONTRACTIONS) + after


def _normalized(random_: random.Random, *_: object) -> str:
    pieces = random_.choices((*CHANGED_BY_NORMALIZERS, *MARKS, "a", " ", "1", "\n"), k=6)
    return "".join(pieces)


def _marked(random_: random.Random, *_: object) -> str:
    base = random_.choice((*LETTERS, *DIGITS, *SYMBOLS, " ", "\n", "'"))
    return base + "".join(random_.choices(MARKS, k=random_.randrange(1, 5)))


def _blanks(random_: random.Random, *_: object) -> str:
    return "".join(random_.choices((*BLANKS, *CONTROLS, "a", "1", "."), k=8))


def _cuts(random_: random.Random, *_: object) -> str:
    """Letters and digits before white space, and what may follow that."""
    after = (*LETTERS, *DIGITS, *SYMBOLS, *MARKS, *BLANKS, "'s", "")
    return "".join(
        random_.choice("aZ09xé") + random_.choice(BLANKS) + random_.choice(after) for _ in range(5)
    )


def _token(random_: random.Random, tokens: Sequence[str]) -> str:
    """A token whole, cut, doubled, grown, beside white space and within a word."""
    token = random_.choice(tokens) if tokens and random_.random() < 0.9 else random_.choice(SHAMS)
    place = random_.randrange(len(token) + 1)
    changed = random_.choice(
        (
            *(token, token, token, token * 2, token[:place], token[place:], token[:-1], token[1:]),
            *(token[:place] + random_.choice((" ", "\n", "a", "▁", "\u0301")) + token[place:],),
            *(token.upper(), token + token[:place], token[place:] + token, token + " " + token),
        )
    )
    around = (*BLANKS, *"a1_.é中'\u0301", "", "", "")
    return random_.choice(around) + changed + random_.choice(around)


def _run(random_: random.Random, tokens: Sequence[str], most: int = 130) -> str:
    many = (*BLANKS, *LETTERS, *DIGITS, *SYMBOLS, *MARKS, *CONTROLS, *tokens[:40], "ab", "= ", "'s")
    return random_.choice(many) * random_.choice((2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, most))


def _long_run(random_: random.Random, tokens: Sequence[str]) -> str:
    """Up to 100,000 characters; a run of letters, which the library takes long for, is shorter."""
    char = random_.choice((*BLANKS, *DIGITS, *SYMBOLS, *MARKS, *LETTERS, "\0"))
    length = random_.choice((255, 1_000, 4_097, 20_000, 100_000))
    ends = [random_.choice(_KINDS)(random_, tokens) for _ in range(2)]
    return (char * (length // len(char))).join(ends)


def _of(text: str, most: int) -> Callable[..., str]:
    def excerpt(random_: random.Random, *_: object) -> str:
        start = random_.randrange(len(text))
        return text[start : start + random_.randrange(1, most)]

    return excerpt


def _lines(random_: random.Random, *_: object) -> str:
    """Comments in many languages, as code has them."""
    indent, end = random_.choice(BLANKS), random_.choice(("\n", "\r\n", " ", "*/\n"))
    return indent + random_.choice(("// ", "# ", "/*", "")) + random_.choice(PROSE) + end


_KINDS: tuple[Callable[[random.Random, Sequence[str]], str], ...] = (
    *(_window, _window, _new, _any_code_points, _ascii, _classes, _classes, _contractions),
    *(_normalized, _marked, _blanks, _blanks, _cuts, _cuts, _token, _token, _token, _run),
    *(_of(CODE, 200), _of(CODE, 60), _of(" ".join(PROSE), 80), _lines),
)
