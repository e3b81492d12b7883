"""One YAML -> the assets of a split: token chunks, shards and meta, dataset, reports, a job.

    <corpus>/raw_parquet -> <split>/token_chunks -> <split>/pickle_shards + <split>/meta_json
        -> <split>/dataset -> <split>/token_figures + <split>/report

Switches are validated when the code location loads, before any work. Each has an environment
variable that overrides the YAML: CODEDATA_<SPLIT>_<SWITCH>.
"""

import warnings
from functools import cached_property
from typing import Any

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator

from codedata.components import split_assets
from codedata.components.automation import change_sensor
from codedata.components.from_yaml import YamlComponent
from codedata.components.overrides import unread_variables
from codedata.components.raw_corpus import MANY_FILES, RawCorpus, find_corpus
from codedata.components.scaffolding import SplitScaffolder
from codedata.components.shown import as_written
from codedata.components.split_files import file_numbers, is_reference, must_say_which
from codedata.components.split_partitions import Partitions, recorded_partitions
from codedata.components.split_spec import OtherSplit, SplitSpec, windows_of
from codedata.environment import variables
from codedata.errors import SettingsError
from codedata.layout import NAME_REMEDY, TOKENIZER_VARIABLE, Layout, is_name, switch_variable
from codedata.places import local_path
from codedata.printable import shortened
from codedata.recipe.settings import (
    ALL,
    SWITCHES,
    Settings,
    Switch,
    pad_token_of,
    require_held_out,
)

MAX_CHUNKS = 10_000
"""Partitions of an asset: the UI stays quick, and a chunk_size of 1 is found out at once."""


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
    """A tokenized and packed dataset over a part of a corpus."""

    name: str = Field(description="Name of the split, its assets' group and its job.")
    corpus: str = Field(description="Name of the corpus.")
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
            file_numbers(name, files)
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

    def _require_few_chunks(
        self, settings: Settings, partitions: Partitions, num_files: int
    ) -> None:
        if settings.window.is_open:
            return
        at_once = num_files if partitions == "chunk" else 1
        if settings.window.num_chars > MAX_CHUNKS // at_once * settings.chunk_size:
            of_files = f" of {at_once} files" if at_once > 1 else ""
            what = "partitions" if partitions == "chunk" else "chunks of a file"
            raise SettingsError(
                f"split {self.name!r}: chars_to_tokenize {settings.chars_to_tokenize}"
                f"{of_files} in chunks of {settings.chunk_size} are more than {MAX_CHUNKS} "
                f"{what}; choose a larger chunk_size"
            )

    def partitions_of(self, corpus: RawCorpus | None) -> Partitions:
        """What a partition of the chunks is: as the YAML says, as it was, or as fits the files.

        Args:
            corpus: its component; None where another code location has it.

        Raises:
            SettingsError: chunks are to be partitions of a text whose length is not known.
        """
        takes_all = self.settings_of(corpus).window.is_open
        if takes_all and self.partitions == "chunk":
            raise SettingsError(
                f"split {self.name!r} has partitions: chunk, but takes all characters of texts "
                "that may not be here yet; write partitions: file, or chars_to_tokenize as a number"
            )
        if takes_all:
            return "file"
        is_many = self._takes_all_of(corpus) or len(self.files_of(corpus)) >= MANY_FILES
        return self.partitions or self._recorded or ("file" if is_many else "chunk")

    @cached_property
    def _recorded(self) -> Partitions | None:
        return recorded_partitions(Layout.from_environment(), self.name)

    def _takes_all_of(self, corpus: RawCorpus | None) -> bool:
        """Whether the YAML, whatever the environment sets, takes all characters of files."""
        if self.chars_to_tokenize is not None:
            return self.chars_to_tokenize == ALL
        return not is_reference(corpus) and (self.partitions or self._recorded) != "chunk"

    def files_of(self, corpus: RawCorpus | None) -> tuple[int, ...]:
        """The files of the corpus that the split takes, in order.

        Args:
            corpus: its component; None where another code location has it.

        Raises:
            SettingsError: they are not written as numbers and ranges, or have to be and are not, or
                the corpus has no such files.
        """
        if self.files is None:
            if corpus is None or corpus.num_files == 1:
                return (0,)
            if is_reference(corpus):
                num_chars = self.settings_of(corpus).window.num_chars
                raise must_say_which(self.name, corpus, num_chars)
        if self.files in (None, ALL):
            if corpus is None:
                raise SettingsError(
                    f"files of split {self.name!r} is 'all', but no corpus {self.corpus!r} is "
                    "defined here that would say how many it has; write them as numbers, such as "
                    "0-255"
                )
            return tuple(range(corpus.num_files))
        numbers = file_numbers(self.name, self.files)
        if corpus is not None and numbers[-1] >= corpus.num_files:
            raise SettingsError(
                f"files of split {self.name!r} is {self.files!r}, but corpus {corpus.name!r} has "
                f"{corpus.num_files}: name 0 to {corpus.num_files - 1}"
            )
        return numbers

    @property
    def settings(self) -> Settings:
        """The switches of a split over The Stack, or a corpus that is defined elsewhere."""
        return self.settings_of(None)

    def settings_of(self, corpus: RawCorpus | None) -> Settings:
        """The switches: the YAML's, or the environment's where it overrides them.

        Args:
            corpus: its component; None where another code location has it.

        Raises:
            SettingsError: a variable sets one to what it cannot be.
        """
        given = variables()
        switches = {name: getattr(self, name) for name in SWITCHES}
        if self.chars_to_tokenize is None:
            chars = ALL if self._takes_all_of(corpus) else SWITCHES["chars_to_tokenize"].default
            switches["chars_to_tokenize"] = chars
        names = {name: switch_variable(self.name, name) for name in SWITCHES}
        if self.tokenizer_asset is not None:
            layout = Layout.from_environment()
            switches["tokenizer_base"] = str(layout.tokenizer(self.tokenizer_asset))
        elif not given.get(names["tokenizer_base"]):
            names["tokenizer_base"] = TOKENIZER_VARIABLE
        for name, variable in names.items():
            if value := given.get(variable):
                switches[name] = _override(variable, value, SWITCHES[name])
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
        corpus = find_corpus(context, self.corpus)
        with self.about("files"):
            files = self.files_of(corpus)
        settings = self.settings_of(corpus)
        with self.about("partitions"):
            partitions = self.partitions_of(corpus)
        with self.about("chunk_size"):
            self._require_few_chunks(settings, partitions, len(files))
        others: dict[str, OtherSplit] = {}
        for index, name in enumerate(self.held_out_from):
            with self.about("held_out_from", index):
                other = self._other_split(context, name)
            theirs = find_corpus(context, other.corpus)
            windows = windows_of(other.settings_of(theirs), other.files_of(theirs))
            others[name] = OtherSplit(other.corpus, theirs.num_files if theirs else 1, windows)
        same_text = {
            name: other.windows for name, other in others.items() if other.corpus == self.corpus
        }
        with self.about("held_out_from"):
            require_held_out(self.name, windows_of(settings, files), same_text)
        if corpus is not None:
            with corpus.about("source", "first_chars"):
                self._require_in_corpus(corpus, settings)
        spec = SplitSpec(
            name=self.name,
            corpus=self.corpus,
            tokenizer_asset=self.tokenizer_asset,
            settings=settings,
            held_out_from=others,
            description=as_written(self.description or f"Dataset {self.name} over {self.corpus}."),
            files=files,
            owners=tuple(self.owners),
            tags=self.tags,
            pad_is_named=self.pad_is_named,
            matches_transformers=self.matches_transformers,
            corpus_files=corpus.num_files if corpus else 1,
            partitions=partitions,
        )
        made = split_assets.build_split(spec)
        if corpus is None or corpus.num_files > 1:  # whose files are fetched by a run of their own
            return made
        return dg.Definitions.merge(made, dg.Definitions(sensors=[change_sensor(spec, corpus)]))

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

    def _require_in_corpus(self, corpus: RawCorpus, settings: Settings) -> None:
        most, window = corpus.typed_source.num_chars, settings.window
        stop = window.start + 1 if window.is_open else window.stop
        if most is not None and stop > most:
            raise SettingsError(
                f"split {self.name!r} takes characters up to {stop}, but of corpus "
                f"{corpus.name!r} only the first {most} are fetched; raise first_chars "
                f"in its defs.yaml to {stop}, or take it out to have whole files"
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


def _override(variable: str, text: str, switch: Switch) -> int | str:
    """What a variable sets a switch to."""
    try:
        value = switch.parse(text)
    except ValueError as error:
        raise SettingsError(
            f"{variable} is {shortened(text)!r}, which is not a whole number; write its digits "
            "alone, or unset it"
        ) from error
    if why := switch.why_not(value):
        raise SettingsError(f"{why}; {variable} sets {switch.name}: correct it, or unset it")
    if switch.type is str:
        local_path(text, variable)
    return value
