"""One YAML -> the asset `<corpus>/raw_parquet`: fetched, pointed at, or written from files.

What can be had from where is a matter of `codedata.sources`; here its parquets become assets. A
corpus of several files has a partition a file, and a job `<corpus>_files` that fetches them one by
one. One whose source has commits is also observed: `codedata.components.freshness`.
"""

import hashlib
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator

from codedata.components.collecting import Collector, pull_kept, refreshed, source_with_files
from codedata.components.corpus_metadata import corpus_metadata, file_metadata
from codedata.components.default_pad import require_fitting_tokens
from codedata.components.freshness import freshness, revision_key
from codedata.components.from_yaml import YamlComponent
from codedata.components.scaffolding import CorpusScaffolder
from codedata.components.shown import as_written
from codedata.errors import CorpusError
from codedata.layout import NAME_REMEDY, Layout, is_name
from codedata.printable import first_ten
from codedata.progress import Reporter, reporter_of_run
from codedata.resources import DataRoot
from codedata.sources.base import Source
from codedata.sources.record import Corpus
from codedata.sources.registry import read_source

SOURCE = "codedata/source"
"""The metadata of a corpus's asset that says where it comes from, as its YAML does."""


class FetchConfig(dg.Config):
    """Launch-time choices of raw_parquet."""

    update: bool = Field(
        default=False,
        description="Take the newest commit of a branch or tag, not the one kept here.",
    )


MANY_FILES = 100
"""From so many on, a partition of a split is a file, and less is shown of each file: an event of a
partition takes Dagster 10 ms and some kilobytes, several times a run, which is more than tokenizing
100,000 characters takes."""


def files_job(corpus: str) -> str:
    """The name of the job that fetches the files of a corpus of several."""
    return f"{corpus}_files"


def file_key(file: int) -> str:
    """The partition of a file: `00000`."""
    return f"{file:05d}"


@dg.scaffold_with(CorpusScaffolder)
class RawCorpus(YamlComponent):
    """A parquet of documents, or several, as the asset `<name>/raw_parquet`."""

    name: str = Field(description="Name of the corpus, first part of the asset's key.")
    source: Any = Field(
        description="Where the parquet comes from: a kind, and the fields of that kind."
    )
    description: str | None = Field(default=None, description="What the UI shows.")
    owners: list[str] = Field(
        default=["team:data"], description="Who answers for it: team:NAME or a mail address."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of its assets.")

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not is_name(name):
            raise CorpusError(
                f"name of a corpus is {name!r}; write it with {NAME_REMEDY}: it names an asset "
                "and a folder"
            )
        return name

    @field_validator("source")
    @classmethod
    def _is_source(cls, source: Any, info: ValidationInfo) -> Any:
        read_source(source, f"corpus {info.data.get('name')!r}")
        return source

    @cached_property
    def typed_source(self) -> Source:
        """The source, of its kind: a union of kinds in the YAML's schema would hide what is wrong.

        Of one whose files are asked for elsewhere, with the list that was made last.

        Raises:
            CorpusError: the YAML does not describe one.
        """
        source = read_source(self.source, f"corpus {self.name!r}")
        return source_with_files(source, Layout.from_environment(), self.name)

    @cached_property
    def num_files(self) -> int:
        """Files of the corpus, each a text of its own."""
        return self.typed_source.num_files

    @property
    def _code_version(self) -> str:
        """What the assets' content depends on, as a short hash; of local files, size and time too.

        Those are read when the code location loads: the UI shows a replaced file as a change.
        """
        source = self.typed_source
        seen = source.model_dump_json() + source.stamp()
        if source.listing is not None:
            seen += source.listing.fingerprint
        return hashlib.sha256(seen.encode()).hexdigest()[:16]

    def look(self, layout: Layout) -> str:
        """What tells, without reading any document, whether the corpus changed.

        Raises:
            CorpusError: a folder is gone.
        """
        pull_kept(layout, self.name, record=True)
        return self._code_version + self.typed_source.look(layout.corpus(self.name))

    def bytes_known(self, layout: Layout) -> list[int | None]:
        """The size of each file: of those on this machine, and of those that were fetched."""
        files = range(self.num_files)
        return [self.typed_source.num_bytes(file, self._folder(layout, file)) for file in files]

    def _folder(self, layout: Layout, file: int) -> Path:
        return layout.corpus(self.name, file if self.num_files > 1 else None)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset; of a source that has commits, what observes them too.

        Raises:
            CorpusError: the environment puts something in its place that is no path.
            SettingsError: another corpus has its name.
        """
        self.require_own_name(context, "corpora named")
        repository = self.typed_source.repository
        options: dict[str, Any] = {
            "key": [self.name, "raw_parquet"],
            "group_name": self.name,
            "owners": self.owners,
            "tags": self.tags,
            "kinds": set(self.typed_source.shown_kinds),
            "metadata": {SOURCE: dg.MetadataValue.json(self.source)},
            "description": as_written(self.description or f"Documents of {self.name}, one a row."),
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "code_version": self._code_version,
            "deps": [] if repository is None else [revision_key(self.name, repository)],
        }
        made = self._one_file(options) if self.num_files == 1 else self._several_files(options)
        if repository is None:
            return made
        observed = freshness(self.name, repository, num_files=self.num_files, tags=self.tags)
        return dg.Definitions.merge(made, observed)

    def _one_file(self, options: dict[str, Any]) -> dg.Definitions:
        def raw_parquet(
            context: dg.AssetExecutionContext, store: DataRoot, config: FetchConfig
        ) -> dg.MaterializeResult:
            reporter = reporter_of_run(context.log.info)
            tags = context.run.tags
            require_fitting_tokens(tags, store.layout, reporter, update=config.update)
            started = time.monotonic()
            with reporter.step(f"collecting {self.name}"):
                corpus = self.materialize(store.layout, reporter, update=config.update)
            return dg.MaterializeResult(
                metadata=corpus_metadata(corpus, time.monotonic() - started),
                data_version=dg.DataVersion(corpus.sha256),
            )

        define: Any = dg.asset(**options)
        return dg.Definitions(assets=[define(raw_parquet)])

    def _several_files(self, options: dict[str, Any]) -> dg.Definitions:
        keys = [file_key(file) for file in range(self.num_files)]
        shown = file_metadata if len(keys) >= MANY_FILES else corpus_metadata

        def raw_parquet(
            context: dg.AssetExecutionContext, store: DataRoot, config: FetchConfig
        ) -> Iterator[Any]:
            reporter = reporter_of_run(context.log.info)
            failed: dict[str, CorpusError] = {}
            update = config.update
            # A run that names no partitions is for all: `dagster job execute` can name none.
            named = context.has_partition_key or context.has_partition_key_range
            asked = context.partition_keys if named else keys
            of_each = reporter
            if len(asked) >= MANY_FILES:
                reporter.say(f"collecting {self.name}, {len(asked):,} files")
                of_each = Reporter(lambda _: None, in_terminal=reporter.shows_bars)
            layout = store.layout
            source = self._with_files(layout, reporter, update=update)
            with Collector(source, layout, self.name, [*map(int, asked)], reporter) as files:
                for key in asked:
                    started = time.monotonic()
                    try:
                        with of_each.step(f"collecting {self.name}, file {key}"):
                            corpus = files.bring(update=update)
                    except CorpusError as error:
                        context.log.error(str(error))  # noqa: TRY400  (the trace says nothing more)
                        failed[key] = error
                        continue
                    update = False  # all files of the same commit
                    yield dg.AssetMaterialization(
                        context.asset_key,
                        partition=key,
                        metadata=shown(corpus, time.monotonic() - started),
                        tags={"dagster/data_version": corpus.sha256},
                    )
            if failed:
                raise _not_all(self.name, failed, len(asked))

        # Each file is reported when it is here, so the step itself has nothing left to report.
        partitions = dg.StaticPartitionsDefinition(keys)
        define: Any = dg.asset(**options, partitions_def=partitions, output_required=False)
        asset: dg.AssetsDefinition = define(raw_parquet)
        job = dg.define_asset_job(
            files_job(self.name),
            selection=dg.AssetSelection.assets(asset),
            description=f"Every file of {self.name}, one by one.",
        )
        return dg.Definitions(assets=[asset], jobs=[job])

    def materialize(
        self, layout: Layout, reporter: Reporter, *, file: int = 0, update: bool = False
    ) -> Corpus:
        """Bring a parquet here and record what it is.

        Args:
            layout: the root.
            reporter: told how far it is.
            file: which, where the corpus has several.
            update: take the newest commit of a branch or tag.

        Raises:
            CorpusError: it cannot be had, or is no usable corpus.
        """
        source = self._with_files(layout, reporter, update=update)
        with Collector(source, layout, self.name, [file], reporter) as files:
            return files.bring(update=update)

    def _with_files(self, layout: Layout, reporter: Reporter, *, update: bool) -> Source:
        """The source, which knows its files, by the same list as the definitions.

        Raises:
            CorpusError: the list is another one, or has just been made; it is kept, and the
                definitions have to be loaded again.
        """
        defined, folder = self.typed_source, layout.corpus(self.name)
        pull_kept(layout, self.name)
        source = defined.listed_in(folder)
        if source.asked is None:
            return source
        if source.listing is None or update:
            source = refreshed(source, layout, self.name, reporter)
        now, then = source.listing, defined.listing
        assert now is not None
        if now != then and (then is not None or len(now.files) > 1):
            known = f"{len(then.files):,}" if then else "no list of any"
            raise CorpusError(
                f"corpus {self.name!r} has {len(now.files):,} files, now listed in {folder}, and "
                f"the definitions were loaded with {known}; press Reload in the UI (`codedata "
                "materialize` does it by itself), and launch again"
            )
        return source


def find_corpus(context: dg.ComponentLoadContext, name: str) -> RawCorpus | None:
    """A corpus's component; None where another code location has it."""
    corpora = context.component_tree.get_all_components(of_type=RawCorpus)
    return next((corpus for corpus in corpora if corpus.name == name), None)


def _not_all(corpus: str, failed: dict[str, CorpusError], num_asked: int) -> CorpusError:
    return CorpusError(
        f"{len(failed)} of {num_asked} files of {corpus} could not be had ({first_ten(failed)}); "
        f"run again: the others are kept. The first: {next(iter(failed.values()))}"
    )
