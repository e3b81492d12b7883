"""The switches of a dataset and the character ranges they imply.

Switches -> validated `Settings`; a window of characters -> the chunks it is cut into.
Every address counts characters (Unicode code points), never bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from codedata.errors import SettingsError
from codedata.format.packing import MAX_TOKEN_ID
from codedata.format.ranges import MAX_CHARACTERS, CharRange

DEFAULT_TOKENIZER = "deepseek-ai/deepseek-coder-33b-base"

DEFAULT_PAD_TOKEN = 32014
"""deepseek-coder's own; of another tokenizer it may well be a token of text."""


MAX_SEQ_LENGTH = 2**24
"""A sample is padded to seq_length: 16.8 million ids are 80 MB, beyond any context window."""


_SHOWN_BITS = 256
"""A message shows numbers of up to 77 digits; Python itself refuses to print those of 4,300."""


def pad_token_of(text: str) -> int | str:
    """The id that digits write; else the name of a token."""
    try:
        return int(text)
    except ValueError:
        return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The switches of the reference script, with its names and defaults.

    `pad_token` is an id, or until a tokenizer was loaded the name of one of its tokens.

    Raises:
        SettingsError: a value is outside its range; the message names every such switch.
    """

    tokenizer_base: str = DEFAULT_TOKENIZER
    min_sample_length: int = 1000
    seq_length: int = 1536
    max_dump_size: int = 10_000
    pad_token: int | str = DEFAULT_PAD_TOKEN
    starting_character: int = 0
    chars_to_tokenize: int = 100_000_000
    chunk_size: int = 10_000_000

    def __post_init__(self) -> None:
        limits = {
            "min_sample_length": (0, MAX_CHARACTERS),
            "seq_length": (1, MAX_SEQ_LENGTH),
            "max_dump_size": (1, MAX_CHARACTERS),
            "pad_token": (0, MAX_TOKEN_ID),
            "starting_character": (0, MAX_CHARACTERS),
            "chars_to_tokenize": (1, MAX_CHARACTERS),
            "chunk_size": (1, MAX_CHARACTERS),
        }
        wrong: list[str] = []
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if name == "pad_token" and isinstance(value, str):
                if not value:
                    wrong.append("pad_token must be an id or name a token, and is empty")
            elif not isinstance(value, int) or isinstance(value, bool):
                wrong.append(f"{name} must be a whole number, not {value!r}")
            elif not least <= value <= most:
                shown = value if value.bit_length() <= _SHOWN_BITS else "a far larger number"
                wrong.append(f"{name} must be {least} to {most}, not {shown}")
        tokenizer = self.as_dict()["tokenizer_base"]
        if not isinstance(tokenizer, str):
            wrong.append(f"tokenizer_base must be text, not {tokenizer!r}")
        elif not tokenizer.strip():
            wrong.append("tokenizer_base must name a tokenizer, and is empty")
        if wrong:
            raise SettingsError("; ".join(wrong))

    @property
    def window(self) -> CharRange:
        """The characters asked for, before the text's own length shortens them."""
        return CharRange(self.starting_character, self.starting_character + self.chars_to_tokenize)

    @property
    def pad_id(self) -> int:
        """The id that fills up samples.

        Raises:
            SettingsError: `pad_token` is a name still: the switches are of no dataset.
        """
        if isinstance(self.pad_token, str):
            raise SettingsError(
                f"pad_token is the name {self.pad_token!r}, of which no tokenizer has said the id; "
                "name the id"
            )
        return self.pad_token

    def as_dict(self) -> dict[str, int | str]:
        """The switches by name, in declaration order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def require_held_out(
    name: str, windows: Sequence[CharRange], others: Mapping[str, Sequence[CharRange]]
) -> None:
    """Refuse a split whose windows share characters with a split it is held out from.

    Args:
        name: of the split.
        windows: its characters, a range a file.
        others: those of the splits it is held out from, by name.

    Raises:
        SettingsError: naming both splits and the shared range.
    """
    for other_name, other_windows in others.items():
        theirs = {other.file: other for other in other_windows}
        for window in windows:
            other = theirs.get(window.file)
            if other is None:
                continue
            start, stop = max(window.start, other.start), min(window.stop, other.stop)
            if start < stop:
                where = f" of file {window.file}" if window.file else ""
                raise SettingsError(
                    f"split {name!r} is held out from {other_name!r}, but characters {start} to "
                    f"{stop}{where} are in both: {name!r} takes {window.start} to {window.stop}, "
                    f"{other_name!r} {other.start} to {other.stop}; move starting_character of "
                    f"{name!r} to {other.stop} or later"
                )
