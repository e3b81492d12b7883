"""One YAML -> the asset `<corpus>/raw_parquet`: fetched, pointed at, or written from folders."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field, model_validator

from codedata.errors import CorpusError
from codedata.io.corpus import Corpus, record_corpus, write_source_corpus
from codedata.io.hub import HubError, fetch_file
from codedata.io.installed_headers import header_folders
from codedata.io.locks import waiting_lock
from codedata.io.source_folders import walk_folders
from codedata.layout import CORPUS_VARIABLE, is_name
from codedata.resources import Store

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_EXTENSION = re.compile(r"[^./\\\s\0]+")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_PREVIEW_DOCUMENTS = 3
_PREVIEW_LINES = 12


class HubSource(dg.Model, dg.Resolvable):
    """A parquet of a dataset repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo: str = Field(description="Dataset repository: owner/name.")
    path: str = Field(description="Path of the parquet in the repository.")
    revision: str = Field(default="main", description="Branch, tag or commit.")

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        if not _REPO.fullmatch(self.repo):
            raise CorpusError(
                f"repo of a hub source is {self.repo!r}; write it as owner/name, such as "
                "bigcode/the-stack"
            )
        for field in ("path", "revision"):
            if not (value := getattr(self, field)).strip() or "\0" in value:
                raise CorpusError(
                    f"{field} of the hub source {self.repo} is {value!r}; name one that the "
                    "repository has"
                )


class LocalSource(dg.Model, dg.Resolvable):
    """A parquet on this machine."""

    kind: Literal["local"]
    path: str = Field(description="Path of the parquet; relative to the working folder.")

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        if not self.path.strip() or "\0" in self.path:
            raise CorpusError(
                f"path of a local source is {self.path!r}; name a parquet file on this machine"
            )


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

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        if not self.folders and not self.headers_of:
            raise CorpusError(
                "a folders source has neither folders ({}) nor headers_of ([]); name at least one "
                "folder"
            )
        if not self.extensions:
            raise CorpusError("extensions of a folders source is []; name at least one, such as c")
        for extension in self.extensions:
            if not _EXTENSION.fullmatch(extension):
                raise CorpusError(
                    f"extensions of a folders source holds {extension!r}; write each ending "
                    "without the dot, such as c"
                )
        for name, place in self.folders.items():
            if not name.strip() or "/" in name or not place.strip() or "\0" in name + place:
                raise CorpusError(
                    f"folders of a folders source holds {name!r}: {place!r}; write a name without "
                    "a slash, and the path of a folder"
                )
        for package in self.headers_of:
            if not _PACKAGE.fullmatch(package):
                raise CorpusError(
                    f"headers_of of a folders source holds {package!r}; write the name by which "
                    "Python imports the package, such as numpy"
                )


Source = HubSource | LocalSource | FoldersSource


class RawCorpus(dg.Component, dg.Resolvable, dg.Model):
    """A parquet of documents, as the asset `<name>/raw_parquet`."""

    name: str = Field(description="Name of the corpus, first part of the asset's key.")
    source: Source = Field(description="Where the parquet comes from.")
    description: str | None = Field(default=None, description="What the UI shows.")

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
