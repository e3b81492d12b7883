"""One YAML -> the assets of a split: token chunks, shards and meta, dataset, token report, a job.

    <corpus>/raw_parquet -> <split>/token_chunks -> <split>/pickle_shards + <split>/meta_json
        -> <split>/dataset -> <split>/token_report

Switches are validated when the code location loads, before any work. Each has an environment
variable that overrides the YAML: CODEDATA_<SPLIT>_<SWITCH>.
"""

import os
from dataclasses import fields
from functools import cached_property

import dagster as dg
from dagster._core.definitions.utils import DISALLOWED_NAMES
from pydantic import Field, model_validator

from codedata.components import split_assets
from codedata.components.split_spec import SplitSpec
from codedata.core.settings import CharRange, Settings, require_held_out
from codedata.errors import SettingsError
from codedata.io.files import shortened
from codedata.layout import TOKENIZER_VARIABLE, Layout, is_name, switch_variable

MAX_CHUNKS = 10_000
"""Partitions of an asset: the UI stays quick, and a chunk_size of 1 is found out at once."""

_DEFAULTS = Settings()


class DatasetSplit(dg.Component, dg.Resolvable, dg.Model):
    """A tokenized and packed dataset over a part of a corpus."""

    name: str = Field(description="Name of the split, its assets' group and its job.")
    corpus: str = Field(description="Name of the corpus.")
    description: str | None = Field(default=None, description="What the UI shows.")
    tokenizer_asset: str | None = Field(
        default=None,
        description="Key of an asset that trains the tokenizer, in place of tokenizer_base.",
    )
    held_out_from: list[str] = Field(
        default_factory=list, description="Splits that this one may share no characters with."
    )
    tokenizer_base: str = Field(
        default=_DEFAULTS.tokenizer_base, description="Hub name, folder or tokenizer.json."
    )
    min_sample_length: int = Field(
        default=_DEFAULTS.min_sample_length,
        description="A rest of a chunk of this many tokens or fewer is dropped.",
    )
    seq_length: int = Field(default=_DEFAULTS.seq_length, description="Tokens a sample.")
    max_dump_size: int = Field(default=_DEFAULTS.max_dump_size, description="Samples a shard.")
    pad_token: int = Field(
        default=_DEFAULTS.pad_token, description="Id that fills up a chunk's last sample."
    )
    starting_character: int = Field(
        default=_DEFAULTS.starting_character, description="Where in the text to start."
    )
    chars_to_tokenize: int = Field(
        default=_DEFAULTS.chars_to_tokenize, description="How many characters to take."
    )
    chunk_size: int = Field(
        default=_DEFAULTS.chunk_size, description="Characters a chunk, which is a partition."
    )

    @model_validator(mode="after")
    def _validate_switches(self) -> "DatasetSplit":
        for field in ("name", "corpus"):
            if not is_name(value := getattr(self, field)):
                raise SettingsError(
                    f"{field} of split {self.name!r} is {value!r}; write it with the letters A to "
                    "Z, digits and underscores alone: it names assets and folders"
                )
        if self.name in DISALLOWED_NAMES:
            raise SettingsError(
                f"name of split {self.name!r} is a word that Dagster keeps for itself; choose "
                "another, such as 'train'"
            )
        if self.tokenizer_asset is not None and not is_name(self.tokenizer_asset):
            raise SettingsError(
                f"tokenizer_asset of split {self.name!r} is {self.tokenizer_asset!r}; write the "
                "asset's key, such as demo_tokenizer"
            )
        _ = self.settings
        if self.window.num_chars > MAX_CHUNKS * self.settings.chunk_size:
            raise SettingsError(
                f"split {self.name!r}: chars_to_tokenize {self.settings.chars_to_tokenize} in "
                f"chunks of {self.settings.chunk_size} are more than {MAX_CHUNKS} partitions; "
                "choose a larger chunk_size"
            )
        return self

    @cached_property
    def settings(self) -> Settings:
        """The switches: the YAML's, or the environment's where it overrides them.

        Raises:
            SettingsError: naming the switch, and the variable if the value is from one.
        """
        switches = {field.name: getattr(self, field.name) for field in fields(Settings)}
        variables: dict[str, str] = {}
        if self.tokenizer_asset is not None:
            switches["tokenizer_base"] = str(
                Layout.from_environment().tokenizer(self.tokenizer_asset)
            )
        elif os.environ.get(TOKENIZER_VARIABLE):
            switches["tokenizer_base"] = os.environ[TOKENIZER_VARIABLE]
            variables["tokenizer_base"] = TOKENIZER_VARIABLE
        for switch in switches:
            variable = switch_variable(self.name, switch)
            if value := os.environ.get(variable):
                switches[switch] = _override(variable, value, type(getattr(_DEFAULTS, switch)))
                variables[switch] = variable
        try:
            return Settings(**switches)
        except SettingsError as error:
            overridden = [
                f"{variable} sets {switch}"
                for switch, variable in variables.items()
                if f"{switch} must" in str(error)
            ]
            raise SettingsError(
                "; ".join([f"split {self.name!r}: {error}", *overridden])
            ) from error

    @property
    def window(self) -> CharRange:
        """The characters that the split asks for."""
        return self.settings.window

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks and the job of the split.

        Raises:
            SettingsError: the split shares characters with one it is held out from, or that one
                does not exist.
        """
        others = {name: self._other_split(context, name).window for name in self.held_out_from}
        require_held_out(self.name, self.window, list(others.items()))
        spec = SplitSpec(
            name=self.name,
            corpus=self.corpus,
            tokenizer_asset=self.tokenizer_asset,
            settings=self.settings,
            held_out_from=others,
            description=self.description or f"Dataset {self.name} over {self.corpus}.",
        )
        return split_assets.build_split(spec)

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


def _override(variable: str, value: str, kind: type[int] | type[str]) -> int | str:
    try:
        return kind(value)
    except ValueError as error:
        raise SettingsError(
            f"{variable} is {shortened(value)!r}, which is not a whole number; write its digits "
            "alone, or unset it"
        ) from error
