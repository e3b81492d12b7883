"""What a run is to do, as one value: switches, tokenizer, engine, and which part of which text.

Texts and switches -> `Plan` -> `ChunkTask`s, one for each chunk its windows are cut into. Plans and
tasks are small and picklable; the text and the ids never travel between processes.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256

from codedata.errors import SettingsError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.ranges import CharRange
from codedata.parallel import available_cores, side_by_side
from codedata.recipe.documents import DocumentRecipe, ResolvedRecipe
from codedata.recipe.settings import Settings
from codedata.sources.origins import origin_columns
from codedata.sources.parquet.text import Text, Window
from codedata.store.chunks import ChunkStore
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.engines.registry import AUTO, choose_engine
from codedata.tokenize.fidelity import (
    SAMPLE_CHARS,
    check_built_in,
    check_sample,
    without_special_tokens,
)
from codedata.tokenize.padding import why_not_default, with_pad_id
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.stored_tokenizer import StoredTokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles

_MOST_WINDOWS = 16
"""Tried of many, spread over all of them: 20 ms of a core for each, and their files are hashed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run, opened and judged, before any of its work.

    Attributes:
        settings: the switches, the pad token as an id.
        tokenizer: the tokenizer's files.
        engine_choice: `auto`, or the engine that the user wants.
        windows: the characters to take of each file's text, shortened to those that it has.
        recipe: how documents become samples; None is the reference mode.
    """

    settings: Settings
    tokenizer: TokenizerFiles
    engine_choice: str
    windows: tuple[Window, ...]
    recipe: ResolvedRecipe | None = None

    @property
    def loaded(self) -> LoadedTokenizer:
        """The tokenizer."""
        return load_tokenizer(self.tokenizer)

    @property
    def engine(self) -> Engine:
        """What chunks are tokenized with in this process."""
        return engine_for(self.tokenizer, self.engine_choice)

    @cached_property
    def fingerprints(self) -> list[ChunkFingerprint]:
        """Of the chunks of all windows, in the order of their characters."""
        return [
            ChunkFingerprint(
                corpus_sha256=window.text.sha256,
                tokenizer_sha256=self.tokenizer.fingerprint,
                chars=chars,
                recipe_sha256=recipe_sha256,
            )
            for window in self.windows
            for recipe_sha256 in [self._recipe_sha256(window.text)]
            for chars in window.chars.cut(self.settings.chunk_size)
        ]

    def _recipe_sha256(self, text: Text) -> str | None:
        """What beside a text and the tokenizer decides chunks of its documents.

        The columns by which they are said to be from somewhere are part of it, as recorded.
        """
        if self.recipe is None:
            return None
        origins = sorted(origin_columns(text.kept_names).items())
        decides = [self.recipe.chunk_sha256(self.settings.seq_length), origins]
        return sha256(json.dumps(decides).encode()).hexdigest()

    def require_fidelity(self, files: Collection[int]) -> None:
        """Try tokenizer and engine on built-in texts, and on the start of some windows.

        Args:
            files: whose windows some text is tokenized of.

        Raises:
            TokenizerError: they do not give the text's own ids.
        """
        loaded, engine = self.loaded, self.engine
        windows = [each for each in self.windows if each.chars.file in files]
        check_built_in(loaded, engine)

        def try_on(window: Window) -> None:
            where, text = f"{window.text.path} from {window.chars.start} on", sample_of(window)
            if self.recipe is not None:  # which has a rule of its own for them
                text = without_special_tokens(loaded, text)
            check_sample(loaded, engine, text, where)

        side_by_side(try_on, windows[:: max(1, -(-len(windows) // _MOST_WINDOWS))])

    def tasks(
        self,
        chunks_of: Callable[[int], ChunkStore],
        *,
        threads: int = 1,
        tokenizer: StoredTokenizer | None = None,
    ) -> list["ChunkTask"]:
        """The chunks of all windows, in the order of their characters.

        Args:
            chunks_of: where the chunks of a file are stored, by its number.
            threads: that may work on one chunk.
            tokenizer: the plan's, for workers that do not see its files.
        """
        of_file = {
            window.chars.file: (window.text, chunks_of(window.chars.file))
            for window in self.windows
        }
        return [
            ChunkTask(
                text=text,
                tokenizer=tokenizer or self.tokenizer,
                engine_choice=self.engine_choice,
                threads=threads,
                fingerprint=fingerprint,
                chunks=chunks,
                recipe=self.recipe,
                seq_length=self.settings.seq_length,
            )
            for fingerprint in self.fingerprints
            for text, chunks in [of_file[fingerprint.chars.file]]
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkTask:
    """One chunk to tokenize.

    Attributes:
        text: which the chunk is of; of one in an object store, its address.
        tokenizer: the tokenizer's files, or where they are stored.
        engine_choice: `auto`, or the engine that the user wants.
        threads: that may work on this chunk.
        fingerprint: of the chunk.
        chunks: where the chunk is stored.
        recipe: how documents become samples; None is the reference mode.
        seq_length: tokens a sample, which a recipe may go by.
    """

    text: Text
    tokenizer: TokenizerFiles | StoredTokenizer
    engine_choice: str
    threads: int
    fingerprint: ChunkFingerprint
    chunks: ChunkStore
    recipe: ResolvedRecipe | None
    seq_length: int

    @property
    def chars(self) -> CharRange:
        """The characters of the chunk."""
        return self.fingerprint.chars

    @property
    def where(self) -> str:
        """The characters and their text, for messages."""
        return f"characters {self.chars.start} to {self.chars.stop} of {self.text.path}"

    def tokenizer_files(self) -> TokenizerFiles:
        """The tokenizer's files on this machine."""
        found = self.tokenizer
        return found.files() if isinstance(found, StoredTokenizer) else found


def open_plan(
    texts: Mapping[int, Text],
    settings: Settings,
    tokenizer: TokenizerFiles,
    *,
    windows: Sequence[CharRange] = (),
    engine: str = AUTO,
    pad_is_named: bool = True,
    recipe: DocumentRecipe | None = None,
) -> Plan:
    """Load the tokenizer, and clip the window to each text.

    Args:
        texts: of the files of a corpus, by their numbers.
        settings: the switches.
        tokenizer: the tokenizer's files.
        windows: of files of which others are taken than the switches say.
        engine: `auto`, or the one to take.
        pad_is_named: whether the user chose the pad token; a default must be a token of no text.
        recipe: how documents become samples; None is the reference mode.

    Raises:
        TokenizerError: the tokenizer cannot be had.
        SettingsError: the pad token does not fit it, or the engine is not proven exact for it.
        CorpusError: a text ends before the window.
    """
    own = {window.file: window for window in windows}
    with ThreadPoolExecutor(available_cores()) as threads:  # count while this one makes the engine
        opened = [
            threads.submit(Window.of, text, own.get(file) or settings.window._replace(file=file))
            for file, text in texts.items()
        ]
        loaded = load_tokenizer(tokenizer)
        if not pad_is_named and (why := why_not_default(settings.tokenizer_base, loaded)):
            raise SettingsError(why)
        resolved = with_pad_id(settings, loaded)
        engine_for(tokenizer, engine)
        return Plan(
            settings=resolved,
            tokenizer=tokenizer,
            engine_choice=engine,
            windows=tuple(window.result() for window in opened),
            recipe=None if recipe is None else with_ids(recipe, loaded),
        )


@lru_cache(maxsize=4)
def engine_for(files: TokenizerFiles, choice: str = AUTO) -> Engine:
    """The engine of a tokenizer, made once a process."""
    return choose_engine(load_tokenizer(files), choice)


def sample_of(window: Window) -> str:
    """The leading characters of a window, which tokenizers are tried on."""
    return window.text.read(window.chars.first(SAMPLE_CHARS))
