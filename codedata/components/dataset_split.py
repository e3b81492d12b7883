"""One YAML -> the assets of a split: token chunks, shards and meta, dataset, reports, a job.

    <corpus>/raw_parquet, ... -> <split>/token_chunks -> <split>/pickle_shards + <split>/meta_json
        -> <split>/dataset -> <split>/token_figures + <split>/report

Switches are validated when the code location loads, before any work. Each has an environment
variable that overrides the YAML: CODEDATA_<SPLIT>_<SWITCH>.
"""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator, model_validator

from codedata.components import split_assets
from codedata.components.automation import change_sensor
from codedata.components.from_yaml import YamlComponent
from codedata.components.overrides import override, unread_variables
from codedata.components.raw_corpus import MANY_FILES, RawCorpus, find_corpus
from codedata.components.recipe_schema import schema_of_recipe
from codedata.components.scaffolding import SplitScaffolder
from codedata.components.shown import as_written
from codedata.components.split_files import (
    CorpusOfSplit,
    file_numbers,
    files_among,
    is_reference,
    must_say_which,
    require_fetched,
)
from codedata.components.split_partitions import Backfill, Partitions, recorded_partitions
from codedata.components.split_parts import SplitPart, require_few_chunks, windows_by_corpus
from codedata.components.split_spec import SplitSpec
from codedata.environment import variables
from codedata.errors import SettingsError
from codedata.layout import NAME_REMEDY, TOKENIZER_VARIABLE, Layout, is_name, switch_variable
from codedata.places import local_path
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import (
    ALL,
    SWITCHES,
    Settings,
    pad_token_of,
    require_held_out,
)


def _split(info: ValidationInfo) -> str:
    """The split whose field is judged, as far as its name fits."""
    return f"split {name!r}" if (name := info.data.get("name")) else "a split"


def _of_split(info: ValidationInfo) -> str:
    return f"{info.field_name} of {_split(info)}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _field(switch: str) -> Any:
    return Field(default=SWITCHES[switch].default, description=_sentence(SWITCHES[switch].help))


@dg.scaffold_with(SplitScaffolder)
class DatasetSplit(YamlComponent):
    """A tokenized and packed dataset over a part of a corpus, or of several."""

    name: str = Field(description="Name of the split, its assets' group and its job.")
    corpus: str | None = Field(
        default=None, description="Name of the corpus; in its place corpora, of several."
    )
    corpora: list[CorpusOfSplit] | None = Field(
        default=None,
        description="Several corpora, in the order of the dataset: of each its name, and files and "
        "chars where they are others than the split's files and chars_to_tokenize.",
    )
    description: str | None = Field(default=None, description="What the UI shows.")
    owners: list[str] = Field(
        default=["team:data"], description="Who answers for it: team:NAME or a mail address."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of its assets.")
    tokenizer_asset: str | None = Field(
        default=None,
        description="Key of an asset that trains the tokenizer, in place of tokenizer_base.",
    )
    files: str | int | None = Field(
        default=None,
        description="Which files of the corpus: all, or 3, or 0-255, or 0-9,12. The switches say "
        "which characters of each. By default all; of several files of The Stack it must be said.",
    )
    partitions: Partitions | None = Field(
        default=None,
        description="What a partition of the chunks is: file, all chunks of a file of the corpus, "
        "or chunk, each of its own. By default file where chars_to_tokenize is all, or for "
        f"{MANY_FILES} files and more; once made, it stays as it was.",
    )
    backfill: Backfill | None = Field(
        default=None,
        description="partitions_per_run: N makes a backfill of the split several runs, of N "
        "partitions each, which may be on several machines; a run after them publishes. By default "
        "it is one run.",
    )
    held_out_from: list[str] = Field(
        default_factory=list,
        description="Splits whose windows this one's may share no characters with.",
    )
    matches_transformers: bool = Field(
        default=True,
        description="Whether the check of this name compares AutoTokenizer of the installed "
        "transformers; false for a tokenizer that is never loaded by it.",
    )

    tokenizer_base: str = _field("tokenizer_base")
    min_sample_length: int = _field("min_sample_length")
    seq_length: int = _field("seq_length")
    max_dump_size: int = _field("max_dump_size")
    pad_token: int | str = _field("pad_token")
    starting_character: int = _field("starting_character")
    chars_to_tokenize: int | str | None = Field(
        default=None,
        description=f"{_sentence(SWITCHES['chars_to_tokenize'].help)} By default all; of The "
        "Stack, and where partitions are chunks, "
        f"{SWITCHES['chars_to_tokenize'].default:,}.",
    )
    chunk_size: int = _field("chunk_size")

    recipe: Any = Field(
        default=None,
        description="How documents become samples: marked, packed, some of them asked as "
        "fill-in-the-middle, as docs/howto/documents.md has it. By default none: the text is cut "
        "every seq_length tokens, and nothing marks where a document ends.",
        json_schema_extra=schema_of_recipe(),
    )

    @field_validator("recipe", mode="after")
    @classmethod
    def _is_recipe(cls, value: Any) -> DocumentRecipe | None:
        return value if isinstance(value, DocumentRecipe | None) else DocumentRecipe.of(value)

    @field_validator("name", "corpus", "tokenizer_asset")
    @classmethod
    def _is_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or is_name(value):
            return value
        raise SettingsError(
            f"{_of_split(info)} is {value!r}; write it with {NAME_REMEDY}: it "
            "names assets and folders"
        )

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        try:
            dg.GraphDefinition(name=name)
        except dg.DagsterInvalidDefinitionError as error:
            raise SettingsError(
                f"name of split {name!r} is a word that Dagster keeps for itself; choose "
                "another, such as 'train'"
            ) from error
        return name

    @field_validator("files")
    @classmethod
    def _are_files(cls, files: str | int | None, info: ValidationInfo) -> str | int | None:
        if files not in (None, ALL) and (name := info.data.get("name")):
            file_numbers(f"split {name!r}", files)
        return files

    @field_validator(*SWITCHES)
    @classmethod
    def _fits(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        assert info.field_name is not None
        if value is None:
            return value
        if info.field_name == "pad_token":
            value = pad_token_of(str(value))
        if why := SWITCHES[info.field_name].why_not(value):
            raise SettingsError(f"{_split(info)}: {why}")
        if info.field_name == "tokenizer_base":
            local_path(str(value), _of_split(info))
        return value

    @model_validator(mode="after")
    def _names_corpora_once(self) -> Self:
        if self.corpus is None and self.corpora is None:
            raise SettingsError("corpus is missing; add it, or corpora, of several")
        if self.corpus is not None and self.corpora is not None:
            raise SettingsError(
                f"split {self.name!r} has both corpus and corpora; take one out: corpora names all"
            )
        names = [each.name for each in self.asked]
        if not names:
            raise SettingsError(f"corpora of split {self.name!r} is []; name at least one")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(
                f"corpora of split {self.name!r} names {twice!r} twice; name each once, with all "
                "its files"
            )
        return self

    @property
    def asked(self) -> tuple[CorpusOfSplit, ...]:
        """Its corpora, with what the YAML says of each alone."""
        if self.corpora is not None:
            return tuple(self.corpora)
        assert self.corpus is not None
        return (CorpusOfSplit(name=self.corpus),)

    def parts_of(self, corpora: Sequence[RawCorpus | None]) -> tuple[SplitPart, ...]:
        """What it takes of each of its corpora.

        Args:
            corpora: their components; None where another code location has one.

        Raises:
            SettingsError: see `files_of` and `settings_of`.
        """
        parts: list[SplitPart] = []
        for place, (asked, corpus) in enumerate(zip(self.asked, corpora, strict=True)):
            with self.about(*(("corpora", place) if self.corpora else ()), "files"):
                files = self.files_of(corpus, asked)
            part = SplitPart(
                corpus=asked.name,
                window=self.settings_of(corpus, asked).window,
                files=files,
                corpus_files=corpus.num_files if corpus else 1,
                place=place,
            )
            parts.append(part)
        return tuple(parts)

    def partitions_of(self, *corpora: RawCorpus | None) -> Partitions:
        """What a partition of the chunks is: as the YAML says, as it was, or as fits the files.

        Args:
            corpora: their components, one each; None where another code location has it.

        Raises:
            SettingsError: chunks are to be partitions of a text whose length is not known.
        """
        of_each = [*zip(corpora, self.asked, strict=True)]
        takes_all = any(self.settings_of(*each).window.is_open for each in of_each)
        if takes_all and self.partitions == "chunk":
            raise SettingsError(
                f"split {self.name!r} has partitions: chunk, but takes all characters of texts "
                "that may not be here yet; write partitions: file, or chars_to_tokenize as a number"
            )
        if takes_all:
            return "file"
        is_many = (
            any(self._takes_all_of(*each) for each in of_each)
            or sum(len(self.files_of(*each)) for each in of_each) >= MANY_FILES
        )
        return self.partitions or self._recorded or ("file" if is_many else "chunk")

    @cached_property
    def _recorded(self) -> Partitions | None:
        return recorded_partitions(Layout.from_environment(), self.name)

    def _takes_all_of(self, corpus: RawCorpus | None, asked: CorpusOfSplit | None = None) -> bool:
        """Whether the YAML, whatever the environment sets, takes all characters of files."""
        if (chars := self._chars_of(asked)) is not None:
            return chars == ALL
        return not is_reference(corpus) and (self.partitions or self._recorded) != "chunk"

    def _chars_of(self, asked: CorpusOfSplit | None) -> int | str | None:
        """The characters of each file that the YAML says, of a corpus alone or of all."""
        of_corpus = asked.chars if asked else None
        return self.chars_to_tokenize if of_corpus is None else of_corpus

    def files_of(
        self, corpus: RawCorpus | None, asked: CorpusOfSplit | None = None
    ) -> tuple[int, ...]:
        """The files of a corpus that the split takes, in order.

        Args:
            corpus: its component; None where another code location has it.
            asked: what the YAML says of it alone; None is of the first.

        Raises:
            SettingsError: they are not written as numbers and ranges, or have to be and are not, or
                the corpus has no such files.
        """
        asked = asked or self.asked[0]
        files = self.files if asked.files is None else asked.files
        if files is None:
            if corpus is None or corpus.num_files == 1:
                return (0,)
            if is_reference(corpus):
                num_chars = self.settings_of(corpus, asked).window.num_chars
                raise must_say_which(self.name, corpus, num_chars)
        return files_among(self.name, asked.name, corpus, ALL if files is None else files)

    @property
    def settings(self) -> Settings:
        """The switches of a split over The Stack, or a corpus that is defined elsewhere."""
        return self.settings_of(None)

    def settings_of(self, corpus: RawCorpus | None, asked: CorpusOfSplit | None = None) -> Settings:
        """The switches: the YAML's, or the environment's where it overrides them.

        Args:
            corpus: its component; None where another code location has it.
            asked: what the YAML says of it alone.

        Raises:
            SettingsError: a variable sets one to what it cannot be.
        """
        given = variables()
        switches = {name: getattr(self, name) for name in SWITCHES}
        if (chars := self._chars_of(asked)) is None:
            takes_all = self._takes_all_of(corpus, asked)
            chars = ALL if takes_all else SWITCHES["chars_to_tokenize"].default
        switches["chars_to_tokenize"] = chars
        names = {name: switch_variable(self.name, name) for name in SWITCHES}
        if self.tokenizer_asset is not None:
            layout = Layout.from_environment()
            switches["tokenizer_base"] = str(layout.tokenizer(self.tokenizer_asset))
        elif not given.get(names["tokenizer_base"]):
            names["tokenizer_base"] = TOKENIZER_VARIABLE
        for name, variable in names.items():
            if value := given.get(variable):
                switches[name] = override(variable, value, SWITCHES[name])
        return Settings(**switches)

    @property
    def pad_is_named(self) -> bool:
        """Whether somebody wrote the pad token, in the YAML or the environment."""
        overridden = variables().get(switch_variable(self.name, "pad_token"))
        return "pad_token" in self.model_fields_set or bool(overridden)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks and the job of the split.

        Raises:
            SettingsError: the split shares characters with one it is held out from, or that one
                does not exist; it takes what the corpus does not have, or does not say which of its
                files; a variable of the environment is misspelt.
        """
        self.require_own_name(context, "splits named")
        self._judge_environment(context)
        corpora = self._find_corpora(context)
        parts = self.parts_of(corpora)
        settings = self.settings_of(corpora[0], self.asked[0])
        with self.about("partitions"):
            partitions = self.partitions_of(*corpora)
        with self.about("chunk_size"):
            require_few_chunks(self.name, parts, settings.chunk_size, partitions)
        others: dict[str, tuple[SplitPart, ...]] = {}
        whole: set[str] = set()
        for index, name in enumerate(self.held_out_from):
            with self.about("held_out_from", index):
                other = self._other_split(context, name)
            others[name] = other.parts_of(other._find_corpora(context))  # noqa: SLF001  (its own class)
            whole |= {name} if other.recipe else set()
        for part, corpus in zip(parts, corpora, strict=True):
            with self.about("held_out_from"):
                theirs = windows_by_corpus(part, others)
                require_held_out(self.name, part.alone.windows, theirs)
            if corpus is not None:
                with corpus.about("source", "first_chars"):
                    require_fetched(self.name, corpus, part.window)
        names = ", ".join(part.corpus for part in parts)
        spec = SplitSpec(
            name=self.name,
            parts=parts,
            tokenizer_asset=self.tokenizer_asset,
            settings=settings,
            held_out_from=others,
            description=as_written(self.description or f"Dataset {self.name} over {names}."),
            owners=tuple(self.owners),
            tags=self.tags,
            pad_is_named=self.pad_is_named,
            matches_transformers=self.matches_transformers,
            partitions=partitions,
            partitions_per_run=self.backfill.partitions_per_run if self.backfill else None,
            recipe=self.recipe,
            whole=frozenset(whole),
        )
        made = split_assets.build_split(spec)
        known = [corpus for corpus in corpora if corpus is not None and corpus.num_files == 1]
        if len(known) < len(corpora):  # the files of others are fetched by a run of their own
            return made
        return dg.Definitions.merge(made, dg.Definitions(sensors=[change_sensor(spec, *known)]))

    def _find_corpora(self, context: dg.ComponentLoadContext) -> list[RawCorpus | None]:
        return [find_corpus(context, asked.name) for asked in self.asked]

    def _judge_environment(self, context: dg.ComponentLoadContext) -> None:
        """Refuse a wrong root and misspelt overrides, and warn of variables that nothing reads.

        The first split of the tree judges by all of them, so that it is said once.
        """
        splits = context.component_tree.get_all_components(of_type=DatasetSplit)
        if any(split is self for split in splits[1:]):
            return
        _ = Layout.from_environment()
        if unread := unread_variables({self.name, *(split.name for split in splits)}, variables()):
            warnings.warn(
                f"{', '.join(unread)}: set in the environment, but codedata reads no such variable",
                stacklevel=2,
            )

    def _other_split(self, context: dg.ComponentLoadContext, name: str) -> "DatasetSplit":
        folder = context.defs_module_path / name
        found = context.load_component(name) if is_name(name) and folder.is_dir() else None
        if not isinstance(found, DatasetSplit):
            what = f"holds a {type(found).__name__}" if found else "does not exist"
            raise SettingsError(
                f"split {self.name!r}: held_out_from names {name!r}, but {folder} {what}; name the "
                "folder of another split's defs.yaml"
            )
        return found
