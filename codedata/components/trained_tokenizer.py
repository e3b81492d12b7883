"""One YAML -> the asset `<name>`: a tokenizer trained on a corpus, so that none is fetched."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator

from codedata.components.from_yaml import YamlComponent
from codedata.components.raw_corpus import find_corpus
from codedata.components.scaffolding import TokenizerScaffolder
from codedata.components.split_parts import pull_files
from codedata.components.split_spec import SINGLE_RUN
from codedata.errors import SettingsError
from codedata.format.ranges import CharRange
from codedata.layout import NAME_REMEDY, is_name
from codedata.progress import reporter_of_run
from codedata.resources import DataRoot
from codedata.sources.record import read_corpus
from codedata.store import state
from codedata.store.files import replace_atomically
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer, local_fingerprint
from codedata.tokenize.train import BOS_TOKEN, PAD_TOKEN, save_tokenizer, train_tokenizer

_LEAST_TOKENS = 258
"""The 256 bytes and the two special ones."""

_PIECE_CHARS = 100_000

_VERSION = "1"
"""Raised whenever a change of this package trains another tokenizer on the same text."""

_MADE_OF = "trained_on.json"
"""Beside the tokenizer: training again takes as long as all else of a small split."""


@dg.scaffold_with(TokenizerScaffolder)
class TrainedTokenizer(YamlComponent):
    """A byte-level BPE with the pre-tokenizer structure of deepseek-coder, trained on a corpus.

    A split takes it by `tokenizer_asset`, with `pad_token: 1`.
    """

    name: str = Field(description="Name of the tokenizer, its asset's key.")
    corpus: str = Field(description="Name of the corpus, of one file.")
    owners: list[str] = Field(
        default=["team:data"], description="Who answers for it: team:NAME or a mail address."
    )
    vocab_size: int = Field(default=4096, ge=_LEAST_TOKENS, description="Tokens, at most.")
    more_tokens: list[str] = Field(
        default_factory=list,
        description="Special tokens besides, such as those that a split's recipe names; their ids "
        "follow those of the others, which stay as they are.",
    )
    chars_to_train_on: int = Field(
        default=4_000_000,
        ge=1,
        description="The corpus's first characters: more take longer, and change little.",
    )

    @field_validator("name", "corpus")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not is_name(name):
            raise SettingsError(
                f"a tokenizer or its corpus is named {name!r}; write it with {NAME_REMEDY}: it "
                "names assets and folders"
            )
        return name

    @field_validator("more_tokens")
    @classmethod
    def _are_other_tokens(cls, names: list[str], info: ValidationInfo) -> list[str]:
        of = f"more_tokens of tokenizer {info.data.get('name')!r}"
        for place, name in enumerate(names):
            if not name:
                raise SettingsError(f"{of} has an empty one; name it, or take it out")
            if name in (BOS_TOKEN, PAD_TOKEN, *names[:place]):
                raise SettingsError(
                    f"{of} has {name!r}, which it has already; name others than {BOS_TOKEN} and "
                    f"{PAD_TOKEN}, each once"
                )
        return names

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset.

        Raises:
            SettingsError: the corpus has several files, or another tokenizer has its name.
        """
        self.require_own_name(context, "tokenizers named")
        corpus = find_corpus(context, self.corpus)
        if corpus is not None and corpus.num_files > 1:
            with self.about("corpus"):
                raise SettingsError(
                    f"tokenizer {self.name!r} is trained on a corpus of one file, and "
                    f"{self.corpus!r} has {corpus.num_files}; name another corpus"
                )
        chars = CharRange(0, self.chars_to_train_on)
        more = [json.dumps(self.more_tokens)] if self.more_tokens else []

        @dg.asset(
            name=self.name,
            deps=[[self.corpus, "raw_parquet"]],
            group_name=self.name,
            owners=self.owners,
            kinds={"huggingface"},
            code_version="-".join([_VERSION, str(self.vocab_size), chars.key, *more]),
            backfill_policy=SINGLE_RUN,
            description=f"A byte-level BPE of {self.vocab_size:,} tokens with the pre-tokenizer "
            "structure of deepseek-coder.",
        )
        def tokenizer(context: dg.AssetExecutionContext, store: DataRoot) -> dg.MaterializeResult:
            layout = store.layout
            pull_files(layout, self.corpus, [layout.corpus(self.corpus)])
            text = read_corpus(layout.corpus(self.corpus)).open_text()
            window = text.clip(chars)
            folder = layout.tokenizer(self.name)
            state.pull_below(layout, folder)
            made_of = {
                "version": _VERSION,
                "text": text.sha256,
                "chars": window.key,
                "vocab_size": self.vocab_size,
                "more_tokens": self.more_tokens,
                "tokenizers": version("tokenizers"),
            }
            is_reused = _made_of(folder) == {**made_of, "files": local_fingerprint(str(folder))}
            if is_reused:
                context.log.info(f"{self.name} was trained on the same text: it is kept")
            else:
                context.log.info(f"training on {window.num_chars:,} characters")
                pieces = (text.read(piece) for piece in window.cut(_PIECE_CHARS))
                with reporter_of_run(context.log.info).step(f"training {self.name}"):
                    trained = train_tokenizer(pieces, self.vocab_size, self.more_tokens)
                    save_tokenizer(trained, folder)
                    made_of["files"] = local_fingerprint(str(folder))
                    replace_atomically(folder / _MADE_OF, json.dumps(made_of).encode())
                    state.push(layout, folder)
            files = find_tokenizer(str(folder))
            return dg.MaterializeResult(
                data_version=dg.DataVersion(files.fingerprint),
                metadata={
                    "tokens": load_tokenizer(files).vocab_size,
                    "fingerprint": files.fingerprint,
                    "reused": is_reused,
                    "path": dg.MetadataValue.path(str(folder)),
                },
            )

        return dg.Definitions(assets=[tokenizer])


def _made_of(folder: Path) -> Any:
    """What the tokenizer of a folder was trained on, and its files then; None if unknown."""
    try:
        return json.loads((folder / _MADE_OF).read_bytes())
    except (OSError, ValueError):
        return None
