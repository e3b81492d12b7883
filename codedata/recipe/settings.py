"""The switches of a dataset and the character ranges they imply.

Switches -> validated `Settings`; a window of characters -> the chunks it is cut into.
Every address counts characters (Unicode code points), never bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

from codedata.errors import SettingsError
from codedata.format.packing import MAX_TOKEN_ID, count_samples
from codedata.format.ranges import MAX_CHARACTERS, CharRange

DEFAULT_TOKENIZER = "deepseek-ai/deepseek-coder-33b-base"

DEFAULT_PAD_TOKEN = 32014
"""deepseek-coder's own; of another tokenizer it may well be a token of text."""


ALL = "all"
"""In place of a number: every character of a text, or every file of a corpus."""

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
class Switch:
    """One switch, as the script, YAMLs, the environment and the documentation have it.

    Attributes:
        name: everywhere the same.
        default: of the reference script.
        type: of its values.
        help: what it does, in a line.
        least: the smallest whole number that it takes.
        most: the largest one.
        takes_all: whether it may be `all`, which stands for the largest one.
    """

    name: str
    default: int | str
    type: Any
    help: str
    least: int
    most: int
    takes_all: bool = False

    @property
    def parse(self) -> Callable[[str], int | str]:
        """What makes a value of a text; a ValueError says that it is no whole number."""
        if self.takes_all:
            return _number_or_all
        return self.type if self.type in (int, str) else pad_token_of

    def why_not(self, value: object) -> str | None:
        """What is wrong with a value; None where it may be taken."""
        if isinstance(value, str) and self.type is not int:
            empty = not value.strip() if self.type is str else not value
            return f"{self.name} must {_NAMED[self.name]}, and is empty" if empty else None
        if self.type is str:
            return f"{self.name} must be text, not {value!r}"
        if self.takes_all and value == ALL:
            return None
        or_all = f", or {ALL}" if self.takes_all else ""
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{self.name} must be a whole number{or_all}, not {value!r}"
        if not self.least <= value <= self.most:
            shown = value if value.bit_length() <= _SHOWN_BITS else "a far larger number"
            most = f"{self.most}{or_all}"
            return f"{self.name} must be {self.least} to {most}, not {shown}"
        return None

    def shown(self, value: int | str) -> int | str:
        """A value as people write it."""
        return ALL if self.takes_all and value == self.most else value


_NAMED = {"tokenizer_base": "name a tokenizer", "pad_token": "be an id or name a token"}


def _number_or_all(text: str) -> int | str:
    return text if text == ALL else int(text)


def _switch(
    default: Any, what: str, *, least: int = 0, most: int = MAX_CHARACTERS, takes_all: bool = False
) -> Any:
    metadata = {"help": what, "least": least, "most": most, "takes_all": takes_all}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The switches of the reference script, with its names and defaults.

    `pad_token` is an id, or until a tokenizer was loaded the name of one of its tokens. Of
    `chars_to_tokenize`, `all` is taken for the largest number.

    Raises:
        SettingsError: a value is outside its range; the message names every such switch.
    """

    tokenizer_base: str = _switch(
        DEFAULT_TOKENIZER, "hub name, folder or tokenizer.json of the tokenizer"
    )
    min_sample_length: int = _switch(
        1000, "a rest of a chunk of this many tokens or fewer is dropped"
    )
    seq_length: int = _switch(1536, "tokens a sample", least=1, most=MAX_SEQ_LENGTH)
    max_dump_size: int = _switch(10_000, "samples a shard file, at most", least=1)
    pad_token: int | str = _switch(
        DEFAULT_PAD_TOKEN,
        "id or name of the token that fills up the last sample of a chunk; the default is "
        "deepseek-coder's, and no other tokenizer's text may have it",
        most=MAX_TOKEN_ID,
    )
    starting_character: int = _switch(0, "where in the text to start")
    chars_to_tokenize: int = _switch(
        100_000_000, "how many characters to take from there, or all", least=1, takes_all=True
    )
    chunk_size: int = _switch(
        10_000_000, "characters tokenized at once, each chunk packed for itself", least=1
    )

    def __post_init__(self) -> None:
        found = [switch.why_not(getattr(self, name)) for name, switch in SWITCHES.items()]
        if wrong := [why for why in found if why is not None]:
            raise SettingsError("; ".join(wrong))
        if cast("int | str", self.chars_to_tokenize) == ALL:
            object.__setattr__(self, "chars_to_tokenize", MAX_CHARACTERS)  # as dataclasses do

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

    def count_samples(self, num_tokens: int) -> int:
        """How many samples a chunk of so many tokens gives."""
        return count_samples(
            num_tokens, seq_length=self.seq_length, min_sample_length=self.min_sample_length
        )

    def as_dict(self) -> dict[str, int | str]:
        """The switches by name, in declaration order, as people write them."""
        return {name: switch.shown(getattr(self, name)) for name, switch in SWITCHES.items()}


SWITCHES = {
    each.name: Switch(
        name=each.name, default=cast("int | str", each.default), type=each.type, **each.metadata
    )
    for each in fields(Settings)
}
"""Every switch by its name, in the order of the reference script."""


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
                remedy = (
                    f"end {other_name!r} earlier by a number as its chars_to_tokenize, or give the "
                    "two different files"
                    if other.is_open
                    else f"move starting_character of {name!r} to {other.stop} or later"
                )
                raise SettingsError(
                    f"split {name!r} is held out from {other_name!r}, but characters {start} to "
                    f"{_end(stop)}{where} are in both: {name!r} takes {window.start} to "
                    f"{_end(window.stop)}, {other_name!r} {other.start} to {_end(other.stop)}; "
                    f"{remedy}"
                )


def _end(stop: int) -> int | str:
    return "the end" if stop >= MAX_CHARACTERS else stop
