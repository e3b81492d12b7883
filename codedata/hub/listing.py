"""A dataset repository, by path, or by configuration and split -> the list of its files.

What a configuration and a split are is said by the `configs` of the dataset card, else by the names
of folders and files, by the rules that the hub's viewer and the library `datasets` go by
(https://huggingface.co/docs/hub/datasets-manual-configuration,
https://huggingface.co/docs/hub/datasets-file-names-and-splits). Of a repository without files that
can be read, such as one with a script, the hub's own conversion to parquet is taken, a branch that
has a folder for each configuration and split
(https://huggingface.co/docs/dataset-viewer/parquet#conversion-to-parquet).

Nothing is fetched but lists and the card; a list is of one commit.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml
from fsspec.utils import glob_translate
from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.repocard import metadata_load

from codedata.errors import CorpusError
from codedata.hub.client import Call, limit_client, newest_commit
from codedata.hub.files import fetch_file
from codedata.hub.refusals import HubError, NoSuchFileError
from codedata.hub.source import HubSource
from codedata.layout import is_commit
from codedata.printable import did_you_mean, shortened
from codedata.progress import Reporter
from codedata.sources.columns import listed
from codedata.sources.formats.registry import is_found
from codedata.sources.listing import ListedFile, Listing, why_not_these
from codedata.sources.paths import expand_paths, is_pattern, without_pattern

_CARD = "README.md"

_MAX_CARD_BYTES = 10_000_000

_MAX_FOUND = 1_000_000
"""Files that are looked through: a gigabyte, and some minutes of the hub's answers."""

_MAX_STARS = 4
"""Of a pattern between two slashes: with each, a name is tried as often as it has characters."""

_CONVERTED = "refs/convert/parquet"
"""The branch of the hub's conversion."""

_SPLIT_WORDS = {
    "train": "train|training",
    "validation": "validation|valid|dev|val",
    "test": "test|testing|eval|evaluation",
}
"""By the names of splits, the words that tell them in the names of folders and files."""

_SHARD = re.compile(r"data/(\w+)-\d{5}-of-\d{5}[^/]*\.[^/]*", re.ASCII)
"""A split of any name, as `push_to_hub` names its files."""


def list_files(source: HubSource, reporter: Reporter) -> Listing:
    """The files of a repository, at the newest commit of its revision.

    Args:
        source: which repository, and what of it.
        reporter: told what is waited for.

    Raises:
        HubError: the hub does not give it, with the remedy.
        CorpusError: there are no such files, or it must be said which.
    """
    limit_client()
    repository = _Repository(source.repo, source.revision, reporter)
    what = f"{source.repo} at {source.revision!r}"
    if source.path is not None:
        files = repository.matching(paths := expand_paths(source.path))
        what = f"{', '.join(paths[:3])} of {what}"
    else:
        files = _of_split(repository, source)
        if not files and source.revision != _CONVERTED:
            repository = _converted(repository)
            files = _of_split(repository, source)
    if why := why_not_these(files, what):
        raise CorpusError(f"{why}; look at its page, and name files that it has (path)")
    return Listing(
        asked=str(source.asked),
        files=tuple(files),
        revision=repository.revision,
        commit=repository.commit,
    )


@dataclass(frozen=True, kw_only=True)
class _Config:
    """A configuration of a dataset.

    Attributes:
        patterns: of the files of each split; none where their names tell the splits.
        folder: that the patterns start from.
        is_default: whether the card says so.
    """

    patterns: dict[str, list[str]]
    folder: str = ""
    is_default: bool = False

    @classmethod
    def of(cls, said: dict[str, Any]) -> "_Config":
        """What a card says of one, in every form that it may have."""

        def listed(paths: Any) -> list[str]:
            several = [paths] if isinstance(paths, str) else paths
            return [_pattern(path) for path in several]

        files = said.get("data_files")
        if isinstance(files, str) or (
            files and isinstance(files, list) and isinstance(files[0], str)
        ):
            files = {"train": files}
        elif isinstance(files, list):
            files = {_text(each.get("split", "train")): each["path"] for each in files}
        return cls(
            patterns={_text(split): listed(paths) for split, paths in (files or {}).items()},
            folder=_text(said.get("data_dir") or "").strip("/"),
            is_default=bool(said.get("default")),
        )


def _pattern(said: Any) -> str:
    """A path or pattern of a card.

    Raises:
        ValueError: it has so many `*` that to look for it would take for ever.
    """
    path = _text(said).removeprefix("./")
    if max(len(re.findall(r"\*+", part)) for part in path.split("/")) > _MAX_STARS:
        raise ValueError(f"{shortened(path)} has more than {_MAX_STARS} of * in a name")
    return path


def _text(said: Any) -> str:
    """A name or path of a card; a structure is none, and may be endless once written out.

    Raises:
        TypeError: it is neither text nor a number.
    """
    if not isinstance(said, str | int | float):
        raise TypeError(f"a {type(said).__name__} where a name is expected")
    return str(said)


class _Repository:
    """What a repository has at one commit."""

    def __init__(self, repo: str, revision: str, reporter: Reporter) -> None:
        self.repo, self.revision, self.reporter, self.commit = repo, revision, reporter, revision
        if not is_commit(revision):
            self.commit = newest_commit(repo, kind="dataset", revision=revision, reporter=reporter)

    def files_below(self, folder: str) -> list[ListedFile]:
        """All files below a folder, sorted by path.

        Raises:
            CorpusError: they are too many to look through.
        """
        call = Call(self.repo, "dataset", self.commit, reporter=self.reporter)
        try:
            with call.made():
                tree = HfApi().list_repo_tree(
                    self.repo, folder or None,
                    recursive=True, revision=self.commit, repo_type="dataset",
                )  # fmt: skip
                files = (_listed(each) for each in tree if isinstance(each, RepoFile))
                found = [*islice(files, _MAX_FOUND + 1)]
        except HubError as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                return []
            raise
        if len(found) > _MAX_FOUND:
            raise CorpusError(
                f"{folder or 'all'} of {self.repo} at {self.revision!r} has more than "
                f"{_MAX_FOUND:,} files; name a folder of fewer in path, such as data/en/*.parquet"
            )
        return sorted(found, key=lambda file: file.path)

    def matching(self, patterns: Iterable[str], base: str = "") -> list[ListedFile]:
        """The files that patterns stand for, pattern by pattern; each file once.

        Args:
            patterns: paths, with or without `*`; one that ends in a slash is a folder's.
            base: the folder that they start from.

        Raises:
            CorpusError: there is no file of a name that is no pattern.
        """
        found: dict[str, ListedFile] = {}
        below: dict[str, list[ListedFile]] = {}
        for each in patterns:
            pattern = f"{base}/{each}" if base else each
            folder = without_pattern(pattern) if is_pattern(pattern) else pattern.rpartition("/")[0]
            if folder not in below:
                below[folder] = self.files_below(folder)
            matches = re.compile(glob_translate(pattern)).fullmatch
            those = [file for file in below[folder] if matches(file.path)]
            if not those and not is_pattern(pattern):
                meant = did_you_mean(pattern, [file.path for file in below[folder]])
                raise CorpusError(
                    f"{self.repo} at {self.revision!r} has no file {pattern}; "
                    f"{meant or 'look at its page for the names that it has'}"
                )
            found |= {file.path: file for file in those if is_found(file.path, pattern)}
        return list(found.values())

    def configs(self) -> dict[str, _Config]:
        """The configurations of the dataset card, by name.

        Raises:
            CorpusError: they cannot be read.
        """
        try:
            card = fetch_file(
                self.repo, _CARD, kind="dataset", revision=self.commit, reporter=self.reporter,
                most_bytes=_MAX_CARD_BYTES,
            )  # fmt: skip
        except NoSuchFileError:
            return {}
        try:
            said: Any = (metadata_load(card.path) or {}).get("configs") or []
            return {_text(each["config_name"]): _Config.of(each) for each in said}
        except (
            *(yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError),
            RecursionError,
        ) as error:
            why = " ".join(str(error).split())
            raise CorpusError(
                f"the card of {self.repo} at {self.revision!r} has no readable configs ({why}); "
                "name files (path) in place of config and split"
            ) from error


def _of_split(repository: _Repository, source: HubSource) -> list[ListedFile]:
    """The files of a configuration and split; none where nothing in the repository can be read.

    Raises:
        CorpusError: there is none of that name, or it must be said which.
    """
    configs = repository.configs()
    if repository.revision == _CONVERTED and not configs:
        configs = _converted_configs(repository)
    if not configs:
        return _by_names(repository, source)
    default = next((name for name, config in configs.items() if config.is_default), "default")
    name = _chosen("config", source.config, [*configs], default, repository)
    config = configs[name]
    if not config.patterns:
        return _by_names(repository, source, config.folder)
    split = _chosen("split", source.split, [*config.patterns], None, repository)
    return repository.matching(config.patterns[split], config.folder)


def _chosen(
    what: str, named: str | None, there: Sequence[str], default: str | None, of: _Repository
) -> str:
    """The one that is named, or the only one, or the default.

    Raises:
        CorpusError: there is no such one, or several and none is named.
    """
    if named is None:
        if len(there) == 1:
            return there[0]
        if default in there:
            return str(default)
    elif named in there:
        return named
    shown = listed(there) if there else "none"
    if named is None:
        raise CorpusError(f"{of.repo} has {len(there):,} {what}s: {shown}; say which ({what})")
    known = f"{did_you_mean(named, there)} there are {shown}".lstrip()
    raise CorpusError(f"{what} is {named!r}, which {of.repo} does not have; {known}")


def _by_names(repository: _Repository, source: HubSource, folder: str = "") -> list[ListedFile]:
    """The files of a split by their names: shards, folders, words in names, or all of them."""
    start = len(folder) + 1 if folder else 0
    files = {
        file.path[start:]: file
        for file in repository.files_below(folder)
        if is_found(file.path, folder)
    }
    if files and not folder and source.config not in (None, "default"):
        raise CorpusError(
            f"config is {source.config!r}, but the card of {repository.repo} names none; leave it "
            "out, or name files (path)"
        )
    for told_by in (_by_shard, _by_folder, _by_word):
        splits: dict[str, list[ListedFile]] = {}
        for name, file in files.items():
            for split in dict.fromkeys(told_by(name)):
                splits.setdefault(split, []).append(file)
        if splits:
            return splits[_chosen("split", source.split, [*splits], None, repository)]
    if files:
        _ = _chosen("split", source.split, ["train"], None, repository)
    return [*files.values()]


def _by_shard(name: str) -> list[str]:
    found = _SHARD.fullmatch(name)
    return [found[1]] if found else []


def _by_folder(name: str) -> list[str]:
    return [split for folder in name.split("/")[:-1] for split in _splits_in(folder)]


def _by_word(name: str) -> list[str]:
    return _splits_in(name.rpartition("/")[2])


def _splits_in(name: str) -> list[str]:
    """The splits of which a name has a word."""
    return [
        split
        for split, words in _SPLIT_WORDS.items()
        if re.search(rf"(?:^|[-._ 0-9])(?:{words})(?:[-._ 0-9]|$)", name)
    ]


def _converted(repository: _Repository) -> _Repository:
    """The hub's conversion of a repository.

    Raises:
        CorpusError: there is none.
    """
    repo, revision, reporter = repository.repo, repository.revision, repository.reporter
    with Call(repo, "dataset", revision, reporter=reporter).made():
        refs = HfApi().list_repo_refs(repo, repo_type="dataset")
    if all(ref.ref != _CONVERTED for ref in refs.converts):
        raise CorpusError(
            f"{repo} at {revision!r} has no files that can be read, and the hub has no conversion "
            "of it to parquet; look at its page, and name files that it has (path)"
        )
    reporter.say(f"{repo} has no files that can be read: the hub's conversion to parquet is taken")
    return _Repository(repo, _CONVERTED, reporter)


def _converted_configs(repository: _Repository) -> dict[str, _Config]:
    """The configurations of a conversion, which has a folder for each and each of its splits.

    Raises:
        CorpusError: the hub has converted no more than the beginning of one.
    """
    splits: dict[str, dict[str, list[str]]] = {}
    for file in repository.files_below(""):
        config, _, rest = file.path.partition("/")
        split, _, name = rest.partition("/")
        if split.startswith("partial-"):
            raise CorpusError(
                f"the hub has converted only the beginning of {split.removeprefix('partial-')} of "
                f"{repository.repo} to parquet; name files of the repository itself (path)"
            )
        if name:
            splits.setdefault(config, {})[split] = [f"{config}/{split}/*"]
    return {config: _Config(patterns=patterns) for config, patterns in splits.items()}


def _listed(file: RepoFile) -> ListedFile:
    etag = file.lfs.sha256 if file.lfs is not None else file.blob_id
    return ListedFile(path=file.path, num_bytes=file.size, etag=etag)
