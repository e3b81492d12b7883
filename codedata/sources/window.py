"""A part of the text of a file: what a split takes of it."""

from dataclasses import dataclass

from codedata.format.ranges import CharRange
from codedata.sources.parquet.text import ParquetText


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a text: `chars` as `text.clip` returned it, and which file of the corpus it is."""

    text: ParquetText
    chars: CharRange

    @classmethod
    def of(cls, text: ParquetText, chars: CharRange) -> "Window":
        """What a text has of some characters.

        Raises:
            CorpusError: see `ParquetText.clip`.
        """
        return cls(text=text, chars=text.clip(chars))

    def holds(self, text: ParquetText, chars: CharRange) -> bool:
        """Whether a part of these characters of a text is in the window."""
        inside = chars.start < self.chars.stop and chars.stop > self.chars.start
        return inside and text.sha256 == self.text.sha256
