"""Where everything lies under one root, and the environment that moves or overrides it.

    <root>/corpora/<name>/      records and written parquets
    <root>/tokenizers/<name>/   trained tokenizers
    <root>/chunks/<split>/      token chunks, a folder a file of the corpus
    <root>/datasets/<split>/    published datasets
    <root>/mixtures/<name>.json what a mixture is made of
    <root>/reports/<split>.html what a split is made of
    <root>/.dagster/            the Dagster instance of the command line
    <root>/.dagster-<uid>/      that of a user who may not write it

Of a root in an object store, `codedata.store.roots` says what lies where.

No dagster, no torch.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from codedata.environment import PREFIX, variables
from codedata.errors import SettingsError
from codedata.places import (
    cache_folder,
    is_object_url,
    local_path,
    require_no_secret,
    require_utf8,
)

ROOT_VARIABLE = "CODEDATA_ROOT"
CORPUS_VARIABLE = "CODEDATA_CORPUS"
TOKENIZER_VARIABLE = "CODEDATA_TOKENIZER"
DASK_VARIABLE = "CODEDATA_DASK_ADDRESS"


_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


NAME_REMEDY = "the letters A to Z, digits and underscores alone"
"""What a name of a split, a corpus or a tokenizer is written with, for messages."""


def is_name(name: object) -> bool:
    """Whether it may name a split or a corpus: a key of Dagster and a folder alike."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_repo(repo: str) -> bool:
    """Whether it may name a repository of the hub: owner/name."""
    return _REPO.fullmatch(repo) is not None


_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


def is_commit(revision: str) -> bool:
    """Whether a revision of a repository is a commit, which stands for the same files for ever."""
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True)
class Layout:
    """The folders under a root.

    Attributes:
        root: the root; of one in an object store, the folder of this machine where its small files
            are kept (records, lists, pins), and all that is no part of it.
        url: of a root in an object store: `s3://bucket/prefix`, without a slash at its end.
    """

    root: Path
    url: str | None = None

    @classmethod
    def from_environment(cls) -> "Layout":
        """The layout under `$CODEDATA_ROOT`, by default `./data`.

        Raises:
            SettingsError: see `at`.
        """
        return cls.at(variables().get(ROOT_VARIABLE) or "data", ROOT_VARIABLE)

    @classmethod
    def at(cls, place: str, what: str) -> "Layout":
        """The layout under a place as a user wrote it; `what` names it in messages.

        Raises:
            SettingsError: it is no folder of this machine, and no object store, or its URL has
                what may be a secret.
        """
        if is_object_url(place):
            require_no_secret(place, what)
            require_utf8(place, what)
            url = place.rstrip("/")
            return cls(_folder_beside(url, what), url)
        stores = "a root is a folder, or in an object store, such as s3://bucket/prefix"
        root = local_path(place, what, instead=stores).absolute()
        require_utf8(str(root), what)
        return cls(root)

    @property
    def shown(self) -> str:
        """The root, for messages."""
        return self.url or str(self.root)

    def corpus(self, name: str, file: int | None = None) -> Path:
        """The folder of a corpus, or of one of its files where it has several."""
        folder = self.root / "corpora" / name
        return folder if file is None else folder / f"{file:05d}"

    @property
    def tokenizer_pins(self) -> Path:
        """The folder of the commits that tokenizers' revisions stand for here."""
        return self.root / "tokenizers" / ".pins"

    def tokenizer(self, name: str) -> Path:
        """The folder of a tokenizer that is an asset."""
        return self.root / "tokenizers" / name

    def chunks(self, split: str) -> Path:
        """The folder of a split's token chunks."""
        return self.root / "chunks" / split

    def dataset(self, split: str) -> Path:
        """The folder of a split's published dataset."""
        return self.root / "datasets" / split

    def mixture(self, name: str) -> Path:
        """The record of a mixture of datasets."""
        return self.root / "mixtures" / f"{name}.json"

    def report(self, split: str) -> Path:
        """The page that says what a split is made of."""
        return self.root / "reports" / f"{split}.html"

    @property
    def history(self) -> Path:
        """The folder of Dagster instances: the root; beside one in an object store, ./data."""
        return self.root if self.url is None else Path("data").absolute()

    @property
    def dagster_home(self) -> Path:
        """The Dagster instance's folder."""
        return self.history / ".dagster"

    def own_dagster_home(self, uid: int) -> Path:
        """The folder of the instance of a user who may not write the other one."""
        return self.history / f".dagster-{uid}"


def switch_variable(split: str, switch: str) -> str:
    """The environment variable that overrides a switch: `CODEDATA_TRAIN_CHUNK_SIZE`."""
    return f"{PREFIX}{split}_{switch}".upper()


def _folder_beside(url: str, what: str) -> Path:
    """The folder of this user where the small files of an object store are kept."""
    folder = cache_folder()
    if folder is None:
        raise SettingsError(
            f"{what} is {url}, of which small files are kept in a cache folder, and this user has "
            "no home; set XDG_CACHE_HOME to a folder that can be written"
        )
    name = re.sub(r"[^A-Za-z0-9]+", "-", url)[:60].strip("-")
    return folder / "roots" / f"{name}-{sha256(url.encode()).hexdigest()[:12]}"
