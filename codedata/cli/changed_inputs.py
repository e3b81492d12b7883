"""Corpora and tokenizers that splits are made of -> those that the next run makes anew, and why.

The Dagster instance has the code version with which each was last made, where there is an instance;
of folders of files, the record of the corpus says which ones it was written of. Nothing is made,
and no document is read.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from codedata.cli.instance import materialized_versions
from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.sources.record import read_corpus

if TYPE_CHECKING:
    import dagster as dg

    from codedata.components.split_spec import SplitSpec

Changed = dict["dg.AssetKey", str]
"""Why, by the asset."""


def changed_inputs(
    defs: "dg.Definitions", specs: Iterable["SplitSpec"], layout: Layout
) -> dict[str, Changed]:
    """What each split is made of and is another now, by the split's name.

    Args:
        defs: of the code location.
        specs: of its splits that are looked at.
        layout: the root.
    """
    graph = defs.resolve_asset_graph()
    specs = [*specs]
    _pull(specs, layout)
    inputs = {spec.name: _inputs(graph, spec) for spec in specs}
    keys = sorted({key for each in inputs.values() for key in each})
    then = materialized_versions(keys)
    changed: Changed = {}
    for key in keys:
        version = then.get(key)
        is_other = version is not None and version != graph.get(key).code_version
        if is_other or not _is_current(defs, key, layout):
            changed[key] = _why(key)
    return {
        name: {key: changed[key] for key in keys if key in changed} for name, keys in inputs.items()
    }


def _pull(specs: Iterable["SplitSpec"], layout: Layout) -> None:
    """Have the records and trained tokenizers of splits here, as the store of the root has them."""
    from codedata.components.split_parts import pull_records
    from codedata.store import state

    for spec in specs:
        pull_records(layout, spec.parts)
        if spec.tokenizer_asset is not None:
            state.pull_below(layout, layout.tokenizer(spec.tokenizer_asset))
    state.pull_below(layout, layout.tokenizer_pins)


def corpus_key(corpus: str) -> "dg.AssetKey":
    """The asset of a corpus."""
    import dagster as dg  # the caller has loaded it

    return dg.AssetKey([corpus, "raw_parquet"])


def _inputs(graph: "dg.BaseAssetGraph", spec: "SplitSpec") -> list["dg.AssetKey"]:
    """The corpora of a split, its trained tokenizer, and what that is trained on."""
    import dagster as dg

    found = [corpus_key(corpus) for corpus in spec.corpora]
    if spec.tokenizer_asset is not None:
        tokenizer = dg.AssetKey([spec.tokenizer_asset])
        corpora = {
            key for key in graph.get(tokenizer).parent_keys if key == corpus_key(key.path[0])
        }
        found += [tokenizer, *sorted(corpora - {*found})]
    return [key for key in found if graph.has(key)]


def _is_current(defs: "dg.Definitions", key: "dg.AssetKey", layout: Layout) -> bool:
    """Whether a corpus is of the files that are there now; one that is gone changes nothing."""
    from codedata.components.split_parts import corpus_folder
    from codedata.components.split_recipe import source_of

    name, *asset = key.path
    source = source_of(defs, name) if asset else None
    if source is None:  # a tokenizer, or a corpus that is the user's own asset
        return True
    with suppress(CorpusError):
        return all(
            source.is_current(read_corpus(corpus_folder(layout, name, source.num_files, file)))
            for file in range(source.num_files)
        )
    return True


def _why(key: "dg.AssetKey") -> str:
    name, *asset = key.path
    if asset:
        return f"corpus {name} changed: its source in the YAML, or its files"
    return f"tokenizer {name} changed in its YAML"
