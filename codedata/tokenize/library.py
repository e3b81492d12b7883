"""A tokenizer.json's bytes -> a tokenizer whose every failure is one line: the tokenizers library.

The library raises bare `Exception`s and `ValueError`s, and where its Rust code panics a
`BaseException`, which would pass every handler and end a thread or a process with a traceback.
Here, and nowhere else, both become a `TokenizerError`. A panic has by then printed some lines of
its own to stderr; the library offers no way to stop that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tokenizers import AddedToken, Encoding, Tokenizer
from tokenizers.decoders import DecodeStream

from codedata.errors import TokenizerError
from codedata.printable import shortened

_RAISED = (Exception, ValueError)

_PANICS = "pyo3_runtime"
"""The module that PanicException says it is of; no package has it, so it cannot be imported."""


@contextmanager
def library_call(what: str) -> Iterator[None]:
    """Have what the library raises in a `with` block end as one line.

    Args:
        what: failed, and where: the start of the message.

    Raises:
        TokenizerError: the library raised an error of its own, or panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error) not in _RAISED and type(error).__module__ != _PANICS:
            raise  # Ctrl-C, no memory, a mistake of the caller
        raise TokenizerError(f"{what}: {shortened(' '.join(str(error).split()))}") from error


class LibraryTokenizer:
    """The calls of `tokenizers.Tokenizer` that codedata makes, without truncation and padding.

    Args:
        data: of a tokenizer.json.
        name: the file, for messages.
        special_as_text: have special tokens that stand in a text read as the text they are.

    Raises:
        TokenizerError: it is none; and of each method, that the library fails.
    """

    def __init__(self, data: bytes, name: str, *, special_as_text: bool = False) -> None:
        self._what = f"the tokenizers library cannot work with {name}"
        with library_call(f"{name} is no tokenizer"):
            self._tokenizer = Tokenizer.from_buffer(data)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = special_as_text

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Encoding:
        """A text's ids, tokens and offsets."""
        with library_call(self._what):
            return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def encode_batch_fast(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """The ids of texts, in parallel, offsets left out."""
        with library_call(self._what):
            return self._tokenizer.encode_batch_fast(
                list(texts), add_special_tokens=add_special_tokens
            )

    def normalize(self, text: str) -> str:
        """What the normalizer makes of a text."""
        normalizer = self._tokenizer.normalizer
        with library_call(self._what):
            return normalizer.normalize_str(text) if normalizer else text

    def to_str(self) -> str:
        """The tokenizer.json that the library would write: what it read, as it understood it."""
        with library_call(self._what):
            return self._tokenizer.to_str()

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of ids."""
        with library_call(self._what):
            return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def decode_each(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds; those that are parts of one character stand together."""
        return [text for _, text in self.decode_steps(ids) if text]

    def decode_steps(self, ids: Sequence[int]) -> list[tuple[list[int], str]]:
        """The same with the ids of each text; at the end may be some that make none."""
        stream = DecodeStream(skip_special_tokens=False)
        steps: list[tuple[list[int], str]] = []
        waiting: list[int] = []
        with library_call(self._what):
            for each in ids:
                waiting.append(each)
                if text := stream.step(self._tokenizer, each):
                    steps.append((waiting, text))
                    waiting = []
        return [*steps, (waiting, "")] if waiting else steps

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it; None where it has none."""
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        """The inverse of `token_to_id`."""
        return self._tokenizer.id_to_token(token_id)

    def get_vocab(self) -> dict[str, int]:
        """The id of every token, added ones included."""
        return self._tokenizer.get_vocab(with_added_tokens=True)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added and special tokens, by id."""
        return self._tokenizer.get_added_tokens_decoder()
