"""One YAML -> the asset `<corpus>/raw_parquet`: fetched, pointed at, or written from folders.

A corpus of several files has a partition a file, and a job `<corpus>_files` that fetches them one
by one. One of the hub also has `<corpus>/hub_revision`, which is observed, never made: the newest
commit there; the job `<corpus>_freshness` observes it and checks whether ours is that one.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, model_validator

from codedata.components.default_pad import require_fitting_default
from codedata.components.sources import FoldersSource, HubSource, LocalSource, Source
from codedata.environment import variables
from codedata.errors import CorpusError
from codedata.layout import CORPUS_VARIABLE, Layout, is_name
from codedata.places import local_path
from codedata.printable import printable, printable_lines
from codedata.progress import SHOW_BARS, Reporter, rounded
from codedata.resources import DataRoot
from codedata.sources.folders import Walk, walk_folders
from codedata.sources.installed_headers import header_folders
from codedata.sources.parquet.text import FileIdentity
from codedata.sources.record import (
    PARTS_NAME,
    PIN_NAME,
    RECORD_NAME,
    Corpus,
    read_corpus,
    record_corpus,
    write_source_corpus,
)
from codedata.store.locks import waiting_lock
from codedata.store.permission import explained

_PREVIEW_DOCUMENTS = 3
_PREVIEW_LINES = 12


class FetchConfig(dg.Config):
    """Launch-time choices of raw_parquet."""

    update: bool = Field(
        default=False,
        description="Take the newest commit of a hub's branch or tag, not the one kept here.",
    )


def files_job(corpus: str) -> str:
    """The name of the job that fetches the files of a corpus of several."""
    return f"{corpus}_files"


def file_key(file: int) -> str:
    """The partition of a file: `00000`."""
    return f"{file:05d}"


class RawCorpus(dg.Component, dg.Resolvable, dg.Model):
    """A parquet of documents, or several, as the asset `<name>/raw_parquet`."""

    name: str = Field(description="Name of the corpus, first part of the asset's key.")
    source: Source = Field(description="Where the parquet comes from.")
    description: str | None = Field(default=None, description="What the UI shows.")
    owners: list[str] = Field(
        default=["team:data"], description="Who answers for it: team:NAME or a mail address."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of its assets.")

    @model_validator(mode="after")
    def _validate(self) -> "RawCorpus":
        if not is_name(self.name):
            raise CorpusError(
                f"name of a corpus is {self.name!r}; write it with the letters A to Z, digits and "
                "underscores alone: it names an asset and a folder"
            )
        # Here, and not in the source's own validator: Dagster tries a union's kinds in turn and
        # would bury why the right one failed under what the others say.
        self.source.require_valid()
        return self

    @cached_property
    def num_files(self) -> int:
        """Files of the corpus, each a text of its own."""
        return 1 if isinstance(self.source, FoldersSource) else len(self.source.paths)

    @property
    def num_chars(self) -> int | None:
        """Characters that are fetched of each file; None where all are."""
        source = self.source
        if isinstance(source, HubSource) and self._local_source is None:
            return source.first_chars
        return None

    @property
    def _code_version(self) -> str:
        """What the assets' content depends on, as a short hash; of local files, size and time too.

        Those are read when the code location loads: the UI shows a replaced file as a change.
        """
        seen = self.source.model_dump_json()
        if self._local_source is not None:
            seen += _look_at_files(self._local_source.paths)
        return hashlib.sha256(seen.encode()).hexdigest()[:16]

    @property
    def _local_source(self) -> LocalSource | None:
        """Files of this machine: the YAML's, or the one that the environment puts there."""
        if isinstance(self.source, HubSource) and (override := variables().get(CORPUS_VARIABLE)):
            path = local_path(override, CORPUS_VARIABLE, error=CorpusError)
            return LocalSource(kind="local", path=str(path))
        return self.source if isinstance(self.source, LocalSource) else None

    def look(self, layout: Layout) -> str:
        """What tells, without reading any document, whether the corpus changed.

        Raises:
            CorpusError: a folder is gone.
        """
        seen = self._code_version
        if isinstance(self.source, FoldersSource):
            seen += _walk(self.source).fingerprint
        pin = layout.corpus(self.name) / PIN_NAME
        return seen + (pin.read_text(encoding="utf-8") if pin.exists() else "")

    def bytes_known(self, layout: Layout) -> list[int | None]:
        """The size of each file: of those on this machine, and of those that were fetched."""
        if isinstance(self.source, LocalSource):
            paths = map(Path, self.source.paths)
            return [path.stat().st_size if path.is_file() else None for path in paths]
        folders = [layout.corpus(self.name, file) for file in range(self.num_files)]
        return [
            read_corpus(folder).num_bytes if (folder / RECORD_NAME).exists() else None
            for folder in folders
        ]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The asset; of a hub's corpus the commit there too.

        Raises:
            CorpusError: the environment puts something in its place that is no path.
        """
        is_hub = isinstance(self.source, HubSource)
        options: dict[str, Any] = {
            "key": [self.name, "raw_parquet"],
            "group_name": self.name,
            "owners": self.owners,
            "tags": self.tags,
            "kinds": {"huggingface", "parquet"} if is_hub else {"parquet"},
            "description": self.description or f"Documents of {self.name}, one a row.",
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "code_version": self._code_version,
            "deps": [self._hub_revision_key] if is_hub else [],
        }
        made = self._one_file(options) if self.num_files == 1 else self._several_files(options)
        return dg.Definitions.merge(made, self._freshness() if is_hub else dg.Definitions())

    def _one_file(self, options: dict[str, Any]) -> dg.Definitions:
        def raw_parquet(
            context: dg.AssetExecutionContext, store: DataRoot, config: FetchConfig
        ) -> dg.MaterializeResult:
            reporter = Reporter(context.log.info, in_terminal=SHOW_BARS.get())
            tags = context.run.tags
            require_fitting_default(tags, store.layout, reporter, update=config.update)
            started = time.monotonic()
            corpus = self.materialize(store.layout, reporter, update=config.update)
            return dg.MaterializeResult(
                metadata=corpus_metadata(corpus, time.monotonic() - started),
                data_version=dg.DataVersion(corpus.sha256),
            )

        define: Any = dg.asset(**options)
        return dg.Definitions(assets=[define(raw_parquet)])

    def _several_files(self, options: dict[str, Any]) -> dg.Definitions:
        keys = [file_key(file) for file in range(self.num_files)]

        partitions = dg.StaticPartitionsDefinition(keys)

        def raw_parquet(
            context: dg.AssetExecutionContext, store: DataRoot, config: FetchConfig
        ) -> Iterator[Any]:
            reporter = Reporter(context.log.info, in_terminal=SHOW_BARS.get())
            failed: dict[str, CorpusError] = {}
            update = config.update
            # A run that names no partitions is for all: `dagster job execute` can name none.
            named = context.has_partition_key or context.has_partition_key_range
            asked = context.partition_keys if named else keys
            for key in asked:
                started = time.monotonic()
                try:
                    corpus = self.materialize(store.layout, reporter, file=int(key), update=update)
                except CorpusError as error:
                    context.log.error(str(error))  # noqa: TRY400  (the trace says nothing more)
                    failed[key] = error
                    continue
                update = False  # all files of the same commit
                yield dg.AssetMaterialization(
                    context.asset_key,
                    partition=key,
                    metadata=corpus_metadata(corpus, time.monotonic() - started),
                    tags={"dagster/data_version": corpus.sha256},
                )
            if failed:
                some = ", ".join([*list(failed)[:10], *(["..."] if len(failed) > 10 else [])])
                raise CorpusError(
                    f"{len(failed)} of {len(asked)} files of {self.name} could "
                    f"not be had ({some}); run again: the others are kept. The first: "
                    f"{next(iter(failed.values()))}"
                )

        # Each file is reported when it is here, so the step itself has nothing left to report.
        define: Any = dg.asset(**options, partitions_def=partitions, output_required=False)
        asset: dg.AssetsDefinition = define(raw_parquet)
        job = dg.define_asset_job(
            files_job(self.name),
            selection=dg.AssetSelection.assets(asset),
            description=f"Every file of {self.name}, one by one.",
        )
        return dg.Definitions(assets=[asset], jobs=[job])

    @property
    def _hub_revision_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, "hub_revision"])

    def _freshness(self) -> dg.Definitions:
        @dg.observable_source_asset(
            key=self._hub_revision_key,
            group_name=self.name,
            tags=self.tags,
            description=f"The newest commit of {self.name}'s repository on the hub.",
        )
        def hub_revision(context: dg.OpExecutionContext, store: DataRoot) -> dg.ObserveResult:
            found = self._compare_commits(store.layout, context.log.info)
            return dg.ObserveResult(
                data_version=dg.DataVersion(found["newest commit"]), metadata=found
            )

        @dg.asset_check(
            asset=self._hub_revision_key,
            name="newest_commit",
            description="What is here is of the newest commit: code is withdrawn from corpora.",
        )
        def newest_commit(
            context: dg.AssetCheckExecutionContext, store: DataRoot
        ) -> dg.AssetCheckResult:
            found = self._compare_commits(store.layout, context.log.info)
            here, newest = found["commit here"], found["newest commit"]
            passed = here in ("none", newest)
            return dg.AssetCheckResult(
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"the hub's newest commit is {newest}, here is {here}"
                + ("" if passed else f"; `codedata materialize --update` moves {self.name} on"),
                metadata=found,
            )

        job = dg.define_asset_job(
            f"{self.name}_freshness",
            selection=dg.AssetSelection.assets(self._hub_revision_key),
            description=f"Ask the hub for the newest commit of {self.name} and compare.",
        )
        weekly = dg.ScheduleDefinition(
            name=f"{self.name}_weekly",
            job=job,
            cron_schedule="0 6 * * 1",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Monday at six: is there a newer commit?",
        )
        return dg.Definitions(
            assets=[hub_revision], asset_checks=[newest_commit], jobs=[job], schedules=[weekly]
        )

    def _compare_commits(self, layout: Layout, log: Any) -> dict[str, str]:
        from codedata.hub.client import limit_client, newest_commit
        from codedata.hub.refusals import COMMIT, HubError

        source = self.source
        assert isinstance(source, HubSource)
        branch = "main" if COMMIT.fullmatch(source.revision) else source.revision
        reporter = Reporter(log, in_terminal=SHOW_BARS.get())
        limit_client()
        try:
            newest = newest_commit(source.repo, kind="dataset", revision=branch, reporter=reporter)
        except HubError as error:
            raise CorpusError(
                f"corpus {self.name!r}: the hub does not say the newest commit of {source.repo}: "
                f"{error}"
            ) from error
        commits = self._commits_here(layout)
        here = ", ".join(sorted(commits)) or "none"
        return {"commit here": here, "newest commit": newest, "revision": branch}

    def _commits_here(self, layout: Layout) -> set[str]:
        """The commits that the files here are of: more than one where only some were updated."""
        commits: set[str] = set()
        for file in range(self.num_files):
            folder = layout.corpus(self.name, file if self.num_files > 1 else None)
            if (folder / RECORD_NAME).exists():
                commits |= {read_corpus(folder).origin.get("commit", "another source")}
        return commits

    def materialize(
        self, layout: Layout, reporter: Reporter, *, file: int = 0, update: bool = False
    ) -> Corpus:
        """Bring a parquet here and record what it is.

        Args:
            layout: the root.
            reporter: told how far it is.
            file: which, where the corpus has several.
            update: take the newest commit of a hub's branch or tag.

        Raises:
            CorpusError: it cannot be had, or is no usable corpus.
        """
        local = self._local_source
        source = local or self.source
        if local is not None and local is not self.source:
            if self.num_files > 1:
                raise CorpusError(
                    f"{CORPUS_VARIABLE} puts one file in the place of the hub's, but corpus "
                    f"{self.name!r} has {self.num_files}; unset it, or name the files in its "
                    "defs.yaml (kind: local)"
                )
            reporter.log(f"{CORPUS_VARIABLE} puts {local.path} in the place of the hub's file")
        folder = layout.corpus(self.name, file if self.num_files > 1 else None)
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs at once share the work: one does it, the other waits and finds it done.
        with waiting_lock(folder / ".lock", reporter.say):
            if isinstance(source, FoldersSource):
                return write_source_corpus(folder, _walk(source), reporter.log)
            if isinstance(source, LocalSource):
                return record_corpus(folder, Path(source.paths[file]), {"kind": "local"})
            return self._fetch(source, layout, folder, file, reporter, update=update)

    def _fetch(
        self,
        source: HubSource,
        layout: Layout,
        folder: Path,
        file: int,
        reporter: Reporter,
        *,
        update: bool,
    ) -> Corpus:
        # A second of imports that other corpora do not need.
        from codedata.hub.corpora import fetch_corpus_file
        from codedata.hub.refusals import HubError

        path = source.paths[file]
        try:
            fetched = fetch_corpus_file(
                source.repo,
                path,
                revision=source.revision,
                pin=layout.corpus(self.name) / PIN_NAME,
                first_chars=source.first_chars,
                parts=folder / PARTS_NAME,
                update=update,
                reporter=reporter,
            )
        except HubError as error:
            instead = f"; or download the file and set {CORPUS_VARIABLE} to its path"
            raise CorpusError(
                f"corpus {self.name!r}: the hub does not give {path} of {source.repo} at "
                f"{source.revision!r}: {error}{instead if self.num_files == 1 else ''}"
            ) from error
        except OSError as error:
            raise CorpusError(
                f"corpus {self.name!r}: {path} of {source.repo} cannot be stored: "
                f"{explained(error)}; make room, or set HF_HOME (the hub's cache) and "
                "CODEDATA_ROOT to folders that can be written"
            ) from error
        origin = {
            "kind": "hub",
            "repo": source.repo,
            "path": path,
            "revision": source.revision,
            "commit": fetched.commit,
        }
        return record_corpus(
            folder, fetched.path, origin, expected_sha256=fetched.sha256, part=fetched.part
        )


def _walk(source: FoldersSource) -> Walk:
    folders = source.places | header_folders(source.headers_of)
    return walk_folders(folders, source.extensions)


def _look_at_files(paths: Sequence[str]) -> str:
    """Sizes and times of files; of those that are not there nothing.

    Of one that cannot be looked at, why: whoever then materializes it is told so.
    """
    found: list[str] = []
    for path in map(Path, paths):
        try:
            identity = FileIdentity.of(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found.append(f"{path} {error.strerror}")
        else:
            found.append(f"{path} {identity.num_bytes} {identity.modified_ns}")
    return "\n".join(found)


def corpus_metadata(corpus: Corpus, seconds: float) -> dict[str, Any]:
    """A corpus's record as the UI shows it, and how long it took to have it here."""
    columns = [
        dg.TableColumn(printable(name), printable(kind)) for name, kind in corpus.columns.items()
    ]
    here = {} if corpus.part is None else {
        "bytes here": corpus.part.num_bytes
    }  # fmt: skip
    return {
        "dagster/row_count": corpus.num_rows,
        "null rows": corpus.num_null_rows,
        "characters": corpus.num_chars,
        "bytes": corpus.num_bytes,
        **here,
        "row groups": corpus.num_row_groups,
        "seconds": rounded(seconds),
        "sha256" if corpus.part is None else "fingerprint": corpus.sha256,
        "path": dg.MetadataValue.path(corpus.path),
        "origin": corpus.origin,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "preview": dg.MetadataValue.md("\n\n".join(_preview(corpus))),
    }


def _preview(corpus: Corpus) -> Iterator[str]:
    for document in corpus.open_text().first_documents(_PREVIEW_DOCUMENTS):
        lines = [line[:120].replace("~~~", "") for line in document.splitlines()[:_PREVIEW_LINES]]
        yield "\n".join(["~~~c", *map(printable_lines, lines), "~~~"])
