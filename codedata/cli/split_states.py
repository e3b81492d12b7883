"""The splits of a code location -> whether each one's dataset is made, stale and why, or missing.

Nothing is launched, and no document or shard is read. A dataset says what it was made of
(codedata.yaml); that is compared with the split's switches, the files of its tokenizer, and the
records of its corpus as they are now. Whether corpus and tokenizer themselves are still what their
YAMLs name: `codedata.cli.changed_inputs`.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codedata.cli.changed_inputs import changed_inputs
from codedata.errors import CodedataError, CorpusError
from codedata.format.facts import FACTS_NAME, Facts
from codedata.format.fingerprint import CODE_VERSION
from codedata.format.without_paths import name_of
from codedata.layout import Layout
from codedata.places import local_path
from codedata.sources.paths import MAX_FILES
from codedata.sources.record import read_corpus
from codedata.store.copies import dataset_log, place_of
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.tokenize.tokenizer_files import local_fingerprint

if TYPE_CHECKING:
    import dagster as dg

    from codedata.components.split_parts import SplitPart
    from codedata.components.split_spec import SplitSpec
    from codedata.store.versions import Version

MADE, STALE, MISSING, DAMAGED = "made", "stale", "missing", "damaged"

_AT_ONCE = 8
"""Splits whose datasets are opened side by side: in an object store each takes some answers."""


@dataclass(frozen=True, kw_only=True)
class SplitState:
    """What is there of a split.

    Attributes:
        name: of the split.
        state: made, stale, missing or damaged.
        why: what a user can act on, a line each; empty where it is made.
        folder: of its dataset, whether or not it is there; the URL of one in an object store.
        num_samples: None where there is no dataset that can be read.
        seq_length: likewise.
        num_tokens: likewise.
        digest: likewise.
    """

    name: str
    state: str
    why: tuple[str, ...]
    folder: Path | str
    num_samples: int | None = None
    seq_length: int | None = None
    num_tokens: int | None = None
    digest: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What the page of commands says of `list --json`."""
        return {
            "name": self.name,
            "state": self.state,
            "why": list(self.why),
            "folder": str(self.folder),
            "samples": self.num_samples,
            "seq_length": self.seq_length,
            "tokens": self.num_tokens,
            "digest": self.digest,
        }


def states_of(defs: "dg.Definitions", layout: Layout) -> list[SplitState]:
    """The state of every split, by name."""
    from codedata.components.split_recipe import specs_of  # with dagster, loaded by now

    specs = specs_of(defs)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        places = [place_of(layout, name) for name in specs]
        opened = dict(zip(specs, threads.map(_open, places), strict=True))
    made = [
        specs[name] for name, each in opened.items() if not isinstance(each, CodedataError | None)
    ]
    changed = changed_inputs(defs, made, layout)
    return [
        _state_of(spec, opened[name], layout, changed.get(name, {}).values())
        for name, spec in specs.items()
    ]


def _open(place: Path | str) -> "Dataset | Version | CodedataError | None":
    try:
        if isinstance(place, str):
            return dataset_log(place).head()
        return open_dataset(place) if place.exists() else None
    except CodedataError as error:
        return error


def _state_of(
    spec: "SplitSpec",
    opened: "Dataset | Version | CodedataError | None",
    layout: Layout,
    changed: Iterable[str],
) -> SplitState:
    folder = place_of(layout, spec.name)
    if opened is None:
        return SplitState(name=spec.name, state=MISSING, why=(), folder=folder)
    if isinstance(opened, CodedataError):
        return SplitState(name=spec.name, state=DAMAGED, why=(str(opened),), folder=folder)
    facts = opened.facts if isinstance(opened, Dataset) else opened.made_of
    why = (*_why_stale(spec, facts, layout), *changed)
    return SplitState(
        name=spec.name,
        state=STALE if why else MADE,
        why=why,
        folder=folder,
        num_samples=opened.num_samples,
        seq_length=opened.seq_length,
        num_tokens=opened.num_tokens,
        digest=opened.digest,
    )


def _why_stale(spec: "SplitSpec", facts: Facts | None, layout: Layout) -> Iterator[str]:
    """What a dataset was made of that is another now."""
    if facts is None:
        yield f"it does not say what it was made of ({FACTS_NAME})"
        return
    if facts.versions.get("ids") not in (None, str(CODE_VERSION)):
        yield f"codedata {facts.versions['codedata']} made it, whose ids this release corrects"
    for name, now in spec.settings.as_dict().items():
        was = facts.switches.get(name)
        if name == "tokenizer_base":
            continue
        if name == "pad_token" and isinstance(now, str):  # a name, where the dataset has the id
            if not _is_token(now, was, facts, layout):
                yield f"pad_token was {was}, is now {now!r}"
        elif was != now:
            yield f"{name} was {was}, is now {now}"
    yield from _why_other_recipe(spec, facts)
    yield from _why_other_tokenizer(spec, facts, layout)
    yield from _why_other_corpus(spec, facts, layout)


def _why_other_recipe(spec: "SplitSpec", facts: Facts) -> Iterator[str]:
    """What of a recipe is another now."""
    was = dict(_told("recipe", facts.recipe or {}))
    now = dict(_told("recipe", spec.recipe.as_dict() if spec.recipe else {}))
    if bool(was) != bool(now):
        yield "it has a recipe now, and had none" if now else "it had a recipe, and has none now"
        return
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield f"{name} was {was.get(name, 'none')}, is now {now.get(name, 'none')}"


def _told(name: str, value: object) -> Iterator[tuple[str, str]]:
    """The fields of a mapping, and of those in it, each as facts tell it: None is not told."""
    if isinstance(value, Mapping):
        for inner, each in cast("Mapping[str, object]", value).items():
            yield from _told(f"{name}.{inner}", each)
    elif value is not None:
        yield name, str(value)


def _is_token(name: str, token_id: object, facts: Facts, layout: Layout) -> bool:
    """Whether a dataset's tokenizer calls an id so; where it is not here, nothing says no."""
    from codedata.tokenize.made_with import tokenizer_here
    from codedata.tokenize.tokenizer import load_tokenizer

    files = tokenizer_here(facts, layout)
    return files is None or load_tokenizer(files).tokenizer.token_to_id(name) == token_id


def _why_other_tokenizer(spec: "SplitSpec", facts: Facts, layout: Layout) -> Iterator[str]:
    """Whether the files that the split would take are others than those that made the dataset."""
    source, made_with = spec.settings.tokenizer_base, facts.tokenizer
    was_now = f"tokenizer_base was {made_with.source}, is now {source}"
    same_name = name_of(source) == name_of(made_with.source)
    if spec.tokenizer_asset is not None or local_path(source, "tokenizer").exists():
        now = local_fingerprint(source)
        if now not in (None, made_with.sha256):
            yield f"the files of tokenizer {source} changed" if same_name else was_now
        return
    if made_with.revision is None:  # of this machine, and perhaps no longer here
        if not same_name:
            yield was_now
        return
    if source != made_with.source:
        yield was_now
        return
    from codedata.hub.pins import read_tokenizer_pin

    repo, _, revision = source.partition("@")
    pinned = read_tokenizer_pin(layout.tokenizer_pins, repo, revision or "main")
    if pinned not in (made_with.revision, revision or "main"):
        yield f"tokenizer {source} was of commit {made_with.revision}, is now of {pinned}"


def _why_other_corpus(spec: "SplitSpec", facts: Facts, layout: Layout) -> Iterator[str]:
    """Whether the files of the corpus that are recorded here are others than it was made of.

    A corpus that is gone makes no dataset stale.
    """
    then: Mapping[int, Mapping[str, str]] = facts.files or {spec.files[0]: facts.corpus}
    are = spec.corpora if len(spec.parts) > 1 else ()  # of one alone, its file says which it is
    if facts.corpora != are:
        was = ", ".join(facts.corpora) or "one"
        yield f"corpora were {was}, are now {', '.join(spec.corpora)}"
        return
    for part in spec.parts:
        theirs = {n: known for n, known in then.items() if n // MAX_FILES == part.place}
        yield from _why_other_files(spec, part, theirs, facts, layout)


def _why_other_files(
    spec: "SplitSpec",
    part: "SplitPart",
    then: Mapping[int, Mapping[str, str]],
    facts: Facts,
    layout: Layout,
) -> Iterator[str]:
    """What a dataset was made of one corpus that is another now."""
    of_corpus = f" of corpus {part.corpus}" if len(spec.parts) > 1 else ""
    if sorted(then) != list(part.numbers):
        yield f"files{of_corpus} were {len(then)}, are now {len(part.files)}"
        return
    switch = "chars_to_tokenize"
    was = next(iter(then.values())).get(switch, str(facts.switches.get(switch)))
    if part.place and was != part.chars:  # of the first, it is the split's switch
        yield f"{switch}{of_corpus} was {was}, is now {part.chars}"
    for file, known in then.items():
        try:
            corpus = read_corpus(spec.corpus_folder(layout, file))
        except CorpusError:
            continue
        if corpus.sha256 not in (known.get("sha256"), known.get("fingerprint")):
            of_file = f", file {file % MAX_FILES}," if part.corpus_files > 1 else ""
            yield f"corpus {part.corpus}{of_file} is another than it was made of"
            return
