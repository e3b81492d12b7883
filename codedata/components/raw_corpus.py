"""One YAML -> the asset `<corpus>/raw_parquet`: fetched, pointed at, or written from folders."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from codedata.errors import CorpusError
from codedata.io.corpus import Corpus, record_corpus, write_source_corpus
from codedata.io.hub import HubError, fetch_file
from codedata.io.installed_headers import header_folders
from codedata.io.locks import waiting_lock
from codedata.io.source_folders import walk_folders
from codedata.layout import CORPUS_VARIABLE
from codedata.resources import Store

_PREVIEW_DOCUMENTS = 3
_PREVIEW_LINES = 12


class HubSource(dg.Model, dg.Resolvable):
    """A parquet of a dataset repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo: str = Field(description="Dataset repository: owner/name.")
    path: str = Field(description="Path of the parquet in the repository.")
    revision: str = Field(default="main", description="Branch, tag or commit.")


class LocalSource(dg.Model, dg.Resolvable):
    """A parquet on this machine."""

    kind: Literal["local"]
    path: str = Field(description="Path of the parquet; relative to the working folder.")


class FoldersSource(dg.Model, dg.Resolvable):
    """Folders of source code on this machine, written as a parquet."""

    kind: Literal["folders"]
    folders: Mapping[str, str] = Field(
        default_factory=dict, description="Folders by the name that their files get in the corpus."
    )
    headers_of: list[str] = Field(
        default_factory=list,
        description="Installed packages whose C and C++ headers are taken; missing ones are not.",
    )
    extensions: list[str] = Field(
        default=["c", "h"], description="Endings of the files to take, without the dot."
    )


Source = HubSource | LocalSource | FoldersSource


class RawCorpus(dg.Component, dg.Resolvable, dg.Model):
    """A parquet of documents, as the asset `<name>/raw_parquet`."""

    name: str = Field(description="Name of the corpus, first part of the asset's key.")
    source: Source = Field(description="Where the parquet comes from.")
    description: str | None = Field(default=None, description="What the UI shows.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The asset."""
        kinds = {"hub": {"huggingface", "parquet"}}.get(self.source.kind, {"parquet"})

        @dg.asset(
            key=[self.name, "raw_parquet"],
            group_name=self.name,
            kinds=kinds,
            description=self.description or f"Documents of {self.name}, one a row.",
            backfill_policy=dg.BackfillPolicy.single_run(),
            code_version=self.source.model_dump_json(),
        )
        def raw_parquet(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
            corpus = self.materialize(store.layout.corpus(self.name), context.log.info)
            return dg.MaterializeResult(
                metadata=corpus_metadata(corpus), data_version=dg.DataVersion(corpus.sha256)
            )

        return dg.Definitions(assets=[raw_parquet])

    def materialize(self, folder: Path, announce: Any) -> Corpus:
        """Bring the parquet here and record what it is.

        Raises:
            CorpusError: it cannot be had, or is no usable corpus.
        """
        source = self.source
        override = os.environ.get(CORPUS_VARIABLE)
        if isinstance(source, HubSource) and override:
            announce(f"{CORPUS_VARIABLE} puts {override} in the place of {source.repo}")
            source = LocalSource(kind="local", path=override)
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs at once share the work: one does it, the other waits and finds it done.
        with waiting_lock(folder / ".lock", announce):
            if isinstance(source, FoldersSource):
                folders = {name: Path(place) for name, place in source.folders.items()}
                folders |= header_folders(source.headers_of)
                walk = walk_folders(folders, source.extensions)
                return write_source_corpus(folder, walk, announce)
            if isinstance(source, LocalSource):
                return record_corpus(folder, Path(source.path), {"kind": "local"})
            return self._fetch(source, folder)

    def _fetch(self, source: HubSource, folder: Path) -> Corpus:
        try:
            found = fetch_file(source.repo, source.path, kind="dataset", revision=source.revision)
        except HubError as error:
            raise CorpusError(
                f"corpus {self.name!r}: the hub does not give {source.path} of {source.repo} at "
                f"{source.revision!r}: {error}; or download the file and set {CORPUS_VARIABLE} to "
                "its path"
            ) from error
        origin = {"kind": "hub", "repo": source.repo, "path": source.path, "commit": found.commit}
        return record_corpus(folder, found.path, origin)


def corpus_metadata(corpus: Corpus) -> dict[str, Any]:
    """A corpus's record as the UI shows it."""
    columns = [dg.TableColumn(name, kind) for name, kind in corpus.columns.items()]
    return {
        "dagster/row_count": corpus.num_rows,
        "null rows": corpus.num_null_rows,
        "characters": corpus.num_chars,
        "bytes": corpus.num_bytes,
        "row groups": corpus.num_row_groups,
        "sha256": corpus.sha256,
        "path": dg.MetadataValue.path(corpus.path),
        "origin": corpus.origin,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "preview": dg.MetadataValue.md("\n\n".join(_preview(corpus))),
    }


def _preview(corpus: Corpus) -> Iterator[str]:
    for document in corpus.open_text().first_documents(_PREVIEW_DOCUMENTS):
        lines = document.splitlines()[:_PREVIEW_LINES]
        yield "\n".join(["~~~c", *(line[:120].replace("~~~", "") for line in lines), "~~~"])
